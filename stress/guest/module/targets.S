/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Functions to put probes on, in assembly: a compiler would choose the first instructions, and
 * with the function tracer a probe on a function's entry would be an ftrace one. Each returns 1
 * and is longer than the jump that may replace its beginning. Whether a probe on its first byte
 * is boosted (the copied instruction jumps back by itself instead of being single-stepped) and
 * optimized (the probe is a jump) is decided by the first two instructions:
 *
 *	optimizable	one that covers the 5 bytes of the jump
 *	boostable	a short one that is boostable, then one that is not, in the same 5 bytes
 *	plain		one that is not boostable, so neither optimizable
 *
 * Not boostable is made by a CS prefix (2e), which changes nothing else.
 */
#include <linux/linkage.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 18, 0)
#include <linux/objtool.h>
#endif

#ifndef RET
#define RET ret
#endif

/* Called only directly, never through a pointer, hence no ENDBR, which would move the probe. */
#ifndef ANNOTATE_NOENDBR
#define ANNOTATE_NOENDBR
#endif

#ifdef CONFIG_X86_64
#define RETURN_ONE	movq $1, %rax	/* 48 c7 c0 01 00 00 00 */
#define CLEAR		xorq %rax, %rax	/* 48 31 c0 */
#else
#define RETURN_ONE	movl $1, %eax	/* b8 01 00 00 00 */
#define CLEAR		xorl %eax, %eax	/* 31 c0 */
#endif

/* int3 before and after: a probe that reaches over an end is a crash, not a chance. */
.macro target name
	.balign 64, 0xcc
	.globl \name
	.type \name, @function
\name:
	ANNOTATE_NOENDBR
.endm

.macro target_end name
	nop
	nop
	nop
	nop
	nop
	RET
	.size \name, . - \name
	int3
	int3
.endm

	.text

target farm_target_optimizable
	RETURN_ONE
target_end farm_target_optimizable

target farm_target_boostable
	CLEAR
	.byte 0x2e
	RETURN_ONE
target_end farm_target_boostable

target farm_target_plain
	.byte 0x2e
	RETURN_ONE
target_end farm_target_plain

/* Its place ends the one before: kallsyms has no sizes, only addresses. */
target farm_target_last
	RETURN_ONE
target_end farm_target_last

	.section .note.GNU-stack, "", @progbits
