# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits on directory trees, as an operator sets and reads them, and the sum that the usage must equal."""

import errno
import os
import stat
import time

MAX_BYTES, MAX_FILES = "trusted.dmemfs.quota.max_bytes", "trusted.dmemfs.quota.max_files"
SETTLE_TIMEOUT = 10  # seconds until the memory of removed files is back


def limit(directory, max_bytes=None, max_files=None):
    """Sets those that are given; 0 removes."""
    for name, value in ((MAX_BYTES, max_bytes), (MAX_FILES, max_files)):
        if value == 0:
            os.removexattr(directory, name)
        elif value is not None:
            os.setxattr(directory, name, str(value).encode())


def used(directory):
    """(bytes, files)"""
    return tuple(int(os.getxattr(directory, f"dmemfs.quota.used_{what}")) for what in ("bytes", "files"))


def is_tree(directory):
    try:
        used(directory)
    except OSError as error:
        assert error.errno == errno.ENODATA
        return False
    return True


def held(directory):
    """What lies below the directory: (bytes, files), each inode once."""
    seen = {}
    for path, directories, files in os.walk(directory):
        for name in directories + files:
            status = os.lstat(os.path.join(path, name))
            seen[status.st_ino] = status.st_blocks * 512 if stat.S_ISREG(status.st_mode) else 0
    return sum(seen.values()), len(seen)


def trees(root):
    """All directories that have a limit, and the root."""
    return [path for path, _, _ in os.walk(root) if is_tree(path)]


def check_usage(root, nameless=0):
    """
    The reported usage of each tree must equal its contents. @nameless: bytes of open files without a name that
    count in the root.
    """
    for tree in trees(root):
        expected = held(tree)
        if os.path.samefile(tree, root):
            expected = (expected[0] + nameless, expected[1])
        wait_used(tree, expected)


def wait_used(directory, expected):
    deadline = time.monotonic() + SETTLE_TIMEOUT
    while used(directory) != expected:
        assert time.monotonic() < deadline, f"{directory}: says {used(directory)}, holds {expected}"
        time.sleep(0.005)


def make_tenants(fs):
    """Two directories, with limits of 8 and of 4 units."""
    found = []
    for name, units in (("tenant", 8), ("other", 4)):
        found.append(fs / name)
        found[-1].mkdir()
        limit(found[-1], max_bytes=units * fs.unit)
    return found


def sized(path, size):
    path.touch()
    os.truncate(path, size)
    return path
