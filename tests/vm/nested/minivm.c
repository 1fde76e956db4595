// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs a virtual machine inside the guest. Prints "minivm NUMBER", of which 42 is right. */
#include "tiny_vm.h"

int main(void)
{
	unsigned char *page = tiny_vm_mapped("page", -1, TINY_VM_PAGE);
	struct tiny_vm vm = tiny_vm_new(page);

	page[1] = 42;
	printf("minivm %d\n", tiny_vm_read(&vm, 1));
	return 0;
}
