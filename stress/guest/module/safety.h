/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls of functions whose every register, flag and word of memory is compared: before the probes
 * against with them, and in their handlers. For the scenario `safety`.
 */
#ifndef FARM_SAFETY_H
#define FARM_SAFETY_H

#include <linux/ptrace.h>

#include "compat.h"
#include "safety_layout.h"

/* A function of safety_insns.S or safety_rules.S, as the macro `function` lays it out. */
struct safety_function {
	const char *rule;	/* its case, with _ for - */
	const char *text;	/* what is special about this one */
	const unsigned char *start;
	const char *letters;	/* one for each byte, see safety_asm.h */
	unsigned int copy;	/* which of the bytes that take a probe is this copy's */
	unsigned int kind;
	unsigned int neighbour;	/* where another probe stands; 0: nowhere */
	unsigned int unused;
};

extern const struct safety_function farm_safety_insns[], farm_safety_insns_end[];
extern const struct safety_function farm_safety_longest[], farm_safety_longest_end[];
extern const struct safety_function farm_safety_rules[], farm_safety_rules_end[];

/* Of safety_call.S: calls the target from and to these. */
extern unsigned long farm_call_in[CALL_REGISTERS];
extern unsigned long farm_call_out[CALL_REGISTERS];
extern const void *farm_call_target;
extern unsigned long farm_call_sp;	/* that the target began with */
extern unsigned char farm_call_scratch[CALL_SCRATCH];
void farm_call(void);

/* Inputs 0 to CALL_INPUTS - 1 hold every combination of the flags that conditions look at. */
#define CALL_INPUTS 32

struct call_outcome {
	unsigned long registers[CALL_REGISTERS];
	unsigned char scratch[CALL_SCRATCH];
};

/* Call the function with the registers, flags and memory of an input. */
void call_with_input(const void *function, unsigned int input, struct call_outcome *outcome);

/* Say the first difference; returns whether there is one. */
bool call_differs(const struct call_outcome *before, const struct call_outcome *after,
		  char *text, size_t size);

/*
 * In a pre_handler at the function's entry: say the first difference between what it was handed
 * and what the function was called with; returns whether there is one.
 */
bool call_differs_in_handler(const struct pt_regs *regs, const void *address,
			     char *text, size_t size);

#endif
