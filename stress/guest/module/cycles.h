/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time as the TSC has it. Where the TSCs of several CPUs are not in step, ktime_get() falls back to
 * a clock that stands still while interrupts are off, and sched_clock() is corrected by it.
 */
#ifndef FARM_CYCLES_H
#define FARM_CYCLES_H

#include <linux/math64.h>

#include <asm/tsc.h>

#include "compat.h"

/* Whether this kernel knows how fast the TSC is; without that there is no time to be told. */
static inline bool cycles_known(void)
{
	return tsc_khz && get_cycles();
}

static inline u64 cycles_to_ns(u64 cycles)
{
	return div_u64(cycles * 1000000, tsc_khz);
}

#endif
