// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * geometry: probes that get in each other's way. An optimized probe owns the bytes of its jump;
 * what happens when another one wants some of them, or the same address, is decided by where they
 * stand and by how far each is on its way to or from the jump. Every case is deterministic: the
 * optimizer works late, so what is done at once is done while a probe is queued.
 */
#include <linux/kprobes.h>

#include "geometry.h"
#include "optimizer.h"
#include "report.h"
#include "scenarios.h"

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
	jumps_seen++;
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
	unsigned int pairs, at;

	jumps_seen = 0;
	pairs = pairs_cases();
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
	report_evidence("pairs", pairs);
	report_evidence("jumps", jumps_seen);
	return 0;
}
