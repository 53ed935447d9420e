// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See safety.h. farm_call() of safety_call.S makes the calls.
 */
#include <linux/kernel.h>
#include <linux/string.h>

#include <asm/processor-flags.h>
#include <asm/segment.h>

#include "safety.h"

/* In the order of safety_call.S. */
static const struct {
	const char *name;
	size_t at;		/* in struct pt_regs */
} registers[CALL_REGISTERS] = {
#define REGISTER(name) { #name, offsetof(struct pt_regs, name) }
	REGISTER(ax), REGISTER(bx), REGISTER(cx), REGISTER(dx),
	REGISTER(si), REGISTER(di), REGISTER(bp),
#ifdef CONFIG_X86_64
	REGISTER(r8), REGISTER(r9), REGISTER(r10), REGISTER(r11),
	REGISTER(r12), REGISTER(r13), REGISTER(r14), REGISTER(r15),
#endif
	REGISTER(flags), REGISTER(sp),
};

enum { AX, BX, CX, DX, SI, DI, BP };

/* What instructions read and write, and that interrupts are on or off; not the state of traps. */
#define FLAGS (X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF | X86_EFLAGS_SF | \
	       X86_EFLAGS_OF | X86_EFLAGS_DF | X86_EFLAGS_IF)

/* Bit 1 of the flags is always set. */
#define FLAGS_FIXED 2

static unsigned long flags_of(unsigned int input)
{
	return FLAGS_FIXED | (input & 1 ? X86_EFLAGS_CF : 0) | (input & 2 ? X86_EFLAGS_PF : 0) |
	       (input & 4 ? X86_EFLAGS_ZF : 0) | (input & 8 ? X86_EFLAGS_SF : 0) |
	       (input & 16 ? X86_EFLAGS_OF : 0) | (input % 3 ? X86_EFLAGS_IF : 0) |
	       (input % 5 ? X86_EFLAGS_AF : 0);
}

static void load(unsigned int input)
{
	/* Where counting down ends, or would in a narrower register. */
	static const unsigned long counts[] = {
		0, 1, 2, -1UL, 0x10000, 0x10001, 1UL << (BITS_PER_LONG - 1), 0x80,
	};
	unsigned int i;

	for (i = 0; i < CALL_GENERAL; i++)
		farm_call_in[i] = (i + 1) * 0x1122334455667788ULL +
				  input * 0x9e3779b97f4a7c15ULL;
	farm_call_in[CX] = counts[(input + input / 8) % ARRAY_SIZE(counts)];
	farm_call_in[SI] = (unsigned long)farm_call_scratch;
	farm_call_in[DI] = (unsigned long)farm_call_scratch + CALL_SCRATCH / 2;
	farm_call_in[CALL_FLAGS] = flags_of(input);
	for (i = 0; i < CALL_SCRATCH; i++)
		farm_call_scratch[i] = 0x35 * i + input;
}

void call_with_input(const void *function, unsigned int input, struct call_outcome *outcome)
{
	load(input);
	farm_call_target = function;
	farm_call();
	/* The stack may lie elsewhere the next time; what counts is what was left on it. */
	farm_call_out[CALL_SP] -= farm_call_sp;
	farm_call_out[CALL_FLAGS] &= FLAGS;
	memcpy(outcome->registers, farm_call_out, sizeof(outcome->registers));
	memcpy(outcome->scratch, farm_call_scratch, CALL_SCRATCH);
}

bool call_differs(const struct call_outcome *before, const struct call_outcome *after,
		  char *text, size_t size)
{
	unsigned int i;

	for (i = 0; i < CALL_REGISTERS; i++) {
		if (before->registers[i] == after->registers[i])
			continue;
		snprintf(text, size, "%s is %lx, was %lx without the probe", registers[i].name,
			 after->registers[i], before->registers[i]);
		return true;
	}
	for (i = 0; i < CALL_SCRATCH; i++) {
		if (before->scratch[i] == after->scratch[i])
			continue;
		snprintf(text, size, "byte %u in memory is %02x, was %02x without the probe", i,
			 after->scratch[i], before->scratch[i]);
		return true;
	}
	return false;
}

static unsigned long handed(const struct pt_regs *regs, unsigned int i)
{
	if (i == CALL_SP)
		return kernel_stack_pointer((struct pt_regs *)regs);
	return *(const unsigned long *)((const char *)regs + registers[i].at);
}

bool call_differs_in_handler(const struct pt_regs *regs, const void *address,
			     char *text, size_t size)
{
	unsigned long mask, wanted;
	unsigned int i;

	for (i = 0; i < CALL_REGISTERS; i++) {
		mask = i == CALL_FLAGS ? FLAGS : -1UL;
		wanted = i == CALL_SP ? farm_call_sp : farm_call_in[i];
		if ((handed(regs, i) & mask) == (wanted & mask))
			continue;
		snprintf(text, size, "the handler gets %s %lx, wanted %lx", registers[i].name,
			 handed(regs, i) & mask, wanted & mask);
		return true;
	}
	/* As behind an int3, whatever the probe consists of. */
	if (regs->ip != (unsigned long)address + 1) {
		snprintf(text, size, "the handler gets ip %lx, wanted %lx", regs->ip,
			 (unsigned long)address + 1);
		return true;
	}
	if ((regs->cs & 0xffff) != __KERNEL_CS) {
		snprintf(text, size, "the handler gets cs %lx, wanted %x",
			 (unsigned long)regs->cs, __KERNEL_CS);
		return true;
	}
	return false;
}
