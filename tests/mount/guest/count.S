/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All of a guest, in the first sector of its disk: counts in a word of its memory, at 0x8000, and prints each number to
 * the first serial port, 8 hexadecimal digits a line.
 */
	.code16
	.globl	_start
_start:
	xor	%ax, %ax
	mov	%ax, %ds
	mov	$0x3f8, %dx
	movl	$0, 0x8000
count:
	incl	0x8000
	mov	0x8000, %ebx
	mov	$8, %cx
digit:
	rol	$4, %ebx
	mov	%bl, %al
	and	$15, %al
	add	$'0', %al
	cmp	$'9', %al
	jbe	print
	add	$('a' - '9' - 1), %al
print:
	outb	%al, %dx
	loop	digit
	mov	$'\n', %al
	outb	%al, %dx
	mov	$0x100000, %ecx
pause:
	dec	%ecx
	jnz	pause
	jmp	count

	.org	510
	.word	0xaa55
