/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Probes and the text under them: the targets, what stands at an address, and waiting for it.
 */
#ifndef FARM_PROBE_H
#define FARM_PROBE_H

#include "compat.h"

/* See targets.S. */
long farm_target_optimizable(void);
long farm_target_boostable(void);
long farm_target_plain(void);

/*
 * A function in C that ftrace knows, for trace events refuse all others; returns 1. A probe on its
 * entry would be an ftrace one. The place behind the entry is for a jump; where that is, as seen
 * from here, says farm_traced_place.
 */
long farm_traced_target(void);
extern const int farm_traced_place;

/* How much text is compared: a target and all of its padding. */
#define PROBE_TEXT 64

struct probe_text {
	const void *address;
	unsigned char bytes[PROBE_TEXT];
};

enum probe_state {
	PROBE_NONE,		/* neither of the two */
	PROBE_BREAKPOINT,	/* int3 */
	PROBE_JUMP,		/* optimized: the jump is really there */
};

/* Whether this kernel was built to optimize probes at all. */
#ifdef CONFIG_OPTPROBES
#define PROBE_CAN_OPTIMIZE 1
#else
#define PROBE_CAN_OPTIMIZE 0
#endif

/* What stands at the address now. */
enum probe_state probe_state(const void *address);

/* Wait, up to 3 s, until it is `wanted`; returns whether it is. */
bool probe_wait(const void *address, enum probe_state wanted);

/* Let the optimizer have its turn (it works 50 ms late) where nothing is to be seen of it. */
void probe_settle(void);

/* Remember the bytes at the address; returns whether they could be read. */
bool probe_text_save(struct probe_text *text, const void *address);

/* Wait, up to 3 s, until the bytes are the remembered ones again; returns whether they are. */
bool probe_text_restored(const struct probe_text *text);

#endif
