// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/string.h>

#include "geometry.h"
#include "optimizer.h"
#include "report.h"

unsigned int jumps_seen;

bool is_jump(const struct counted *counted)
{
	return probe_state(counted->kprobe.addr) == PROBE_JUMP;
}

void expect_jump(struct verdict *verdict, const struct counted *counted, const char *which)
{
	if (!PROBE_CAN_OPTIMIZE)
		return;
	if (expect(verdict, optimizer_made_jump(counted), "%s probe is no jump", which))
		jumps_seen++;
}

void expect_hits(struct verdict *verdict, unsigned int row, const char *when,
		 struct counted *a, bool a_counts, struct counted *b, bool b_counts)
{
	unsigned long a_before = counted_calls(a), b_before = counted_calls(b);
	unsigned long a_wanted = a_counts ? CALLS : 0, b_wanted = b_counts ? CALLS : 0;
	unsigned int call;

	for (call = 0; call < CALLS; call++)
		expect(verdict, row_works(row), "%s: a wrong result", when);
	expect(verdict, counted_calls(a) - a_before == a_wanted, "%s: first: %lu hits, not %lu",
	       when, counted_calls(a) - a_before, a_wanted);
	expect(verdict, counted_calls(b) - b_before == b_wanted, "%s: second: %lu hits, not %lu",
	       when, counted_calls(b) - b_before, b_wanted);
}

bool scene_begin(struct scene *scene, const char *name, bool needs_jumps)
{
	/* One after another: by the time that it is used again, a row is as new. */
	static unsigned int row;

	memset(scene, 0, sizeof(*scene));
	scene->row = row++ % (ROWS - 1);	/* the last one is the optimizer's marker */
	report_case(name);
	if (needs_jumps && !PROBE_CAN_OPTIMIZE) {
		report_skip("this kernel has no OPTPROBES");
		return false;
	}
	expect(&scene->verdict, probe_text_save(&scene->text, row_start(scene->row)),
	       "its text cannot be read");
	return true;
}

void scene_register(struct scene *scene, struct counted *which, unsigned int at)
{
	int error = counted_register(which, row_at(scene->row, at));

	expect(&scene->verdict, !error, "register_kprobe at +%u: error %d", at, error);
}

void scene_register_post(struct scene *scene, struct counted *which, unsigned int at)
{
	int error = counted_register_post(which, row_at(scene->row, at));

	expect(&scene->verdict, !error, "register_kprobe at +%u: error %d", at, error);
}

void scene_disable(struct scene *scene, struct counted *which)
{
	int error = disable_kprobe(&which->kprobe);

	expect(&scene->verdict, !error, "disable_kprobe: error %d", error);
}

void scene_enable(struct scene *scene, struct counted *which)
{
	int error = enable_kprobe(&which->kprobe);

	expect(&scene->verdict, !error, "enable_kprobe: error %d", error);
}

void scene_settle(struct scene *scene)
{
	expect(&scene->verdict, optimizer_ran(), "the optimizer did not run");
}

void scene_hits(struct scene *scene, const char *when, bool a_counts, bool b_counts)
{
	expect_hits(&scene->verdict, scene->row, when, &scene->a, a_counts, &scene->b, b_counts);
}

void scene_end(struct scene *scene)
{
	if (scene->b.kprobe.addr)
		unregister_kprobe(&scene->b.kprobe);
	if (scene->a.kprobe.addr)
		unregister_kprobe(&scene->a.kprobe);
	scene_hits(scene, "unregistered", false, false);
	expect(&scene->verdict, probe_text_restored(&scene->text),
	       "the text is not the original one after 3 s");
	scene_hits(scene, "text restored", false, false);
	report_verdict(&scene->verdict);
}

void scene_unregister(struct counted *which)
{
	unregister_kprobe(&which->kprobe);
	which->kprobe.addr = NULL;
}
