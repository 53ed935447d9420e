// SPDX-License-Identifier: GPL-2.0-or-later
#include "optimizer.h"
#include "probe.h"
#include "rows.h"

#define RUNS 3	/* to let go of one probe, to find the other, and one more */

static struct counted marker;
static bool registered, enabled, stuck;

/* The other state; returns the error. */
static int flip(void)
{
	int error;

	if (!registered)
		error = counted_register(&marker, row_at(ROWS - 1, 0));
	else
		error = enabled ? disable_kprobe(&marker.kprobe) : enable_kprobe(&marker.kprobe);
	if (error)
		return error;
	registered = true;
	enabled = !enabled;
	return 0;
}

bool optimizer_ran(void)
{
	if (!PROBE_CAN_OPTIMIZE || stuck)
		return !stuck;
	stuck = flip() || !probe_wait(row_at(ROWS - 1, 0), enabled ? PROBE_JUMP : PROBE_NONE);
	/* It writes text before it is through: this waits for the lock that it holds, no more. */
	if (!stuck && enabled)
		enable_kprobe(&marker.kprobe);
	else if (!stuck)
		disable_kprobe(&marker.kprobe);
	return !stuck;
}

void optimizer_leave(void)
{
	if (registered)
		unregister_kprobe(&marker.kprobe);
	registered = false;
	enabled = false;
	stuck = false;
}

bool optimizer_made_jump(const struct counted *counted)
{
	unsigned int run;

	for (run = 0; run < RUNS; run++) {
		if (probe_state(counted->kprobe.addr) == PROBE_JUMP)
			return true;
		optimizer_ran();
	}
	return probe_state(counted->kprobe.addr) == PROBE_JUMP;
}
