// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs a virtual machine inside the guest. It has one vCPU in real mode, which writes a number to a port and halts. Prints
 * "minivm NUMBER", or "minivm failed:CALL:ERRNO".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define CODE   0x1000
#define MEMORY 0x3000

/* mov $42, %al; out %al, $16; hlt */
static const unsigned char code[] = { 0xb0, 42, 0xe6, 16, 0xf4 };

static long checked(const char *call, long result)
{
	if (result < 0) {
		printf("minivm failed:%s:%d\n", call, errno);
		exit(1);
	}
	return result;
}

static void *mapped(const char *what, int fd, size_t length)
{
	void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	checked(what, memory == MAP_FAILED ? -1 : 0);
	return memory;
}

static void set_registers(int vcpu)
{
	struct kvm_regs registers = { .rip = CODE, .rflags = 2 };
	struct kvm_sregs special;

	checked("get-sregs", ioctl(vcpu, KVM_GET_SREGS, &special));
	special.cs.base = 0;
	special.cs.selector = 0;
	checked("set-sregs", ioctl(vcpu, KVM_SET_SREGS, &special));
	checked("set-regs", ioctl(vcpu, KVM_SET_REGS, &registers));
}

int main(void)
{
	int kvm = (int)checked("open", open("/dev/kvm", O_RDWR | O_CLOEXEC));
	int vm = (int)checked("create-vm", ioctl(kvm, KVM_CREATE_VM, 0));
	unsigned char *memory = mapped("memory", -1, MEMORY);
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY, .userspace_addr = (uintptr_t)memory };

	memcpy(memory + CODE, code, sizeof(code));
	checked("memory-region", ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));

	int vcpu = (int)checked("create-vcpu", ioctl(vm, KVM_CREATE_VCPU, 0));
	const struct kvm_run *run =
		mapped("run", vcpu, (size_t)checked("mmap-size", ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0)));

	set_registers(vcpu);
	checked("run", ioctl(vcpu, KVM_RUN, 0));
	if (run->exit_reason == KVM_EXIT_IO)
		printf("minivm %d\n", *((const unsigned char *)run + run->io.data_offset));
	else
		printf("minivm failed:exit:%u\n", run->exit_reason);
	return 0;
}
