# SPDX-License-Identifier: GPL-2.0-or-later
"""Imaginary machines: a directory with files as in /proc and /sys, for dmemfsctl --root."""

import struct
from pathlib import Path

GIB = 1 << 30
BLOCK = 128 << 20


class Machine:
    """@directory: the root of its files. It is empty until methods add to it."""

    def __init__(self, directory):
        self.root = Path(directory)
        self.write("proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet\n")
        self.write("sys/devices/system/memory/block_size_bytes", f"{BLOCK:x}\n")

    def write(self, path, text):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def iomem(self, *ranges):
        """(start, end, name), the end excluded."""
        lines = [f"{start:08x}-{end - 1:08x} : {name}\n" for start, end, name in ranges]
        self.write("proc/iomem", "".join(lines))

    def node(self, number, *ranges):
        """(start, end) of the memory blocks that the kernel shows for the node."""
        directory = self.root / f"sys/devices/system/node/node{number}"
        directory.mkdir(parents=True)
        for start, end in ranges:
            for block in range(start // BLOCK, end // BLOCK):
                (directory / f"memory{block}").symlink_to(f"../../memory/memory{block}")

    def firmware(self, *ranges):
        """(start, end, type) of each range in the memory map of the firmware."""
        for number, (start, end, kind) in enumerate(ranges):
            for name, text in (("start", f"{start:#x}"), ("end", f"{end - 1:#x}"), ("type", kind)):
                self.write(f"sys/firmware/memmap/{number}/{name}", text + "\n")

    def srat(self, *ranges):
        """(proximity domain, start, end) of the firmware's table of NUMA memory."""
        entries = [struct.pack("<BBIHQQIIQ", 1, 40, domain, 0, start, end - start, 0, 1, 0) for domain, start, end in ranges]
        path = self.write("sys/firmware/acpi/tables/SRAT", "")
        path.write_bytes(bytes(48) + b"".join(entries))


def two_nodes(directory):
    """A machine of 64 GiB on two nodes, with the holes between them."""
    machine = Machine(directory)
    machine.iomem((0x1000, 0x9f000, "System RAM"), (0x100000, 3 * GIB, "System RAM"), (3 * GIB, 4 * GIB, "PCI Bus 0000:00"),
                  (4 * GIB, 33 * GIB, "System RAM"), (33 * GIB, 65 * GIB, "System RAM"),
                  (256 * GIB, 512 * GIB, "PCI Bus 0000:80"))
    machine.node(0, (0, 3 * GIB), (4 * GIB, 33 * GIB))
    machine.node(1, (33 * GIB, 65 * GIB))
    return machine
