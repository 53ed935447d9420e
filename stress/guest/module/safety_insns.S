/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Single instructions, each in three functions: for a probe that is stepped over, for one that is
 * boosted, and for one that becomes a jump. With all of them the instruction has to do what it
 * does without. See safety_asm.h for the letters.
 */
#include <linux/stringify.h>

#include "safety_asm.h"

/* In quotes, for the assembler, and yet with the names of registers expanded. */
#define S(text...)	__stringify(text)

	.text

	.balign 64, 0xcc
	.type farm_safety_called, @function
farm_safety_called:
	lea 5(%BX), %BX
	ret
	.size farm_safety_called, . - farm_safety_called
	int3

	table farm_safety_insns

/*
 * The instruction, then one that tells whether it was jumped over and leaves the flags alone, and
 * room for the jump. `before` and `after` bring into order what the instruction needs and leaves.
 */
.macro single letter, instruction, before, after
	.ifnb \before
	at -, \before
	.endif
777:
	.ifc \letter,J
	.if kind == SAFETY_OPTIMIZED
	at J, \instruction
	.else
	at B, \instruction
	.endif
	.else
	at \letter, \instruction
	.endif
	at -, lea 0x11(%DX), %DX
1:
	.ifnb \after
	at -, \after
	.endif
	.rept 5
	at -, nop
	.endr
	at -, ret
	.if kind == SAFETY_BOOSTED
	at -, jmp_short 777b + 1
	.endif
.endm

.macro insn_as of_kind, case, letter, instruction, before, after
	.set kind, \of_kind
	function \case, "\instruction", 0, single, \letter, "\instruction", "\before", "\after"
.endm

.macro insn case, letter, instruction, before, after
	insn_as SAFETY_STEPPED, \case, \letter, "\instruction", "\before", "\after"
	insn_as SAFETY_BOOSTED, \case, \letter, "\instruction", "\before", "\after"
	insn_as SAFETY_OPTIMIZED, \case, \letter, "\instruction", "\before", "\after"
.endm

/* For instructions that are never boosted: the kernel emulates them. */
.macro emulated case, instruction, before
	insn_as SAFETY_STEPPED, \case, B, "\instruction", "\before"
	insn_as SAFETY_OPTIMIZED, \case, B, "\instruction", "\before"
.endm

/* The three kinds by themselves, on instructions that do little. */
	insn_as SAFETY_STEPPED, stepped, B, "nop"
	insn_as SAFETY_STEPPED, stepped, B, "movl $1, %eax"
	insn_as SAFETY_STEPPED, stepped, B, "nop_of 13"
	insn_as SAFETY_BOOSTED, boosted, B, "nop"
	insn_as SAFETY_BOOSTED, boosted, B, "movl $1, %eax"
	insn_as SAFETY_BOOSTED, boosted, B, "nop_of 11"
	insn_as SAFETY_OPTIMIZED, detour, J, "nop"
	insn_as SAFETY_OPTIMIZED, detour, J, "movl $1, %eax"
	insn_as SAFETY_OPTIMIZED, detour, J, "nop_of 13"

.irp condition, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	emulated jcc_short, "jcc_short \condition, 1f"
.endr

.irp condition, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	emulated jcc_near, "jcc_near \condition, 1f"
.endr

	emulated loop, "loopne 1f"
	emulated loop, "loope 1f"
	emulated loop, "loop 1f"

/* JCXZ as wide as an address, and half as wide. */
.macro half_jcxz to
	.byte 0x67
	short_jump 0xe3, \to
.endm

	emulated jcxz, "short_jump 0xe3, 1f"
	emulated jcxz, "half_jcxz 1f"

.macro take_address symbol
#ifdef CONFIG_X86_64
	leaq \symbol(%rip), %rax
#else
	movl $\symbol, %eax
