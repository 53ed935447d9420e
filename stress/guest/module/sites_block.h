/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A block of places for probes, see sites.h: SITE_FUNCTIONS functions of SITES_EACH instructions
 * each, from SITE_BLOCK on. Every instruction is as long as a jump or longer and so a place of its
 * own: a probe on it can be optimized, whatever its neighbours are. Small functions, because the
 * kernel decodes a whole function for each probe in it.
 */
#include <linux/linkage.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 18, 0)
#include <linux/objtool.h>
#endif

#ifndef RET
#define RET ret
#endif

/* Called through no pointer that a compiler wrote, hence no ENDBR, which would move the places. */
#ifndef ANNOTATE_NOENDBR
#define ANNOTATE_NOENDBR
#endif

#ifdef CONFIG_X86_64
#define SITE	movq $1, %rax	/* 48 c7 c0 01 00 00 00 */
#else
#define SITE	movl $1, %eax	/* b8 01 00 00 00 */
#endif

	.altmacro

.macro site_function number
	/* Filled with long nops: of int3 the kernel would decode each byte. */
	.balign SITE_FUNCTION_SIZE
	.type site_function_\number, @function
site_function_\number:
	ANNOTATE_NOENDBR
	.rept SITES_EACH
	SITE
	.endr
	RET
	.size site_function_\number, . - site_function_\number
.endm

	.text

	.balign SITE_FUNCTION_SIZE
	.globl SITE_BLOCK
SITE_BLOCK:
	.set number, 0
	.rept SITE_FUNCTIONS
	site_function %number
	.set number, number + 1
	.endr
	.balign SITE_FUNCTION_SIZE

	.section .note.GNU-stack, "", @progbits
