/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest virtual machine: one vCPU in real mode, which reads a byte of the one page that is given to it, writes the byte to
 * a port and halts. What cannot be done ends the program, which prints "tiny-vm failed:CALL:ERRNO".
 */
#ifndef TINY_VM_H
#define TINY_VM_H

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define TINY_VM_PAGE 4096
#define TINY_VM_CODE 0x1000 /* of the guest, as all that follow */
#define TINY_VM_DATA 0x2000
#define TINY_VM_PORT 16

struct tiny_vm {
	int vcpu;
	const struct kvm_run *run;
};

static long tiny_vm_checked(const char *call, long result)
{
	if (result < 0) {
		printf("tiny-vm failed:%s:%d\n", call, errno);
		exit(1);
	}
	return result;
}

static void *tiny_vm_mapped(const char *what, int fd, size_t length)
{
	void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	tiny_vm_checked(what, memory == MAP_FAILED ? -1 : 0);
	return memory;
}

static void tiny_vm_give(int vm, unsigned int slot, uint64_t address, void *page)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = address,
		.memory_size = TINY_VM_PAGE,
		.userspace_addr = (uintptr_t)page,
	};

	tiny_vm_checked("memory-region", ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
}

/* @page: an address in this process, a multiple of TINY_VM_PAGE. */
static struct tiny_vm tiny_vm_new(void *page)
{
	/* mov (%bx), %al; out %al, $16; hlt */
	static const unsigned char code[] = { 0x8a, 0x07, 0xe6, TINY_VM_PORT, 0xf4 };
	int kvm = (int)tiny_vm_checked("open", open("/dev/kvm", O_RDWR | O_CLOEXEC));
	int vm = (int)tiny_vm_checked("create-vm", ioctl(kvm, KVM_CREATE_VM, 0));
	void *text = tiny_vm_mapped("memory", -1, TINY_VM_PAGE);
	struct tiny_vm made;

	memcpy(text, code, sizeof(code));
	tiny_vm_give(vm, 0, TINY_VM_CODE, text);
	tiny_vm_give(vm, 1, TINY_VM_DATA, page);
	made.vcpu = (int)tiny_vm_checked("create-vcpu", ioctl(vm, KVM_CREATE_VCPU, 0));
	made.run = tiny_vm_mapped("run", made.vcpu,
	                          (size_t)tiny_vm_checked("mmap-size", ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0)));
	return made;
}

/* The byte at @offset of the page. A negative errno of KVM_RUN, or -ENOEXEC if the guest ended otherwise than by its port. */
static int tiny_vm_read(const struct tiny_vm *vm, unsigned int offset)
{
	struct kvm_regs registers = { .rip = TINY_VM_CODE, .rbx = TINY_VM_DATA + offset, .rflags = 2 };
	struct kvm_sregs special;

	tiny_vm_checked("get-sregs", ioctl(vm->vcpu, KVM_GET_SREGS, &special));
	special.cs.base = 0;
	special.cs.selector = 0;
	tiny_vm_checked("set-sregs", ioctl(vm->vcpu, KVM_SET_SREGS, &special));
	tiny_vm_checked("set-regs", ioctl(vm->vcpu, KVM_SET_REGS, &registers));
	if (ioctl(vm->vcpu, KVM_RUN, 0) < 0)
		return -errno;
	if (vm->run->exit_reason != KVM_EXIT_IO || vm->run->io.port != TINY_VM_PORT)
		return -ENOEXEC;
	return *((const unsigned char *)vm->run + vm->run->io.data_offset);
}

#endif
