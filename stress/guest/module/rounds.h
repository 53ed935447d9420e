/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One number for all rounds of a measurement.
 */
#ifndef FARM_ROUNDS_H
#define FARM_ROUNDS_H

/*
 * Keeps the first number that is not the wanted one, be it less or more, else the last: what went
 * wrong in one round is not to be hidden by those after it. Rounds count from 0.
 */
static inline void keep(unsigned long *kept, unsigned long seen, unsigned long wanted, int round)
{
	if (!round || *kept == wanted)
		*kept = seen;
}

#endif
