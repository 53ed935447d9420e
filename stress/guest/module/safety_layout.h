/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the assembly and the C of the scenario `safety` have in common.
 */
#ifndef FARM_SAFETY_LAYOUT_H
#define FARM_SAFETY_LAYOUT_H

/* Kinds of probes. */
#define SAFETY_PLAIN		0	/* whatever the kernel makes of it */
#define SAFETY_STEPPED		1	/* has a post_handler: neither boosted nor optimized */
#define SAFETY_BOOSTED		2	/* a jump into the bytes forbids the optimization */
#define SAFETY_OPTIMIZED	3	/* nothing is in the way of anything */

/* Registers that farm_call() loads and saves, beside the flags and the stack pointer. */
#ifdef CONFIG_X86_64
#define CALL_GENERAL		15
#else
#define CALL_GENERAL		7
#endif
#define CALL_FLAGS		CALL_GENERAL
#define CALL_SP			(CALL_GENERAL + 1)
#define CALL_REGISTERS		(CALL_GENERAL + 2)

/* Memory that the called functions may read and write. */
#define CALL_SCRATCH		64

#endif
