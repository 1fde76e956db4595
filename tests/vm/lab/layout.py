# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the VM's memory lies: NUMA nodes, and the range of each that the guest's kernel must leave alone."""

import re
from dataclasses import dataclass

GIB = 1 << 30
# Of a q35 machine: this much RAM lies below 4 GiB, the rest continues at 4 GiB.
LOW = 2 * GIB
HIGH_START = 4 * GIB
# More than machines have on which the laboratory runs: of such a node a VM must touch little.
LARGE = 256 * GIB
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": GIB}


def parse_size(text):
    """Bytes of "512M", "4G" or "0"."""
    match = re.fullmatch(r"(\d+)([KMG]?)", text)
    if not match:
        raise ValueError(f"{text!r} is not a size: write it as 512M or 4G")
    return int(match[1]) * _UNITS.get(match[2], 1)


@dataclass(frozen=True)
class Node:
    """A NUMA node: its memory, and how much of its end is reserved; bytes."""

    size: int
    reserved: int = 0

    @classmethod
    def parse(cls, text):
        """"4G:2G": 4 GiB, the last two reserved. "4G": nothing reserved."""
        size, _, reserved = text.partition(":")
        node = cls(parse_size(size), parse_size(reserved or "0"))
        if not 0 <= node.reserved < node.size:
            raise ValueError(f"{text!r}: a node cannot reserve all its memory")
        return node


class Layout:
    """The memory of one machine."""

    def __init__(self, nodes):
        self.nodes = tuple(nodes)
        self.size = sum(node.size for node in self.nodes)
        if self.nodes[0].size - self.nodes[0].reserved < min(LOW, self.size):
            raise ValueError("the first node must keep 2 GiB: they lie below 4 GiB, where nothing can be reserved")

    def reserved(self):
        """(start, size) of the reserved range of each node that has one."""
        end = 0  # counted in RAM, without the hole below 4 GiB
        for node in self.nodes:
            end += node.size
            if node.reserved:
                yield end - node.reserved - LOW + HIGH_START, node.reserved

    def kernel_arguments(self):
        return [f"memmap={size}${start:#x}" for start, size in self.reserved()]

    def qemu_arguments(self, cpus):
        """One socket a node, as far as @cpus go: the kernel warns of a socket that spans nodes."""
        sockets = min(cpus, len(self.nodes))
        if cpus % sockets:
            raise ValueError(f"{cpus} CPUs cannot be shared out evenly among {sockets} nodes")
        per_node = cpus // sockets
        arguments = ["-smp", f"{cpus},sockets={sockets}", "-m", f"{self.size >> 20}M"]
        for number, node in enumerate(self.nodes):
            own = f",cpus={number * per_node}-{(number + 1) * per_node - 1}" if number < sockets else ""
            reserve = "off" if node.size > LARGE else "on"
            arguments += ["-object", f"memory-backend-ram,id=node{number},size={node.size},reserve={reserve}",
                          "-numa", f"node,nodeid={number},memdev=node{number}{own}"]
        return arguments
