# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line for one VM."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from .kernel import Kernel
from .layout import GIB, Layout, Node

# Slower to emulate: five-level page tables, and string instructions that go byte by byte.
CPU = "max,la57=off,erms=off,fsrm=off"
# QEMU before 8.0 leaves wrong bits in the flags after CMPXCHG16B, which the kernel uses when it allocates. An interrupt that
# comes then saves and restores them, and the kernel panics: with a debug exception if the trap flag is among them.
WITHOUT_CMPXCHG16B = "cx16=off"

# Channels between QEMU and the laboratory, each a socket. The first is the kernel's console.
CHANNELS = ("console", "output", "result", "qmp")

DEFAULT_NODES = (Node(4 * GIB, 2 * GIB), Node(4 * GIB, 2 * GIB))

KERNEL_ARGUMENTS = (
    "console=ttyS0", "sysrq_always_enabled=1", "printk.devkmsg=on",
    # Whatever the kernel complains about ends the VM, so that it cannot be overlooked.
    "oops=panic", "panic_on_warn=1", "panic=-1", "unknown_nmi_panic",
    # An emulated CPU is slow, and may stand still while the host has other work.
    "no_timer_check", "mitigations=off", "nokaslr", "nowatchdog", "hung_task_panic=0", "clocksource.verify_n_cpus=0",
    "tsc=reliable", "random.trust_cpu=on", "rcupdate.rcu_expedited=1")


# QEMU's device, and the kernel's arguments. VFIO puts devices behind it in their own address space; DMA of all others goes through it
# as well.
IOMMUS = {"amd": ("amd-iommu,intremap=off", ("amd_iommu=on", "iommu=nopt")),
          "intel": ("intel-iommu,intremap=off,aw-bits=48", ("intel_iommu=on", "iommu=nopt"))}


@dataclass(frozen=True)
class Machine:
    """What to boot, and on what."""

    kernel: Kernel
    layout: Layout = Layout(DEFAULT_NODES)
    cpus: int = 2
    icount: bool = False # the VM's clock counts instructions: one CPU, and figures that repeat
    disks: tuple = ()  # raw images; they appear as /dev/vda, vdb, ...
    arguments: tuple = ()  # more for the kernel's command line
    features: tuple = ()  # more for the CPU's properties
    from_disk: bool = False  # the boot loader on the first disk starts the kernel, and knows its command line
    iommu: str | None = None  # one of IOMMUS
    devices: tuple = ()  # QEMU's -device
    nvmes: tuple = ()  # raw images of NVMe disks
    environment: dict = field(default_factory=lambda: os.environ)

    def _accelerator(self):
        default = "tcg,thread=single" if self.icount else "tcg,thread=multi"
        return self.environment.get("DMEMFS_QEMU_ACCEL", default)

    def _cpu(self):
        # Since Linux 6.13, the driver of AMD's IOMMU does not work without it.
        needed = self.iommu == "amd" and self.kernel.version >= (6, 13)
        return ",".join((CPU, *(() if needed else (WITHOUT_CMPXCHG16B,)), *self.features))

    def qemu(self, initramfs, sockets, interactive):
        """
        The command. @sockets: a directory with one listening socket per channel, named like it. @interactive: the
        console is the terminal instead.
        """
        command = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35,max-ram-below-4g=2G", "-accel", self._accelerator(),
            "-cpu", self._cpu(),
            *self.layout.qemu_arguments(self.cpus),
            "-virtfs", "local,path=/,mount_tag=host,security_model=passthrough,readonly=on,multidevs=remap",
            "-device", "virtio-rng-pci"]
        if not self.from_disk:
            command += self._direct_boot(initramfs, interactive)
        if self.icount:
            command += ["-icount", "shift=0,sleep=off"]
        if self.iommu:
            command += ["-device", IOMMUS[self.iommu][0]]
        for device in self.devices:
            command += ["-device", device]
        for number, disk in enumerate(self.disks):
            command += ["-drive", f"if=virtio,format=raw,index={number},file={Path(disk).resolve()}"]
        for number, disk in enumerate(self.nvmes):
            command += ["-drive", f"if=none,format=raw,snapshot=on,id=nvme{number},file={Path(disk).resolve()}",
                        "-device", f"nvme,drive=nvme{number},serial={number}"]
        return command + _channels(sockets, interactive)

    def _direct_boot(self, initramfs, interactive):
        verbosity = "quiet" if interactive else "ignore_loglevel"
        arguments = (verbosity, *KERNEL_ARGUMENTS, *self.layout.kernel_arguments(),
                     *(IOMMUS[self.iommu][1] if self.iommu else ()), *self.arguments)
        return ["-kernel", str(self.kernel.image), "-initrd", str(initramfs), "-append", " ".join(arguments)]


def _channels(sockets, interactive):
    arguments = ["-device", "virtio-serial-pci"]
    for name in CHANNELS:
        if name == "console" and interactive:
            arguments += ["-chardev", "stdio,id=console,mux=on,signal=off", "-mon", "console"]
        else:
            arguments += ["-chardev", f"socket,id={name},path={sockets}/{name}"]
    return arguments + [
        "-serial", "chardev:console", "-mon", "chardev=qmp,mode=control",
        "-device", "virtserialport,chardev=output,name=output",
        "-device", "virtserialport,chardev=result,name=result"]
