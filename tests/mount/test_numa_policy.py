# SPDX-License-Identifier: GPL-2.0-or-later
"""NUMA policies: each unit of a file lies on a node that the file or its directory asks for."""

import errno
import os
import random

import pytest

from helpers.children import Child
from helpers.expect import refused
from helpers.quota import sized
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, fallocate, opened

NODE = "dmemfs.node"
GIB = 1 << 30
TURN = 2 << 20  # interleaving goes by units, but by no less

pytestmark = pytest.mark.memory_only("regions of the configuration are imaginary there, so each can be on any node")


@pytest.fixture
def nodes(fs):
    """{node: range of addresses}: two regions that touch, node 1 below node 0, each of half the capacity."""
    half = fs.capacity // 2
    start = 8 * GIB - half
    fs.daemon.restart_with(f"[region low]\nstart={start}\nsize={half}\nnode=1\n"
                           f"[region high]\nstart={8 * GIB}\nsize={half}\nnode=0\n")
    return {1: range(start, 8 * GIB), 0: range(8 * GIB, 8 * GIB + half)}


def set_node(path, policy):
    os.setxattr(path, NODE, policy.encode())


def node_of(path):
    return os.getxattr(path, NODE).decode()


def place(fs, nodes, path):
    """The node of each unit of the file, in file order."""
    found = []
    for run in fs.extents(path):
        for at in range(run.start, run.start + run.length, fs.unit):
            found.append(next(node for node, addresses in nodes.items() if at in addresses))
    return found


def node_bytes(path):
    return dict(tuple(map(int, line.split())) for line in os.getxattr(path, "dmemfs.node_bytes").decode().splitlines())


def units(fs, nodes, node):
    return len(nodes[node]) // fs.unit


def test_strict_policy_is_kept_and_says_enospc_alone(fs, nodes):
    path = sized(fs / "file", 0)
    set_node(path, "0")
    room = units(fs, nodes, 0)
    os.truncate(path, (room - 1) * fs.unit)
    assert set(place(fs, nodes, path)) == {0}
    refused(errno.ENOSPC, os.truncate, path, (room + 1) * fs.unit)
    os.truncate(path, room * fs.unit)
    assert node_bytes(path) == {0: room * fs.unit}
    other = sized(fs / "other", 0)
    set_node(other, "0")
    refused(errno.ENOSPC, os.truncate, other, 1)
    sized(fs / "anywhere", units(fs, nodes, 1) * fs.unit)


def test_without_a_policy_the_first_region_comes_first(fs, nodes):
    assert set(place(fs, nodes, sized(fs / "file", 3 * fs.unit))) == {1}
    refused(errno.ENODATA, os.getxattr, fs / "file", NODE)
    whole = sized(fs / "whole", fs.capacity - 3 * fs.unit)
    assert node_bytes(whole) == {0: len(nodes[0]), 1: len(nodes[1]) - 3 * fs.unit}


