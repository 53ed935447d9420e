// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * geometry: probes that get in each other's way. An optimized probe owns the bytes of its jump;
 * what happens when another one wants some of them, or the same address, is decided by where they
 * stand and by how far each is on its way to or from the jump. Every case is deterministic: the
 * optimizer works late, so what is done at once is done while a probe is queued.
 */
#include <linux/errno.h>
#include <linux/kprobes.h>
#include <linux/string.h>

#include "counted.h"
#include "optimizer.h"
#include "probe.h"
#include "report.h"
#include "rows.h"
#include "scenarios.h"

#define FARTHEST	16	/* the longest replaced region has 20 bytes, here it has 5 */
#define JUMP		5
#define CALLS		3	/* after each step */

static unsigned int jumps;	/* seen standing in the text */

static bool is_jump(const struct counted *counted)
{
	return probe_state(counted->kprobe.addr) == PROBE_JUMP;
}

/* Wait for what becomes of a probe that nothing holds back: a jump, if this kernel can. */
static void expect_jump(struct verdict *verdict, const struct counted *counted, const char *which)
{
	if (!PROBE_CAN_OPTIMIZE)
		return;
	if (expect(verdict, optimizer_made_jump(counted), "%s probe is no jump", which))
		jumps++;
}

/* Calls the row; each of the probes has to count that or nothing. */
static void expect_hits(struct verdict *verdict, unsigned int row, const char *when,
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

/*
 * Pairs: each distance twice, with the second probe above the first and below it. They go through
 * their lives side by side, each in a row of its own, and so wait for the optimizer together.
 */
static struct pair {
	struct counted first, second;
	struct probe_text text;
	struct verdict verdict;
	unsigned int row;
	unsigned int first_at, second_at;
} pairs[2 * (FARTHEST + 1)];

#define for_each_pair(pair) for (pair = pairs; pair < pairs + ARRAY_SIZE(pairs); pair++)

/* Whether the one at `other` stands on bytes that the jump at `at` would replace. */
static bool covers(unsigned int at, unsigned int other)
{
	return at < other && other < at + JUMP;
}

static void pairs_lay_out(void)
{
	unsigned int which;

	for (which = 0; which < ARRAY_SIZE(pairs); which++) {
		struct pair *pair = &pairs[which];
		unsigned int distance = which % (FARTHEST + 1);
		bool above = which <= FARTHEST;

		memset(pair, 0, sizeof(*pair));
		pair->row = which;
		pair->first_at = above ? 0 : distance;
		pair->second_at = above ? distance : 0;
		expect(&pair->verdict, probe_text_save(&pair->text, row_start(which)),
		       "its text cannot be read");
	}
}

static void pairs_register_first(void)
{
	struct pair *pair;
	int error;

	for_each_pair(pair) {
		error = counted_register(&pair->first, row_at(pair->row, pair->first_at));
		expect(&pair->verdict, !error, "registering the first: error %d", error);
		expect_hits(&pair->verdict, pair->row, "first registered",
			    &pair->first, true, &pair->second, false);
	}
	for_each_pair(pair) {
		expect_jump(&pair->verdict, &pair->first, "the first");
		expect_hits(&pair->verdict, pair->row, "first alone",
			    &pair->first, true, &pair->second, false);
	}
}

/* Who may be a jump now: a probe is held back by one that stands on its bytes. */
static void pairs_look(void)
{
	struct pair *pair;

	for_each_pair(pair) {
		if (covers(pair->second_at, pair->first_at))
			expect(&pair->verdict, !is_jump(&pair->second),
			       "the second is a jump over the first");
		else
			expect_jump(&pair->verdict, &pair->second, "the second");
		if (covers(pair->first_at, pair->second_at))
			expect(&pair->verdict, !is_jump(&pair->first),
			       "the first is a jump over the second");
	}
}

static void pairs_register_second(void)
{
	struct pair *pair;
	int error;

	for_each_pair(pair) {
		error = counted_register(&pair->second, row_at(pair->row, pair->second_at));
		expect(&pair->verdict, !error, "registering the second: error %d", error);
		expect_hits(&pair->verdict, pair->row, "second registered",
			    &pair->first, true, &pair->second, true);
	}
	pairs_look();
	for_each_pair(pair)
		expect_hits(&pair->verdict, pair->row, "both settled",
			    &pair->first, true, &pair->second, true);
}

static void pairs_disable_second(void)
{
	struct pair *pair;
	int error;

	for_each_pair(pair) {
		error = disable_kprobe(&pair->second.kprobe);
		expect(&pair->verdict, !error, "disabling the second: error %d", error);
		expect_hits(&pair->verdict, pair->row, "second disabled",
			    &pair->first, true, &pair->second, false);
	}
	optimizer_ran();
	for_each_pair(pair)
		expect_hits(&pair->verdict, pair->row, "second disabled and settled",
			    &pair->first, true, &pair->second, false);
}

static void pairs_enable_second(void)
{
	struct pair *pair;
	int error;

	for_each_pair(pair) {
		error = enable_kprobe(&pair->second.kprobe);
		expect(&pair->verdict, !error, "enabling the second: error %d", error);
		expect_hits(&pair->verdict, pair->row, "second enabled",
			    &pair->first, true, &pair->second, true);
	}
	pairs_look();
	for_each_pair(pair)
		expect_hits(&pair->verdict, pair->row, "second enabled and settled",
			    &pair->first, true, &pair->second, true);
}

/* The kernel may not have let go of the first when it is wanted again. */
static void pairs_replace_first(void)
{
	struct pair *pair;
	int error;

	for_each_pair(pair) {
		unregister_kprobe(&pair->first.kprobe);
		expect_hits(&pair->verdict, pair->row, "first unregistered",
			    &pair->first, false, &pair->second, true);
		error = counted_register(&pair->first, row_at(pair->row, pair->first_at));
		expect(&pair->verdict, !error, "registering the first again: error %d", error);
		expect_hits(&pair->verdict, pair->row, "first registered again",
			    &pair->first, true, &pair->second, true);
	}
	optimizer_ran();
	for_each_pair(pair)
		expect_hits(&pair->verdict, pair->row, "first registered again and settled",
			    &pair->first, true, &pair->second, true);
}

static void pairs_unregister(void)
{
	struct pair *pair;

	for_each_pair(pair) {
		struct kprobe *both[] = { &pair->first.kprobe, &pair->second.kprobe };

		unregister_kprobes(both, ARRAY_SIZE(both));
		expect_hits(&pair->verdict, pair->row, "both unregistered",
			    &pair->first, false, &pair->second, false);
	}
	for_each_pair(pair) {
		expect(&pair->verdict, probe_text_restored(&pair->text),
		       "the text is not the original one after 3 s");
		expect_hits(&pair->verdict, pair->row, "text restored",
			    &pair->first, false, &pair->second, false);
	}
}

/* A crash among the pairs is the first case's; what is wrong with one is its distance's. */
static void pairs_cases(void)
{
	unsigned int distance;
	char name[16];

	report_case("pairs");
	pairs_lay_out();
	pairs_register_first();
	pairs_register_second();
	pairs_disable_second();
	pairs_enable_second();
	pairs_replace_first();
	pairs_unregister();
	report_ok();
	for (distance = 0; distance <= FARTHEST; distance++) {
		const struct verdict *above = &pairs[distance].verdict;
		const struct verdict *below = &pairs[FARTHEST + 1 + distance].verdict;

		snprintf(name, sizeof(name), "plus%u", distance);
		report_case(name);
		if (above->failed)
			report_result(false, "second above: %s", above->reason);
		else
			report_result(!below->failed, "second below: %s", below->reason);
	}
}

/*
 * The other cases use the rows one after another, from 0 on again: by then each is as new.
 */
struct scene {
	struct verdict verdict;
	struct counted a, b;
	struct probe_text text;
	unsigned int row;
};

static bool scene_begin(struct scene *scene, const char *name, bool needs_jumps)
{
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

static void scene_register(struct scene *scene, struct counted *which, unsigned int at)
{
	int error = counted_register(which, row_at(scene->row, at));

	expect(&scene->verdict, !error, "register_kprobe at +%u: error %d", at, error);
}

static void scene_register_post(struct scene *scene, struct counted *which, unsigned int at)
{
	int error = counted_register_post(which, row_at(scene->row, at));

	expect(&scene->verdict, !error, "register_kprobe at +%u: error %d", at, error);
}

static void scene_disable(struct scene *scene, struct counted *which)
{
	int error = disable_kprobe(&which->kprobe);

	expect(&scene->verdict, !error, "disable_kprobe: error %d", error);
}

static void scene_enable(struct scene *scene, struct counted *which)
{
	int error = enable_kprobe(&which->kprobe);

	expect(&scene->verdict, !error, "enable_kprobe: error %d", error);
}

static void scene_settle(struct scene *scene)
{
	expect(&scene->verdict, optimizer_ran(), "the optimizer did not run");
}

static void scene_hits(struct scene *scene, const char *when, bool a_counts, bool b_counts)
{
	expect_hits(&scene->verdict, scene->row, when, &scene->a, a_counts, &scene->b, b_counts);
}

/* Unregisters what is still there; the text has to be the original one in the end. */
static void scene_end(struct scene *scene)
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

static void scene_unregister(struct counted *which)
{
	unregister_kprobe(&which->kprobe);
	which->kprobe.addr = NULL;
}

/* Enabled again before the optimizer took the jump away: it stays, or comes back. */
static void cancel_unoptimizing_case(struct scene *scene)
{
	if (!scene_begin(scene, "cancel-unoptimizing", true))
		return;
	scene_register(scene, &scene->a, 0);
	expect_jump(&scene->verdict, &scene->a, "the");
	scene_disable(scene, &scene->a);
	scene_hits(scene, "disabled", false, false);
	scene_enable(scene, &scene->a);
	scene_hits(scene, "enabled", true, false);
	scene_settle(scene);
	expect_jump(&scene->verdict, &scene->a, "after cancelling the");
	scene_hits(scene, "settled", true, false);
	scene_end(scene);
}

/* Wanted again, by a new probe, before the optimizer took the jump away. */
static void register_again_case(struct scene *scene)
{
	if (!scene_begin(scene, "register-again", true))
		return;
	scene_register(scene, &scene->a, 0);
	expect_jump(&scene->verdict, &scene->a, "the");
	unregister_kprobe(&scene->a.kprobe);
	scene_hits(scene, "unregistered", false, false);
	scene_register(scene, &scene->a, 0);
	scene_hits(scene, "registered again", true, false);
	scene_settle(scene);
	expect_jump(&scene->verdict, &scene->a, "after registering again the");
	scene_hits(scene, "settled", true, false);
	scene_end(scene);
}

/* Disabled before the optimizer wrote the jump: it must not write one any more. */
static void cancel_optimizing_case(struct scene *scene)
{
	if (!scene_begin(scene, "cancel-optimizing", true))
		return;
	scene_register(scene, &scene->a, 0);
	scene_disable(scene, &scene->a);
	scene_hits(scene, "disabled", false, false);
	scene_settle(scene);
	expect(&scene->verdict, probe_text_restored(&scene->text),
	       "something stands in the text of a disabled probe");
	scene_hits(scene, "settled", false, false);
	scene_enable(scene, &scene->a);
	expect_jump(&scene->verdict, &scene->a, "after enabling the");
	scene_hits(scene, "enabled", true, false);
	scene_end(scene);
}

/* On the bytes of a jump that waits for being taken away, a probe needs the original ones. */
static void recover_queued_case(struct scene *scene, unsigned int at)
{
	char name[24];

	snprintf(name, sizeof(name), "recover-queued-%u", at);
	if (!scene_begin(scene, name, true))
		return;
	scene_register(scene, &scene->a, 0);
	expect_jump(&scene->verdict, &scene->a, "the first");
	scene_disable(scene, &scene->a);
	scene_register(scene, &scene->b, at);
	scene_hits(scene, "second registered", false, true);
	/* The first is on the freeing list until then, see docs/scenarios.md. */
	scene_settle(scene);
	scene_hits(scene, "settled", false, true);
	scene_end(scene);
}

/* The way back from a detour must not lead into a jump that is still there, if disabled. */
static void detour_into_queued_case(struct scene *scene)
{
	if (!scene_begin(scene, "detour-into-queued", true))
		return;
	scene_register(scene, &scene->a, 2);
	expect_jump(&scene->verdict, &scene->a, "the first");
	scene_disable(scene, &scene->a);
	scene_register(scene, &scene->b, 0);
	scene_hits(scene, "second registered", false, true);
	scene_settle(scene);
	scene_hits(scene, "settled", false, true);
	scene_end(scene);
}

/* A probe is held back by a neighbour; when that one goes away, it must become a jump. */
static void neighbour_unregistered_case(struct scene *scene)
{
	if (!scene_begin(scene, "neighbour-unregistered", true))
		return;
	scene_register(scene, &scene->b, 2);
	expect_jump(&scene->verdict, &scene->b, "the neighbour");
	scene_register(scene, &scene->a, 0);
	scene_settle(scene);
	expect(&scene->verdict, !is_jump(&scene->a), "a jump over a neighbour");
	scene_unregister(&scene->b);
	expect_jump(&scene->verdict, &scene->a, "the neighbour is gone, and the");
	scene_hits(scene, "neighbour gone", true, false);
	scene_end(scene);
}

static void neighbour_disabled_case(struct scene *scene)
{
	if (!scene_begin(scene, "neighbour-disabled", true))
		return;
	scene_register(scene, &scene->b, 2);
	expect_jump(&scene->verdict, &scene->b, "the neighbour");
	scene_register(scene, &scene->a, 0);
	scene_disable(scene, &scene->b);
	expect_jump(&scene->verdict, &scene->a, "the neighbour is disabled, and the");
	scene_hits(scene, "neighbour disabled", true, false);
	scene_end(scene);
}

/* Two at one address are one for the optimizer. */
static void sibling_removed_case(struct scene *scene)
{
	if (!scene_begin(scene, "sibling-removed", true))
		return;
	scene_register(scene, &scene->a, 0);
	scene_register(scene, &scene->b, 0);
	expect_jump(&scene->verdict, &scene->a, "with its sibling the");
	scene_hits(scene, "both", true, true);
	scene_disable(scene, &scene->b);
	scene_hits(scene, "sibling disabled", true, false);
	scene_settle(scene);
	expect_jump(&scene->verdict, &scene->a, "its sibling is disabled, and the");
	scene_unregister(&scene->b);
	scene_hits(scene, "sibling removed", true, false);
	scene_settle(scene);
	expect_jump(&scene->verdict, &scene->a, "its sibling is removed, and the");
	scene_hits(scene, "settled", true, false);
	scene_end(scene);
}

/* A post_handler forbids the jump as long as it is there. */
static void post_sibling_removed_case(struct scene *scene)
{
	if (!scene_begin(scene, "post-sibling-removed", true))
		return;
	scene_register(scene, &scene->a, 0);
	expect_jump(&scene->verdict, &scene->a, "alone the");
	scene_register_post(scene, &scene->b, 0);
	expect(&scene->verdict, !is_jump(&scene->a), "a jump in spite of a post_handler");
	scene_hits(scene, "both", true, true);
	scene_settle(scene);
	expect(&scene->verdict, !is_jump(&scene->a), "later a jump in spite of a post_handler");
	scene_unregister(&scene->b);
	expect_jump(&scene->verdict, &scene->a, "the post_handler is gone, and the");
	scene_hits(scene, "settled", true, false);
	scene_end(scene);
}

static void expect_posts(struct scene *scene, const struct counted *which, int wanted)
{
	int posts = atomic_read(&which->posts);

	expect(&scene->verdict, posts == wanted, "%d calls of the post_handler, not %d", posts,
	       wanted);
}

static void post_first_case(struct scene *scene)
{
	if (!scene_begin(scene, "post-first", false))
		return;
	scene_register_post(scene, &scene->b, 0);
	scene_register(scene, &scene->a, 0);
	scene_settle(scene);
	scene_hits(scene, "both", true, true);
	expect_posts(scene, &scene->b, CALLS);
	scene_end(scene);
}

static void post_late_case(struct scene *scene)
{
	if (!scene_begin(scene, "post-late", false))
		return;
	scene_register(scene, &scene->a, 0);
	scene_settle(scene);
	scene_register_post(scene, &scene->b, 0);
	scene_hits(scene, "both", true, true);
	expect_posts(scene, &scene->b, CALLS);
	scene_end(scene);
}

/* The same where the probe that was there first has been disabled, and so the text was original. */
static void post_late_disabled_case(struct scene *scene)
{
	if (!scene_begin(scene, "post-late-disabled", false))
		return;
	scene_register(scene, &scene->a, 0);
	scene_disable(scene, &scene->a);
	scene_settle(scene);
	scene_register_post(scene, &scene->b, 0);
	scene_hits(scene, "sibling disabled", false, true);
	expect_posts(scene, &scene->b, CALLS);
	scene_end(scene);
}

/*
 * A probe in the function that writes the text: it is hit while its own jump is half taken away.
 * Which of its instructions make room for a jump is up to the compiler, so they are tried.
 */
static void poke_function_case(struct scene *scene)
{
	unsigned int offset;
	bool found = false;

	if (!scene_begin(scene, "poke-function", true))
		return;
	for (offset = 4; offset < 24 && !found; offset++) {
		counted_set(&scene->a, NULL, false);
		scene->a.kprobe.symbol_name = "text_poke";
		scene->a.kprobe.offset = offset;
		if (register_kprobe(&scene->a.kprobe))
			continue;
		scene_settle(scene);
		found = is_jump(&scene->a);
		if (!found)
			unregister_kprobe(&scene->a.kprobe);
	}
	if (!found) {
		report_skip("no probe in text_poke can be a jump");
		return;
	}
	jumps++;
	scene_disable(scene, &scene->a);
	scene_settle(scene);
	expect(&scene->verdict, probe_state(scene->a.kprobe.addr) == PROBE_NONE,
	       "something stands in the text of a disabled probe");
	scene_enable(scene, &scene->a);
	expect_jump(&scene->verdict, &scene->a, "after enabling the");
	expect(&scene->verdict, atomic_read(&scene->a.hits) > 0, "not a single hit");
	unregister_kprobe(&scene->a.kprobe);
	scene_settle(scene);
	expect(&scene->verdict, probe_state(scene->a.kprobe.addr) == PROBE_NONE,
	       "something stands in the text after unregister_kprobe");
	report_verdict(&scene->verdict);
}

int run_geometry(const struct arguments *arguments)
{
	static struct scene scene;
	unsigned int at;

	jumps = 0;
	pairs_cases();
	cancel_unoptimizing_case(&scene);
	register_again_case(&scene);
	cancel_optimizing_case(&scene);
	for (at = 1; at < JUMP; at++)
		recover_queued_case(&scene, at);
	detour_into_queued_case(&scene);
	sibling_removed_case(&scene);
	post_sibling_removed_case(&scene);
	post_first_case(&scene);
	post_late_case(&scene);
	post_late_disabled_case(&scene);
	neighbour_unregistered_case(&scene);
	neighbour_disabled_case(&scene);
	poke_function_case(&scene);
	optimizer_leave();
	report_evidence("pairs", ARRAY_SIZE(pairs));
	report_evidence("jumps", jumps);
	return 0;
}
