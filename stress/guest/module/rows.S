/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Functions in which a probe fits on every byte: a run of instructions of one byte each, so that
 * two probes can have any distance, and a jump covers five instructions.
 *
 * They exchange three registers in turn. Every two exchanges move them round by one, and all of
 * them together bring each back to where it was: an instruction that is left out, done twice or
 * done wrong gives another result.
 */
#include <linux/linkage.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 18, 0)
#include <asm/ibt.h>
#endif

#include "rows.h"

#ifndef RET
#define RET ret
#endif

/* Called through pointers. */
#ifndef ENDBR
#define ENDBR
#endif

/* int3 before and after: a probe that reaches over an end is a crash, not a chance. */
.macro row number
	.balign ROW_SIZE, 0xcc
	.type farm_row_\number, @function
farm_row_\number:
	ENDBR
	movl $1, %eax
	movl $2, %ecx
	movl $3, %edx
	.org farm_row_\number + ROW_FIRST, 0x90
	.rept ROW_LENGTH / 2
	xchgl %eax, %ecx
	xchgl %eax, %edx
	.endr
	shll $2, %ecx
	shll $4, %edx
	addl %ecx, %eax
	addl %edx, %eax
	RET
	.size farm_row_\number, . - farm_row_\number
.endm

/* With the functions of agents.c, so that all that patches text meets on one page. */
	.section .text.farm_rows, "ax", @progbits

	.balign ROW_SIZE, 0xcc
	.globl farm_rows
farm_rows:
	.altmacro
	.set number, 0
	.rept ROWS
	row %number
	.set number, number + 1
	.endr
	.noaltmacro

/* Its place ends the last one: kallsyms has no sizes, only addresses. */
	.balign ROW_SIZE, 0xcc
	.type farm_rows_end, @function
farm_rows_end:
	RET
	.size farm_rows_end, . - farm_rows_end

	.section .note.GNU-stack, "", @progbits
