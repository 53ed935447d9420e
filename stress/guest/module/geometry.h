/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two probes on one row: what the geometry scenario's cases are made of.
 */
#ifndef FARM_GEOMETRY_H
#define FARM_GEOMETRY_H

#include "counted.h"
#include "probe.h"
#include "rows.h"

#define JUMP	5	/* bytes of a row that a jump replaces */
#define CALLS	3	/* after each step */

/* How many jumps were seen standing in the text since the scenario began. */
extern unsigned int jumps_seen;

bool is_jump(const struct counted *counted);

/* What becomes of a probe that nothing holds back: a jump, if this kernel can. */
void expect_jump(struct verdict *verdict, const struct counted *counted, const char *which);

/* Calls the row; each of the probes has to count that or nothing. */
void expect_hits(struct verdict *verdict, unsigned int row, const char *when,
		 struct counted *a, bool a_counts, struct counted *b, bool b_counts);

/* A case with two probes on a row of its own. */
struct scene {
	struct verdict verdict;
	struct counted a, b;
	struct probe_text text;
	unsigned int row;
};

/* Opens the case; false if it needs jumps and this kernel has none: then it is closed, too. */
bool scene_begin(struct scene *scene, const char *name, bool needs_jumps);

void scene_register(struct scene *scene, struct counted *which, unsigned int at);
void scene_register_post(struct scene *scene, struct counted *which, unsigned int at);
void scene_unregister(struct counted *which);
void scene_disable(struct scene *scene, struct counted *which);
void scene_enable(struct scene *scene, struct counted *which);

/* Let the optimizer do what is queued. */
void scene_settle(struct scene *scene);

void scene_hits(struct scene *scene, const char *when, bool a_counts, bool b_counts);

/* Unregisters what is still there; the text has to be the original one in the end. */
void scene_end(struct scene *scene);

unsigned int pairs_cases(void);		/* pairs.c; returns how many there were */

#endif
