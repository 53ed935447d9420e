/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One function, or a few, for each rule of the check whether a jump may be put over the bytes at
 * a probe. See safety_asm.h for the letters.
 */
#include <asm/alternative.h>
#include <asm/cpufeatures.h>

#include "safety_asm.h"

/* Before v6.5 the check itself knew the thunks; from then on a kernel with them trusts them. */
#if defined(CONFIG_MITIGATION_RETPOLINE) || defined(CONFIG_X86_KERNEL_IBT) ||	\
	(defined(CONFIG_RETPOLINE) && LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0))
#define INDIRECT	J
#else
#define INDIRECT	B
#endif

/* v6.2: int3 after a return is padding; before, somebody's breakpoint, and no jump is near it. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#define PADDED		J
#define PADDED_COLD	j
#else
#define PADDED		B
#define PADDED_COLD	b
#endif

/* v6.9: INT n and UD are not to be probed. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#define EXCEPTION	R
#else
#define EXCEPTION	e
#endif

/* Where the kernel uses ENDBR, a probe on a function's entry goes behind it. */
#ifdef CONFIG_X86_KERNEL_IBT
#define ENTRY_MARK	J
#else
#define ENTRY_MARK	B
#endif

	.text

	.balign 64, 0xcc
	.type farm_safety_leaf, @function
farm_safety_leaf:
	lea 3(%BX), %BX
	ret
	.size farm_safety_leaf, . - farm_safety_leaf
	int3

	table farm_safety_rules

/* So that what comes next belongs to another function. */
.macro next_function
	.type farm_next_\@, @function
farm_next_\@:
	.rept 8
	nop
	.endr
	ret
.endm

.macro prefix prefix, instruction:vararg
	.byte \prefix
	\instruction
.endm

/* The end of a function that a jump would just fit into. */
.macro five_left
	at J, nop
	at B, nop
	at B, nop
	at B, nop
	at B, ret
	next_function
.endm

.macro mov_left
	at J, nop
	at J, movl $1, %eax
	next_function
.endm

.macro few_left size
	at B, nop_of \size
	at B, ret
	next_function
.endm

	rule boundary, five_left
	rule boundary, mov_left
	rule boundary, few_left, 3
	rule boundary, few_left, 2

/* Six NOPs, and a jump from before to behind the last of them. */
.macro forward jump:vararg
	at B, jmp_short 2f
	at b, \jump 1f
2:	at J, nop
	at E, nop		/* to the first byte behind a jump here: harmless */
	at B, nop
	at B, nop
	at B, nop
	at B, nop
1:	at J, nop
	at J, nop
	at B, nop
	at B, nop
	at B, nop
	at B, ret
.endm

/* The same from after them. */
.macro backward jump:vararg
	at J, nop
	at E, nop
	at B, nop
	at B, nop
	at B, nop
	at B, nop
1:	at J, nop
	at J, nop
	at B, nop
	at B, nop
	at B, nop
	at B, ret
	at b, \jump 1b
.endm

/* Into the middle of an instruction: nobody does, and still it is a jump into the bytes. */
.macro middle jump:vararg
1:	at B, movl $1, %eax
	at J, movl $1, %eax
	at B, ret
	at b, \jump 1b+2
.endm

.irp rule, forward, backward, middle
	rule jump_into_\rule, \rule, jmp_short
	rule jump_into_\rule, \rule, jmp_near
	rule jump_into_\rule, \rule, jcc_short 0x4
	rule jump_into_\rule, \rule, jcc_near 0xf
	rule jump_into_\rule, \rule, short_jump 0xe2	/* LOOP */
	rule jump_into_\rule, \rule, short_jump 0xe3	/* JCXZ */
.endr

/* An indirect jump may go anywhere in the function, unless the kernel is built without any. */
.macro indirect letter, jump:vararg
	at INDIRECT, nop
	at INDIRECT, nop
	at B, nop
	at B, nop
	at B, nop
	at B, ret
	at b, prefix 0x2e, nop	/* forbids a jump before that would reach the next line */
	at \letter, \jump
.endm

.macro indirect_jump operand
	jmp *\operand
.endm

	rule indirect_jump, indirect, b, indirect_jump %AX
	rule indirect_jump, indirect, e, indirect_jump (%AX)

#if defined(CONFIG_X86_64) && (defined(CONFIG_RETPOLINE) || defined(CONFIG_MITIGATION_RETPOLINE))
#define THUNK_KNOWN
	rule retpoline, indirect, b, jmp_near __x86_indirect_thunk_rax
#endif

/* What faults here goes on elsewhere, and that may be anywhere in the function. */
.macro faults_after
	at B, nop
	at B, nop
	at B, nop
	at B, nop
	at B, nop
	at B, ret
3:	at b, nop
	_ASM_EXTABLE(3b, 3b)
.endm

.macro faults_within
	at B, nop
	at B, nop
3:	at B, nop
	at B, nop
	at B, nop
	at B, ret
	_ASM_EXTABLE(3b, 3b)
.endm

	rule exception_table, faults_after
	rule exception_table, faults_within

/* A call leaves an address in the bytes on the stack. */
.macro calls operand
	at J, nop
	at B, nop
	at B, nop
	at B, nop
	at B, nop
	at B, call \operand
	at J, nop
	at J, nop
	at B, nop
	at B, nop
	at B, nop
	at B, ret
.endm

	rule call, calls, farm_safety_leaf

