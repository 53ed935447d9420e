/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Functions of a module, in each kind of its text: freed after init, there until it goes, and the
 * exit function's. A probe behind the ENDBR of each can be a jump.
 */
#include <linux/linkage.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 18, 0)
#include <asm/ibt.h>
#endif

#ifndef RET
#define RET ret
#endif

#ifndef ENDBR
#define ENDBR
#endif

.macro passenger name
	.balign 16, 0xcc
	.globl farm_passenger_\name
	.type farm_passenger_\name, @function
farm_passenger_\name:
	ENDBR
	movl $1, %eax
	nop
	nop
	nop
	nop
	nop
	RET
	.size farm_passenger_\name, . - farm_passenger_\name
	int3
.endm

	.section .init.text, "ax", @progbits
	passenger init
	passenger init_last

	.section .exit.text, "ax", @progbits
	passenger exit
	passenger exit_last

	.text
	passenger core0
	passenger core1
	passenger core2
	passenger core3
/* Its place ends the one before: kallsyms has no sizes, only addresses. */
	passenger core_last

	.section .note.GNU-stack, "", @progbits
