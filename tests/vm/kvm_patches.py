# SPDX-License-Identifier: GPL-2.0-or-later
"""
A VM's kernel patches its scheduler when the first KVM guest starts and when the last one ends, and KVM's interrupt delivery
when a guest switches its first APIC on. QEMU before 8.1 may run code that it translated half-way through that: the VM's
kernel then ends with "Oops: int3".
"""

import fcntl
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

KVM_CREATE_VM = 0xAE01
KVM_CREATE_VCPU = 0xAE41
KVM_CREATE_IRQCHIP = 0xAE60


@contextmanager
def one_cpu():
    """The other CPUs are off: none can run code that the kernel patches meanwhile."""
    others = [path for path in Path("/sys/devices/system/cpu").glob("cpu*/online") if path.read_text() == "1\n"]
    for path in others:
        path.write_text("0")
    try:
        yield
    finally:
        for path in others:
            path.write_text("1")


@contextmanager
def kvm_patched():
    """
    The kernel is patched for KVM, and stays so: a KVM guest of its own is there, with a vCPU whose local APIC is switched
    off. FileNotFoundError: this CPU has no SVM; -cpu max has it, with nested paging, emulated or not.
    """
    descriptors = []
    with one_cpu():
        subprocess.run(["modprobe", "kvm-amd"], check=True)
        device = os.open("/dev/kvm", os.O_RDWR)
        machine = fcntl.ioctl(device, KVM_CREATE_VM, 0)
        fcntl.ioctl(machine, KVM_CREATE_IRQCHIP)
        descriptors += [fcntl.ioctl(machine, KVM_CREATE_VCPU, 0), machine, device]
    try:
        yield
    finally:
        with one_cpu():
            for descriptor in descriptors:
                os.close(descriptor)
