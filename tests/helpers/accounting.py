# SPDX-License-Identifier: GPL-2.0-or-later
"""
Accounting of a mount by what users see (statfs, stat, virtual attributes), and the check that it is right: free +
memory of files + pending + poisoned + lent = capacity; free = clean + dirty + being zeroed; no byte has two owners; the counts
of inodes and links are exact.
"""

import os
import stat
import time
from typing import NamedTuple

from helpers.backends import PAGE_SIZES

SETTLE_TIMEOUT = 15  # seconds for the kernel's FORGET and the backend's idle event after the last close


class Run(NamedTuple):
    """One line of dmemfs.extents, in bytes."""

    offset: int
    start: int
    length: int


class Tree(NamedTuple):
    """The result of a walk from the root."""

    inodes: dict  # st_ino: os.stat_result
    names: dict  # st_ino: a path
    links: dict  # st_ino: how many names (of a directory: 2 and its subdirectories)
    runs: dict  # st_ino of a regular file: list of Run
    units: dict  # st_ino of a regular file: its allocation unit
    demand: set  # st_ino of regular files whose memory comes as it is touched


def read_extents(path_or_fd):
    """The runs of memory of one file, in file order."""
    text = os.getxattr(path_or_fd, "dmemfs.extents").decode()
    return [Run(*(int(number) for number in line.split())) for line in text.splitlines()]


def read_stats(root):
    """dmemfs.stats as a dictionary."""
    text = os.getxattr(root, "dmemfs.stats").decode()
    return {key: int(value) for key, value in (line.split() for line in text.splitlines())}


def walk(root):
    tree = Tree({}, {}, {}, {}, {}, set())
    status = os.lstat(root)
    tree.inodes[status.st_ino] = status
    tree.names[status.st_ino] = str(root)
    tree.links[status.st_ino] = 2
    _walk_directory(str(root), status.st_ino, tree)
    return tree


def _walk_directory(directory, ino, tree):
    with os.scandir(directory) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            tree.inodes[status.st_ino] = status
            tree.names[status.st_ino] = entry.path
            if stat.S_ISDIR(status.st_mode):
                tree.links[ino] += 1
                tree.links[status.st_ino] = 2
                _walk_directory(entry.path, status.st_ino, tree)
            else:
                tree.links[status.st_ino] = tree.links.get(status.st_ino, 0) + 1
            if stat.S_ISREG(status.st_mode) and status.st_ino not in tree.runs:
                tree.runs[status.st_ino] = read_extents(entry.path)
                tree.units[status.st_ino] = PAGE_SIZES[os.getxattr(entry.path, "dmemfs.page_size").decode()]
                if os.getxattr(entry.path, "dmemfs.alloc") == b"demand":
                    tree.demand.add(status.st_ino)


def _check_file(tree, ino):
    status, runs, path, unit = tree.inodes[ino], tree.runs[ino], tree.names[ino], tree.units[ino]
    demand = ino in tree.demand
    covered = 0
    for run in runs:
        assert run.length > 0 and not any(number % unit for number in run), f"{path}: {run} is no multiple of {unit}"
        assert run.offset >= covered, f"{path}: {run} overlaps the run before it in the file"
        if covered < status.st_size and not demand:
            assert run.offset == covered, f"{path}: no memory for [{covered}, {run.offset}) below the size: SIGBUS"
        covered = run.offset + run.length
    assert demand or covered >= status.st_size, f"{path}: memory for {covered} of {status.st_size} bytes: SIGBUS"
    held = sum(run.length for run in runs)
    assert status.st_blocks * 512 == held, f"{path}: st_blocks says {status.st_blocks * 512}, the extents {held}"


def check_tree(tree):
    """Checks each file, and that no two files have the same memory."""
    for ino, status in tree.inodes.items():
        assert status.st_nlink == tree.links[ino], f"{tree.names[ino]}: {tree.links[ino]} links, says {status.st_nlink}"
        if ino in tree.runs:
            _check_file(tree, ino)
        else:
            assert status.st_blocks == 0, f"{tree.names[ino]}: no regular file, yet st_blocks is {status.st_blocks}"
    end, last = 0, None
    for start, length, ino in sorted((run.start, run.length, ino) for ino, runs in tree.runs.items() for run in runs):
        assert start >= end, f"{tree.names[ino]} and {tree.names[last]} share memory at {start:#x}"
        end, last = start + length, ino


def expected_stats(tree, capacity, poisoned=0):
    held = sum(run.length for runs in tree.runs.values() for run in runs)
    return {
        "capacity_bytes": capacity,
        "free_bytes": capacity - held - poisoned,
        "allocated_bytes": held,
        "pending_bytes": 0,
        "removed_bytes": 0,
        "pinned_bytes": 0,
        "pinned_former_bytes": 0,
        "poisoned_bytes": poisoned,
        "promised_bytes": sum(-(-tree.inodes[ino].st_size // tree.units[ino]) * tree.units[ino]
                              - sum(run.length for run in tree.runs[ino]) for ino in tree.demand),
        "files": len(tree.runs),
        "directories": sum(stat.S_ISDIR(status.st_mode) for status in tree.inodes.values()),
        "inodes": len(tree.inodes),
    }


def settle(root, expected):
    """
    Waits until dmemfs.stats equals @expected: the daemon forgets a removed file a moment after rm. Returns the last
    values.
    """
    deadline = time.monotonic() + SETTLE_TIMEOUT
    while True:
        stats = read_stats(root)
        stats["free_bytes"] += stats["lent_bytes"]  # what is lent changes meanwhile
        found = {key: value for key, value in stats.items() if key in expected}
        if found == expected or time.monotonic() > deadline:
            return found
        time.sleep(0.005)


def check_statfs(root, unit, stats, mixed):
    """@mixed: there are files of another unit. Like bad pages, they may leave pieces that are smaller than a unit."""
    status = os.statvfs(root)
    assert status.f_frsize == status.f_bsize == unit
    assert status.f_blocks * unit == stats["capacity_bytes"]
    # Over-commit lets more be taken than is not promised, but no more than there is.
    least = max(stats["free_bytes"] - stats["promised_bytes"], 0)
    broken = mixed or stats["poisoned_bytes"]
    assert least <= status.f_bfree * unit <= stats["free_bytes"] or (broken and status.f_bfree * unit < stats["free_bytes"])
    assert status.f_bavail == status.f_bfree


def check_accounting(root, unit, capacity):
    """Makes all these checks, on a mount that no client uses any more. Returns the Tree."""
    tree = walk(root)
    check_tree(tree)
    expected = expected_stats(tree, capacity, read_stats(root)["poisoned_bytes"])
    found = settle(root, expected)
    assert found == expected, f"dmemfs.stats against a walk of the tree: {found} != {expected}"
    check_statfs(root, unit, found, set(tree.units.values()) - {unit})
    stats = read_stats(root)
    assert stats["free_bytes"] == stats["clean_bytes"] + stats["dirty_bytes"] + stats["zeroing_bytes"], stats
    return tree
