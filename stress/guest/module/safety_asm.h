/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the assembly of the scenario `safety`: functions to be probed at every byte, each with what
 * is to become of every probe written beside its instructions.
 *
 *	J	becomes a jump where the kernel can optimize; until then it is a breakpoint
 *	B	stays a breakpoint
 *	E	either of the two, or refused: all of them are safe
 *	R	is refused
 *	-	not probed: another function tells the same
 *
 * A small letter says that the instruction is never executed. The bytes within an instruction are
 * refused. The letters of a function are a string beside it, a letter for each byte, and a record
 * in a table leads to both; struct safety_function is its other side.
 *
 * A function is there in several copies: one for each byte that takes a probe (`rule`), or one for
 * each kind of probe (`insn`). So all probes stand at the same time, and the optimizer is waited
 * for once.
 */
#ifndef FARM_SAFETY_ASM_H
#define FARM_SAFETY_ASM_H

#include <linux/version.h>
#include <asm/asm.h>

#include "safety_layout.h"

#ifdef CONFIG_X86_64
#define AX		rax
#define BX		rbx
#define CX		rcx
#define DX		rdx
#define SI		rsi
#define DI		rdi
#define SP		rsp
#define AT(symbol)	symbol(%rip)
#define WORD		8
#else
#define AX		eax
#define BX		ebx
#define CX		ecx
#define DX		edx
#define SI		esi
#define DI		edi
#define SP		esp
#define AT(symbol)	symbol
#define WORD		4
#endif

/* The kinds of copies that `insn` makes; with `rule` they are all SAFETY_PLAIN. */
.set kind, SAFETY_PLAIN
.set neighbour, 0
.set probes, 0

/* The letter of an instruction of so many bytes. */
.macro letters letter, bytes
	.pushsection farm_safety_letters, "a"
	.ascii "\letter"
	.if \bytes > 1
	.space \bytes - 1, 0x2e
	.endif
	.popsection
	.ifnc \letter,R
	.ifnc \letter,-
	.set probes, probes + 1
	.endif
	.endif
.endm

/* One instruction with its letter. */
.macro at letter, instruction:vararg
771:
	\instruction
772:
	letters \letter, (772b - 771b)
.endm

/*
 * One copy of a function. The next symbol ends it for kallsyms, which has no sizes, and int3
 * fills what is between them.
 */
.macro function case, text, index, body, arguments:vararg
	.balign 16, 0xcc
	.type farm_\case\()_\@, @function
farm_\case\()_\@:
773:
	.pushsection farm_safety_letters, "a"
774:
	.popsection
	\body \arguments
	.size farm_\case\()_\@, . - farm_\case\()_\@
	int3
	.pushsection farm_safety_letters, "a"
	.byte 0
775:
	.asciz "\case"
776:
	.asciz "\text"
	.popsection
	.pushsection farm_safety_functions, "aw"
	_ASM_PTR 775b
	_ASM_PTR 776b
	_ASM_PTR 773b
	_ASM_PTR 774b
	.long \index, kind, neighbour, 0
	.popsection
.endm

/* `rule CASE, BODY ARGUMENTS`: a copy for each byte of the macro BODY that takes a probe. */
.macro rule case, body, arguments:vararg
	.set probes, 0
	function \case, "\arguments", 0, \body, \arguments
	.set copies, probes
	.set index, 1
	.rept copies - 1
	function \case, "\arguments", index, \body, \arguments
	.set index, index + 1
	.endr
.endm

/* One table in a file of assembly, from the macro's name to its end. */
.macro table name
	.pushsection farm_safety_functions, "aw"
	.balign WORD
	.globl \name
\name:
	.popsection
.endm

/* Jumps to a place that the next lines or the ones before hold, in a fixed size. */
.macro short_jump opcode, to
	.byte \opcode
	.byte \to - . - 1
.endm

.macro jmp_short to
	short_jump 0xeb, \to
.endm

.macro jmp_near to
	.byte 0xe9
	.long \to - . - 4
.endm

.macro jcc_short condition, to
	short_jump 0x70 + \condition, \to
.endm

.macro jcc_near condition, to
	.byte 0x0f, 0x80 + \condition
	.long \to - . - 4
.endm

/* A NOP of so many bytes; 15 is the most that an instruction may have. */
.macro nop_of bytes
	.if \bytes == 1
	.byte 0x90
	.elseif \bytes == 2
	.byte 0x66, 0x90
	.elseif \bytes == 3
	.byte 0x0f, 0x1f, 0x00
	.elseif \bytes == 4
	.byte 0x0f, 0x1f, 0x40, 0x00
	.elseif \bytes == 5
	.byte 0x0f, 0x1f, 0x44, 0x00, 0x00
	.elseif \bytes == 6
	.byte 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00
	.elseif \bytes == 7
	.byte 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00
	.else
	.rept \bytes - 8
	.byte 0x66
	.endr
	.byte 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00
	.endif
.endm

#endif
