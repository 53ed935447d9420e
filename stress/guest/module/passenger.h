/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * farm_passenger.ko is text that comes and goes. It tells farm_stress where its functions are
 * while its own init function runs, and that it goes while its exit function does.
 */
#ifndef FARM_PASSENGER_H
#define FARM_PASSENGER_H

#define PASSENGER_CORES 4

struct passenger {
	/* Each returns 1. */
	int (*init)(void);			/* in text that is freed after init */
	int (*core[PASSENGER_CORES])(void);
	int (*traced)(void);			/* its entry is the function tracer's */
	int (*exit)(void);			/* in the text of the exit function, known then */
};

int farm_passenger_comes(const struct passenger *passenger);
void farm_passenger_goes(const struct passenger *passenger);

/* See passenger_text.S. */
int farm_passenger_init(void);
int farm_passenger_core0(void);
int farm_passenger_core1(void);
int farm_passenger_core2(void);
int farm_passenger_core3(void);
int farm_passenger_exit(void);

#endif
