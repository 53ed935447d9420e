// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * forced: a neighbour takes the jump of a disabled probe away at once, which leaves that probe on
 * the list of those to be freed. Apart from the geometry scenario, for it ends in a warning on
 * kernels that are otherwise fine.
 */
#include "geometry.h"
#include "optimizer.h"
#include "report.h"
#include "scenarios.h"

/* The neighbour is gone again, and the probe wanted, before the optimizer's turn. */
static void enabled_again_case(struct scene *scene)
{
	if (!scene_begin(scene, "enabled-again", true))
		return;
	scene_register(scene, &scene->a, 0);
	expect_jump(&scene->verdict, &scene->a, "the");
	scene_disable(scene, &scene->a);
	scene_register(scene, &scene->b, 2);
	scene_disable(scene, &scene->b);
	scene_enable(scene, &scene->a);
	scene_hits(scene, "enabled again", true, false);
	expect_jump(&scene->verdict, &scene->a, "after enabling it again the");
	scene_hits(scene, "settled", true, false);
	scene_end(scene);
}

int run_forced(const struct arguments *arguments)
{
	static struct scene scene;

	jumps_seen = 0;
	enabled_again_case(&scene);
	optimizer_leave();
	report_evidence("jumps", jumps_seen);
	return 0;
}
