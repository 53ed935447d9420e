/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that ends before there is an init: entered by PVH in 32-bit mode, as QEMU enters a
 * vmlinux. It says what TEXT is on the serial line and then does what ENDING is.
 */
	.section .note.pvh, "a", @note
	.align 4
	.long 4, 4, 18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long start

	.text
	.globl start
start:
	cli
	mov $text, %esi
	mov $0x3f8, %dx
1:	lodsb
	test %al, %al
	jz 2f
	outb %al, %dx
	jmp 1b
2:	ENDING
3:	hlt
	jmp 3b

nothing:
	.word 0
	.long 0
text:
	.asciz TEXT
