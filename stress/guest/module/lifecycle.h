/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the lifecycle scenario, and what they share: probes that are switched on and off
 * at random, with every call accounted for, while somebody else does something.
 */
#ifndef FARM_LIFECYCLE_H
#define FARM_LIFECYCLE_H

#include <linux/completion.h>

#include "counted.h"
#include "probe.h"
#include "rows.h"

/* A repeatable choice of 0 .. below-1. */
unsigned int choose(unsigned int below);
void choose_seed(unsigned int seed);

#define TOGGLED 16

/* One probe in each of the first rows, no two in one: nothing holds a probe back but its state. */
struct toggler {
	struct verdict verdict;
	bool guess;		/* others call too, or switch: no count is known */
	struct toggled {
		struct counted counted;
		struct probe_text text;
		unsigned long expected;
		bool enabled;
	} toggled[TOGGLED];
};

/* Register them all, enabled. */
void toggler_begin(struct toggler *toggler);

/* Switch one of them, call it, and account for that. */
void toggler_step(struct toggler *toggler);

/* Enable it if it is disabled, and the other way round. */
void toggler_switch(struct toggler *toggler, unsigned int row);

/* From here on counts are known again. */
void toggler_recount(struct toggler *toggler);

/* All disabled, then all enabled: each is a jump if this kernel can, every call was counted. */
void toggler_settle(struct toggler *toggler);

/* Unregister them all, compare the text, and end the case. */
void toggler_end(struct toggler *toggler);

/* What goes on beside: `step` is called `rounds` times from a thread of its own. */
struct agent {
	int (*step)(unsigned int round);
	unsigned int rounds;
	int error;		/* of the first step that failed */
	struct completion done;
};

/* Run the agent, and the toggler beside it for as long as it takes, at least `steps` steps. */
void agent_beside(struct agent *agent, struct toggler *toggler, unsigned int steps);

void storm_cases(unsigned int steps);	/* storms.c */
void missed_cases(unsigned int calls);	/* missed.c */
void switch_cases(unsigned int steps);	/* switches.c */
void agent_cases(unsigned int steps);	/* agents.c */

#endif
