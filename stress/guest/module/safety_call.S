/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * void farm_call(void): calls farm_call_target with the registers and flags of farm_call_in, and
 * leaves those that it returns with in farm_call_out.
 *
 * There is one caller at a time. The call is made by a return, so that neither a register nor a
 * mitigation of indirect calls takes part in it.
 */
#include "safety_asm.h"

#ifdef CONFIG_X86_64
#define GENERAL	rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
#define KEPT	rbx, rbp, r12, r13, r14, r15
#define TPEK	r15, r14, r13, r12, rbp, rbx
#else
#define GENERAL	eax, ebx, ecx, edx, esi, edi, ebp
#define KEPT	ebx, esi, edi, ebp
#define TPEK	ebp, edi, esi, ebx
#endif

/* More than any target takes off the stack: what lies below the pointer, an interrupt overwrites. */
#define MARGIN	64

	.bss
	.balign WORD
	.globl farm_call_in, farm_call_out, farm_call_target, farm_call_sp, farm_call_scratch
farm_call_in:
	.skip CALL_REGISTERS * WORD
farm_call_out:
	.skip CALL_REGISTERS * WORD
farm_call_target:
	.skip WORD
farm_call_sp:			/* where the return address lies when the target begins */
	.skip WORD
farm_call_scratch:
	.skip CALL_SCRATCH

	.text
	.balign 64, 0xcc
	.globl farm_call
	.type farm_call, @function
farm_call:
	.irp register, KEPT
	push %\register
	.endr
	pushf
	sub $MARGIN, %SP

#ifdef CONFIG_X86_64
	lea 1f(%rip), %rax
	push %rax
#else
	push $1f
#endif
	mov %SP, AT(farm_call_sp)
	push AT(farm_call_target)
	push AT(farm_call_in + CALL_FLAGS * WORD)
	.set offset, 0
	.irp register, GENERAL
	mov AT(farm_call_in + offset), %\register
	.set offset, offset + WORD
	.endr
	popf
	ret

1:	.set offset, 0
	.irp register, GENERAL
	mov %\register, AT(farm_call_out + offset)
	.set offset, offset + WORD
	.endr
	mov %SP, AT(farm_call_out + CALL_SP * WORD)
	mov AT(farm_call_sp), %SP
	pushf
	pop AT(farm_call_out + CALL_FLAGS * WORD)

	lea WORD + MARGIN(%SP), %SP
	popf
	.irp register, TPEK
	pop %\register
	.endr
	ret
	int3
	.size farm_call, . - farm_call

	.section .note.GNU-stack, "", @progbits
