/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The scenarios of this module: SCENARIO(x) is started by `run: x` and is
 * int run_x(const struct arguments *arguments) in one of the files here. One list for the
 * declarations and main.c's table (checkpatch.pl takes it for a value and wants parentheses).
 */
#ifndef FARM_SCENARIOS_H
#define FARM_SCENARIOS_H

#define FARM_SCENARIOS(SCENARIO)	\
	SCENARIO(smoke)			\
	SCENARIO(memory)		\
	SCENARIO(overhead)		\
	SCENARIO(geometry)		\
	SCENARIO(lifecycle)		\
	SCENARIO(modules)		\
	SCENARIO(reused)		\
	SCENARIO(forced)		\
	SCENARIO(safety)		\
	SCENARIO(longest)

struct arguments;

/*
 * An int parameter of the scenario. One that is missing or outside of low..high ends the
 * scenario as an error: returns -EINVAL, for the scenario to return in its turn. (The host sends
 * every parameter of the scenario's file, so there are no defaults here.)
 */
int argument_int(const struct arguments *arguments, const char *name,
		 int low, int high, int *value);

#define FARM_DECLARE(name) int run_##name(const struct arguments *arguments);
FARM_SCENARIOS(FARM_DECLARE)

#endif
