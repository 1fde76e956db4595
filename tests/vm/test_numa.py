# SPDX-License-Identifier: GPL-2.0-or-later
"""NUMA on a machine with nodes: on which node the memory of files lies, by the firmware's table (SRAT)."""

import ctypes
import os
import re
import struct
from pathlib import Path

import pytest

from helpers.children import Child
from helpers.quota import sized

pytestmark = pytest.mark.page_sizes("2M")

MIB = 1 << 20
PAGE = 4096
MOVE_PAGES = 279  # x86-64: <asm/unistd_64.h>
MPOL_MF_MOVE_ALL = 4  # <linux/mempolicy.h>
SHARE = 32 * MIB  # of each node


def memory_of_nodes():
    """[(range of physical addresses, node)]. ACPI 6.5, 5.2.16.2: Memory Affinity Structure."""
    table = Path("/sys/firmware/acpi/tables/SRAT").read_bytes()
    found, at = [], 48
    while at < len(table):
        kind, length = table[at], table[at + 1]
        if kind == 1:
            node, start, size, flags = struct.unpack_from("<IxxQQxxxxI", table, at + 2)
            if flags & 1:
                found.append((range(start, start + size), node))
        at += length
    return found


def nodes_of(fs, path):
    """The node of each unit in file order, by its physical address."""
    memory = memory_of_nodes()
    return [next(node for addresses, node in memory if at in addresses)
            for run in fs.extents(path) for at in range(run.start, run.start + run.length, fs.unit)]


@pytest.fixture
def both(fs, reserved):
    """A mount with a region on each of two nodes. The module reports the numbers of the nodes."""
    assert len(reserved) == 2
    fs.daemon.stop()
    text = re.sub(r"\[region test\]\n.*", "", fs.daemon.config.read_text(), flags=re.DOTALL)
    for number, (start, _) in enumerate(reserved):
        text += f"\n[region r{number}]\nstart={start:#x}\nsize={SHARE}\npages=none\n"
    fs.daemon.config.write_text(text)
    fs.daemon.start()
    return fs


def with_policy(fs, name, policy):
    directory = fs / name
    directory.mkdir()
    os.setxattr(directory, "dmemfs.node", policy.encode())
    return directory


def test_module_knows_the_nodes(both, reserved):
    lines = os.getxattr(both.root, "dmemfs.regions").decode().splitlines()
    told = {int(start): int(node) for start, _, _, node, *_ in map(str.split, lines)}
    memory = memory_of_nodes()
    assert told == {start: next(node for addresses, node in memory if start in addresses) for start, _ in reserved}


@pytest.mark.parametrize("node", (0, 1))
def test_directory_of_a_node(both, node):
    """Files that are made in it lie on its node, as with memory_backing_dir of libvirt."""
    tree = with_policy(both, "tree", str(node))
    assert nodes_of(both, sized(tree / "vm1", SHARE)) == [node] * (SHARE // both.unit)


def test_interleaving(both):
    tree = with_policy(both, "tree", "0,1")
    assert nodes_of(both, sized(tree / "vm1", 8 * both.unit)) == [0, 1] * 4


def test_preferred_node_first(both):
    tree = with_policy(both, "tree", "prefer:1")
    path = sized(tree / "vm1", SHARE + both.unit)
    assert sorted(nodes_of(both, path)) == [0] + [1] * (SHARE // both.unit)


def test_local_is_the_node_of_the_cpu(both):
    tree = with_policy(both, "tree", "local")

    def on_each_cpu():
        seen = set()
        for cpu in sorted(os.sched_getaffinity(0)):
            os.sched_setaffinity(0, {cpu})
            here = next(int(entry[4:]) for entry in os.listdir(f"/sys/devices/system/cpu/cpu{cpu}")
                        if entry.startswith("node"))
            assert nodes_of(both, sized(tree / f"on{cpu}", both.unit)) == [here]
            seen.add(here)
        assert seen == {0, 1}

    with Child(on_each_cpu) as child:
        child.wait()


def buffers_of(pid):
    """Page addresses of the buffers that requests are read into. They are locked, and no child gets a copy."""
    found, at = [], None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            at = range(int(match[1], 16), int(match[2], 16), PAGE)
        elif line.startswith("VmFlags:") and {"dc", "lo"} <= set(line.split()):
            found += at
    return found


def move_pages(pid, pages, node=None):
    """Tries to move each page to @node. Returns the node of each, or a negative errno (move_pages(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    status = (ctypes.c_int * len(pages))()
    nodes = (ctypes.c_int * len(pages))(*[node] * len(pages)) if node is not None else None
    addresses = (ctypes.c_void_p * len(pages))(*pages)
    if libc.syscall(MOVE_PAGES, pid, ctypes.c_ulong(len(pages)), addresses, nodes, status, MPOL_MF_MOVE_ALL) < 0:
        raise OSError(ctypes.get_errno(), "move_pages")
    return list(status)


def test_what_requests_are_read_into_stays_where_it_is(fs):
    """If a page of a buffer were being migrated when the daemon is killed, a request would fail."""
    pages = buffers_of(fs.daemon.pid)
    assert len(pages) >= 32
    before = move_pages(fs.daemon.pid, pages)
    for node in (0, 1):
        move_pages(fs.daemon.pid, pages, node)
        assert move_pages(fs.daemon.pid, pages) == before
