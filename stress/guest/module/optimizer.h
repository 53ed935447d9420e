/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * To wait for the optimizer, which works late and tells nobody, without guessing at its speed.
 */
#ifndef FARM_OPTIMIZER_H
#define FARM_OPTIMIZER_H

#include "compat.h"
#include "counted.h"

/*
 * Returns when everything that was queued for the optimizer before is done: a probe of its own is
 * queued behind that, and seen to become a jump or to stop being one. false: it was not, in 3 s,
 * and then nobody waits again. Without OPTPROBES there is nothing to wait for.
 */
bool optimizer_ran(void);

/* Take that probe away, when the scenario is through, and be ready for the next one. */
void optimizer_leave(void);

/* Whether the probe is a jump, once whatever may have held it back was seen to. */
bool optimizer_made_jump(const struct counted *counted);

#endif