#endif
.endm

	emulated jump, "jmp_short 1f"
	emulated jump, "jmp_near 1f"
	insn jump, B, S(jmp *%AX), "take_address 1f"

	emulated call_emulated, "call farm_safety_called"
	emulated call_emulated, S(call *%AX), "take_address farm_safety_called"

	insn return, J, "ret"
	insn return_immediate, J, "ret $16"

	insn stack, J, S(push %BX), "", S(pop %AX)
	insn stack, J, S(pop %AX), S(push %BX)
	insn stack, J, "push $0x7a", "", S(pop %AX)
	insn stack, J, "push $0x12345678", "", S(pop %AX)
	insn stack, B, S(push (%SI)), "", S(pop %AX)
	insn stack, J, S(pop (%SI)), S(push %BX)
	insn stack, J, S(mov (%SP), %AX), S(push %BX), S(pop %CX)
	insn stack, J, S(mov %BX, (%SP)), S(push %AX), S(pop %CX)

	insn flags, J, "pushf", "", S(pop %AX)
	insn flags, J, "popf", "push $0x246"
	insn flags, J, "popf", "push $0x8d7"
	insn flags, J, "clc"
	insn flags, J, "stc"
	insn flags, J, "cmc"
	insn flags, J, "lahf"
	insn flags, J, "sahf"
	insn flags, J, "cli"
	insn flags, J, "sti"
	insn flags, J, "cld"

	insn arithmetic, J, S(add %BX, %AX)
	insn arithmetic, J, S(adc %BX, %AX)
	insn arithmetic, J, S(sub %BX, %AX)
	insn arithmetic, J, S(sbb %BX, %AX)
	insn arithmetic, J, "adcl $0x12345678, %eax"
	insn arithmetic, J, "cmpb %bl, %al"
	insn arithmetic, J, S(test %BX, %AX)
	insn arithmetic, J, S(xor %BX, %AX)
	insn arithmetic, J, S(inc %AX)
	insn arithmetic, J, S(dec %AX)
	insn arithmetic, J, S(neg %AX)
	insn arithmetic, J, S(not %AX)
	insn arithmetic, J, S(mul %BX)
	insn arithmetic, J, S(imul %BX, %AX)
	insn arithmetic, J, S(rcl $1, %AX)
	insn arithmetic, J, S(rcr $3, %AX)
	insn arithmetic, J, S(sar %cl, %AX)
	insn arithmetic, J, S(shld $5, %BX, %AX)
	insn arithmetic, J, S(bsf %BX, %AX)
	insn arithmetic, B, S(bt $7, %BX)
	insn arithmetic, J, S(bswap %AX)
	insn arithmetic, J, "setg %al"
	insn arithmetic, J, S(cmovle %BX, %AX)
	insn arithmetic, J, S(xadd %BX, %AX)
	insn arithmetic, J, S(cmpxchg %BX, %DX)
	insn arithmetic, J, "movzbl %bl, %eax"
	insn arithmetic, J, "cltd"

	insn memory, J, S(lea 0x11(%SI, %BX, 4), %AX)
	insn memory, J, S(mov 8(%SI), %AX)
	insn memory, J, S(mov %BX, 8(%SI))
	insn memory, J, S(movl $0x12345678, 12(%SI))
	insn memory, J, S(adc %BX, 8(%SI))
	insn memory, J, S(xchg %BX, 8(%SI))
	insn memory, J, S(lock xadd %BX, 8(%SI))
	insn memory, J, "movl farm_call_scratch, %eax"
	insn memory, J, "movl $0x12345678, farm_call_scratch"
	insn memory, J, "lodsb"
	insn memory, J, "stosl"
	insn memory, J, "movsb"
	insn memory, J, "rep movsb", "movl $9, %ecx"
	insn memory, J, "repne scasb", "movl $9, %ecx"
#ifdef CONFIG_X86_64
	insn memory, J, "leaq farm_call_scratch(%rip), %rax"
	insn memory, J, "movl farm_call_scratch(%rip), %eax"
	insn memory, J, "adcl $0x12345678, farm_call_scratch(%rip)"
	insn memory, J, "cmpb $0x12, farm_call_scratch(%rip)"
#endif

/* There is nothing at the last addresses. */
.macro faulting
3:	movl (%AX), %ecx
	_ASM_EXTABLE(3b, 1f)
.endm

	insn fault, B, "faulting", S(mov $-64, %AX)

	table farm_safety_insns_end

/* For the scenario `longest`: after the copy of the instruction there has to be room for int3. */
	table farm_safety_longest

	insn_as SAFETY_STEPPED, fourteen_bytes, B, "nop_of 14"
	insn_as SAFETY_STEPPED, fifteen_bytes, E, "nop_of 15"

	table farm_safety_longest_end

	.section .note.GNU-stack, "", @progbits