@pytest.mark.parametrize("text", ("0,1", "1,0"))
def test_interleaving_takes_turns(fs, nodes, text):
    path = sized(fs / "file", 0)
    set_node(path, text)
    turn = max(fs.unit, TURN)
    order = [int(node) for node in text.split(",")]
    for size in (fs.unit, 3 * turn, 3 * turn + fs.unit, 6 * turn):
        os.truncate(path, size)
        expected = [order[offset // turn % 2] for offset in range(0, size, fs.unit)]
        assert place(fs, nodes, path) == expected
    for run in fs.extents(path):
        assert run.start % TURN == run.offset % TURN  # large pages fit
    os.truncate(path, 0)
    with opened(path) as fd:
        fallocate(fd, FALLOC_FL_KEEP_SIZE, turn, 2 * turn)
    assert place(fs, nodes, path) == [order[offset // turn % 2] for offset in range(turn, 3 * turn, fs.unit)]


def test_interleaving_with_a_full_node_takes_the_others_of_the_list(fs, nodes):
    full = sized(fs / "full", 0)
    set_node(full, "0")
    os.truncate(full, (units(fs, nodes, 0) - 1) * fs.unit)
    path = sized(fs / "file", 0)
    set_node(path, "0,1")
    room = units(fs, nodes, 1) + 1
    refused(errno.ENOSPC, os.truncate, path, (room + 1) * fs.unit)
    os.truncate(path, room * fs.unit)
    assert node_bytes(path) == {0: fs.unit, 1: len(nodes[1])}
    assert place(fs, nodes, path)[0] == 0


def test_preferred_node_comes_first_and_others_help(fs, nodes):
    path = sized(fs / "file", 0)
    set_node(path, "prefer:0")
    os.truncate(path, 2 * fs.unit)
    assert place(fs, nodes, path) == [0, 0]
    os.truncate(path, (units(fs, nodes, 0) + 3) * fs.unit)
    assert node_bytes(path) == {0: len(nodes[0]), 1: 3 * fs.unit}
    refused(errno.ENOSPC, os.truncate, path, fs.capacity + 1)


def test_local_is_the_node_of_the_callers_cpu(fs, nodes):
    path = sized(fs / "file", 0)
    set_node(path, "local")

    def on_each_cpu():
        size = 0
        for cpu in sorted(os.sched_getaffinity(0)):
            os.sched_setaffinity(0, {cpu})
            size += fs.unit
            os.truncate(path, size)
            where = [int(entry[4:]) for entry in os.listdir(f"/sys/devices/system/cpu/cpu{cpu}") if entry.startswith("node")]
            if where and where[0] in nodes:
                assert place(fs, nodes, path)[-1] == where[0]

    with Child(on_each_cpu) as child:
        child.wait()
    assert node_of(path) == "local"


def test_directories_hand_their_policy_down(fs, nodes):
    tree = fs / "node0"
    tree.mkdir()
    set_node(tree, "0")
    (tree / "below").mkdir()
    os.symlink("x", tree / "symlink")
    assert node_of(tree / "below") == "0"
    path = sized(tree / "below" / "file", fs.unit)
    assert (node_of(path), place(fs, nodes, path)) == ("0", [0])
    with opened(tree, os.O_RDWR | os.O_TMPFILE) as fd:
        os.ftruncate(fd, fs.unit)
        assert place(fs, nodes, fd) == [0]
    set_node(tree, "1")  # for what is made from now on
    assert (node_of(tree / "below"), node_of(path)) == ("0", "0")
    assert node_of(sized(tree / "new", 0)) == "1"
    os.removexattr(tree, NODE)
    refused(errno.ENODATA, os.getxattr, tree, NODE)
    refused(errno.ENODATA, os.getxattr, sized(tree / "newer", 0), NODE)


def test_policy_that_changes_leaves_memory_where_it_is(fs, nodes):
    path = sized(fs / "file", 0)
    set_node(path, "0")
    os.truncate(path, 2 * fs.unit)
    set_node(path, "1")
    assert place(fs, nodes, path) == [0, 0]
    os.truncate(path, 4 * fs.unit)
    assert place(fs, nodes, path) == [0, 0, 1, 1]
    assert node_bytes(path) == {0: 2 * fs.unit, 1: 2 * fs.unit}


def test_file_across_regions_that_touch_counts_on_both(fs, nodes):
    """The file has one run, which spans two nodes."""
    path = sized(fs / "file", fs.capacity)
    assert [(run.start, run.length) for run in fs.extents(path)] == [(nodes[1].start, fs.capacity)]
    assert node_bytes(path) == {0: fs.capacity // 2, 1: fs.capacity // 2}


@pytest.mark.page_sizes("4K")
def test_values(fs, nodes):
    path = sized(fs / "file", 0)
    for text in ("", "a", "-1", "0,", ",0", "0,0", "0 1", "0-1", "prefer:", "prefer:0,1", "prefer:x", "LOCAL", "local:0",
                 "1024", "0," * 300, "0\0"):
        refused(errno.EINVAL, os.setxattr, path, NODE, text.encode())
    for text in ("2", "0,2", "prefer:7", "1023"):
        refused(errno.ENODEV, os.setxattr, path, NODE, text.encode())
    refused(errno.ENODATA, os.removexattr, path, NODE)
    refused(errno.ENODATA, os.setxattr, path, NODE, b"0", os.XATTR_REPLACE)
    for text in ("0", "1,0", "prefer:1", "local", "1\n"):
        set_node(path, text)
        assert node_of(path) == text.strip()
    refused(errno.EEXIST, os.setxattr, path, NODE, b"0", os.XATTR_CREATE)
    os.removexattr(path, NODE)
    os.mkfifo(fs / "fifo")
    refused(errno.ENODATA, os.setxattr, fs / "fifo", NODE, b"0")
    refused(errno.EPERM, os.setxattr, path, "dmemfs.node_bytes", b"0")
    refused(errno.ENODATA, os.getxattr, fs.root, "dmemfs.node_bytes")
    assert os.getxattr(path, "dmemfs.node_bytes") == b""
    assert os.listxattr(path) == []


@pytest.mark.page_sizes("4K")
def test_policy_is_the_owners(fs, nodes):
    path = sized(fs / "file", 0)
    path.chmod(0o666)

    def stranger():
        refused(errno.EPERM, os.setxattr, path, NODE, b"0")

    with Child(stranger, uid=1234) as child:
        child.wait()
    os.chown(path, 1234, 1234)
    with Child(set_node, path, "1", uid=1234) as child:
        child.wait()
    assert node_of(path) == "1"


@pytest.mark.parametrize("end", ("stop", "kill"))
def test_policies_outlive_the_daemon(fs, nodes, end):
    (fs / "dir").mkdir()
    set_node(fs / "dir", "prefer:0")
    path = sized(fs / "dir" / "file", fs.unit)
    strict = sized(fs / "strict", fs.unit)
    set_node(strict, "0,1")
    getattr(fs.daemon, end)()
    fs.daemon.next() if end == "kill" else fs.daemon.start()
    assert [node_of(at) for at in (fs / "dir", path, strict)] == ["prefer:0", "prefer:0", "0,1"]
    os.truncate(path, 2 * fs.unit)
    assert place(fs, nodes, path) == [0, 0]
    assert set(place(fs, nodes, sized(fs / "dir" / "new", fs.unit))) == {0}


def test_write_stops_where_the_node_is_full(fs, nodes):
    path = sized(fs / "file", 0)
    set_node(path, "0")
    room = units(fs, nodes, 0)
    os.truncate(path, (room - 1) * fs.unit)
    with opened(path) as fd:
        assert os.pwrite(fd, b"x" * 8192, room * fs.unit - 5000) == 5000
        refused(errno.ENOSPC, os.pwrite, fd, b"x", room * fs.unit)


def test_any_sequence_keeps_to_the_policies(fs, nodes):
    """
    Files of all policies grow and shrink in a pool that is nearly full. No unit ever lies on a node that the policy
    forbids.
    """
    chance = random.Random(3)
    allowed = {"0": {0}, "1": {1}, "0,1": {0, 1}, "prefer:0": {0, 1}, "prefer:1": {0, 1}, "local": {0, 1}}
    files = {sized(fs / f"{number}", 0): text for number, text in enumerate(list(allowed) * 2)}
    for path, text in files.items():
        set_node(path, text)
    refusals = 0
    for _ in range(400):
        path, text = chance.choice(list(files.items()))
        before = fs.extents(path)
        size = chance.randrange(fs.capacity // 4 // fs.unit) * fs.unit
        room = {node: units(fs, nodes, node) * fs.unit - sum(node_bytes(at).get(node, 0) for at in files)
                for node in nodes}
        more = size - fs.allocated(path)
        try:
            os.truncate(path, size)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            assert more > sum(room[node] for node in allowed[text])
            assert fs.extents(path) == before
            refusals += 1
        else:
            assert more <= sum(room[node] for node in allowed[text])
        assert set(node_bytes(path)) <= allowed[text]
    assert refusals > 10