#ifdef CONFIG_X86_64
/* The displacement holds only at its place; an immediate may follow it. */
.macro relative
	at J, movl farm_call_scratch(%rip), %eax
	at J, leaq farm_call_scratch + 8(%rip), %rdx
	at J, cmpl $0x12345678, farm_call_scratch + 4(%rip)
	at J, addl $0x7f, farm_call_scratch + 12(%rip)
	at J, nop
	at J, movq farm_call_scratch + 16(%rip), %rcx
	at B, ret
.endm

	rule rip_relative, relative
#endif

.macro of_length length
	at J, nop_of \length
	at J, nop
	at -, nop
	at -, nop
	at -, nop
	at -, ret
.endm

/* The longest that the bytes can be: four, and a whole instruction. */
.macro longest
	at J, nop
	at J, nop
	at J, nop
	at J, nop
	at -, nop_of 15
	at B, ret
.endm

/* Probes on the longest instructions are a scenario of their own, `longest`. */
.irp length, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
	rule length, of_length, \length
.endr
	rule length, longest

.macro prefixed letter, prefix, instruction:vararg
	at J, movl $2, %ecx
	at \letter, prefix \prefix, \instruction
	at J, nop
	at B, nop
	at B, nop
	at B, nop
	at B, ret
.endm

	rule prefix, prefixed, J, 0x26, movl $1, %eax	/* ES */
	rule prefix, prefixed, B, 0x2e, movl $1, %eax	/* CS */
	rule prefix, prefixed, J, 0x36, movl $1, %eax	/* SS */
	rule prefix, prefixed, J, 0x3e, movl $1, %eax	/* DS */
	rule prefix, prefixed, J, 0x64, movl $1, %eax	/* FS */
	rule prefix, prefixed, J, 0x65, movl $1, %eax	/* GS */
	rule prefix, prefixed, J, 0x66, .byte 0xb8, 0x01, 0x00	/* operand size: the immediate is shorter */
	rule prefix, prefixed, B, 0x67, movl $1, %eax	/* address size */
	rule prefix, prefixed, J, 0xf0, addl $1, farm_call_scratch
	rule prefix, prefixed, J, 0xf3, nop		/* PAUSE */

/* Straight-line speculation stops there; code may follow. */
.macro padding
	at PADDED, nop
	at PADDED, nop
	at B, nop
	at B, nop
	at B, nop
	at B, ret
	at R, int3
	at R, int3
	at PADDED_COLD, nop
	at PADDED_COLD, nop
	at b, nop
	at b, nop
	at b, nop
	at b, ret
.endm

	rule int3_padding, padding

.macro entry_mark
#ifdef CONFIG_X86_64
	.byte 0xf3, 0x0f, 0x1e, 0xfa
#else
	.byte 0xf3, 0x0f, 0x1e, 0xfb
#endif
.endm

.macro marked_entry
	at ENTRY_MARK, entry_mark
	at J, nop
	at J, nop
	at B, nop
	at B, nop
	at B, nop
	at B, ret
.endm

	rule endbr, marked_entry

/* One that the kernel replaced when it loaded the module, by another of 5 bytes. */
.macro replaced letter, old, new
	ALTERNATIVE "\old", "\new", X86_FEATURE_ALWAYS
	letters \letter, 5
.endm

.macro alternatives
	replaced J, "movl $1, %eax", "movl $2, %eax"
	replaced J, "nop; nop; nop; nop; nop", ""
	at J, movl $3, %edx
	at B, ret
.endm

.macro locked
	LOCK_PREFIX
	addl $1, AT(farm_call_scratch)
.endm

/* A kernel on one CPU takes the prefix off, and puts it back when another CPU comes. */
.macro lock_site
	at E, locked
	at J, movl $3, %edx
	at B, ret
.endm

	rule alternative, alternatives
	rule alternative, lock_site

#ifdef CONFIG_HAVE_STATIC_CALL_INLINE
/* A call of nothing: the kernel writes another call there, or 5 bytes of NOP. */
.macro static_call_site
	at J, nop
	at B, nop
	at B, nop
	at B, nop
	at B, nop
4:	at R, nop_of 5
	at J, nop
	at J, nop
	at B, nop
	at B, nop
	at B, nop
	at B, ret
	.pushsection .static_call_sites, "aw"
	.long 4b - .
	.long __SCK__farm_safety_call - .
	.popsection
.endm

	rule static_call, static_call_site
#endif

#if defined(CONFIG_JUMP_LABEL) && LINUX_VERSION_CODE >= KERNEL_VERSION(5, 0, 0)
/* The kernel writes a jump there, or takes it away. */
.macro jump_label_site
	at J, nop
	at B, nop
	at B, nop
	at B, nop
	at B, nop
4:	at R, nop_of 5
5:	at J, nop
	at J, nop
	at B, nop
	at B, nop
	at B, nop
	at B, ret
	.pushsection __jump_table, "aw"
	.balign WORD
	.long 4b - .
	.long 5b - .
	_ASM_PTR farm_safety_key - .
	.popsection
.endm

	rule jump_label, jump_label_site
#endif

/* Another probe stands at the third byte. */
.macro probed
	at B, nop
	at B, nop
	at J, nop
	at J, nop
	at J, nop
	at J, nop
	at B, nop
	at B, nop
	at B, nop
	at B, ret
.endm

	.set neighbour, 2
	rule neighbour, probed
	.set neighbour, 0

/* What can't be executed at another place. */
.macro refused
	at J, nop
	at J, nop
	at B, nop
	at B, nop
	at B, nop
	at B, ret
	at EXCEPTION, ud2
	at EXCEPTION, int $0x80
	at R, movl %eax, %ss
	at R, int3
.endm

	rule refused, refused

	table farm_safety_rules_end

	.section .note.GNU-stack, "", @progbits
