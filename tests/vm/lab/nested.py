# SPDX-License-Identifier: GPL-2.0-or-later
"""The initramfs of the guest inside the VM. It is made on the host, because compiling in the VM is slow."""

import shutil
from pathlib import Path

from programs import compile_program

from .initramfs import Archive, dependencies, read_module

TESTS = Path(__file__).parents[2]
MODULES = {"modules": ("virtio_pci", "virtio_balloon", "virtio_mem", "virtio_blk"), "kvm-modules": ("kvm_amd",),
           "nvme-modules": ("nvme",)}  # by directory
SCRIPTS = ("counter", "breather", "plugger", "reader", "dma", "nvme")
PROGRAMS = (TESTS / "quickstart" / "token.c", TESTS / "vm" / "nested" / "pattern.c", TESTS / "vm" / "nested" / "minivm.c",
            TESTS / "bench" / "memory_bound.c")


def build(kernel, directory):
    """The path of the initramfs for a guest that runs @kernel, made in @directory."""
    directory.mkdir(parents=True, exist_ok=True)
    archive = Archive()
    archive.add_file("bin/busybox", Path(shutil.which("busybox")).read_bytes(), 0o755)
    archive.add_file("init", (TESTS / "vm" / "nested" / "init").read_bytes(), 0o755)
    for script in SCRIPTS:
        archive.add_file(f"bin/{script}", (TESTS / "vm" / "nested" / script).read_bytes(), 0o755)
    for place, wanted in MODULES.items():
        for number, module in enumerate(dependencies(kernel, wanted)):
            archive.add_file(f"{place}/{number:02}-{module.name.partition('.')[0]}.ko", read_module(module))
    for source in PROGRAMS:
        program = compile_program(directory, source, "-static", "-O2")
        archive.add_file(f"bin/{program.name}", program.read_bytes(), 0o755)
    path = directory / "initramfs"
    path.write_bytes(archive.close())
    return path
