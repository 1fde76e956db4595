// SPDX-License-Identifier: GPL-2.0-or-later
/* A guest of one vCPU whose RAM is a mapping of FILE, and whose code is there at address 0: runs until it halts. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define RAM 0x10000UL

static int check(int result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "vcpu: %s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}

int main(int argc, char **argv)
{
	struct kvm_userspace_memory_region ram = { .memory_size = RAM };
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs sregs;
	struct kvm_run *run;
	int file, kvm, vm, vcpu;
	void *map;

	if (argc != 2) {
		fprintf(stderr, "usage: vcpu FILE\n");
		return 2;
	}
	file = check(open(argv[1], O_RDWR | O_CLOEXEC), argv[1]);
	map = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	check(map == MAP_FAILED ? -1 : 0, "mmap");
	ram.userspace_addr = (unsigned long)map;
	kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &ram), "KVM_SET_USER_MEMORY_REGION");
	vcpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = mmap(NULL, (size_t)check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE"),
	           PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	check(run == MAP_FAILED ? -1 : 0, "mmap of the vCPU");
	check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	if (run->exit_reason != KVM_EXIT_HLT)
		fprintf(stderr, "vcpu: exit reason %u\n", run->exit_reason);
	return run->exit_reason != KVM_EXIT_HLT;
}
