# SPDX-License-Identifier: GPL-2.0-or-later
"""The mounted file system as tests use it: paths, free memory, extents."""

import os
import time

from helpers.accounting import SETTLE_TIMEOUT, check_accounting, read_extents, read_stats


class Mount:
    """`fs / "name"` is a path on the mount. All sizes in bytes."""

    def __init__(self, daemon, backend, unit, capacity):
        self.daemon = daemon
        self.backend = backend
        self.root = daemon.mountpoint
        self.unit = unit
        self.capacity = capacity

    def __truediv__(self, name):
        return self.root / name

    def round_up(self, size):
        return -(-size // self.unit) * self.unit

    def stats(self):
        return read_stats(self.root)

    def free(self):
        """The free bytes that statfs reports now."""
        status = os.statvfs(self.root)
        return status.f_bfree * status.f_frsize

    def wait_free(self, size):
        """
        The free bytes, after waiting until they are @size or a removal has had enough time. dmemfs.stats is no measure:
        a removed file without memory may still be promised some.
        """
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while self.free() != size and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.free()

    def extents(self, path_or_fd):
        return read_extents(path_or_fd)

    def allocated(self, path_or_fd):
        return sum(run.length for run in read_extents(path_or_fd))

    def make_file(self, name, content=b"", size=None):
        """A file with @content at its start, and of @size bytes when that is given."""
        path = self / name
        with open(path, "wb", buffering=0) as file:
            if size is not None:
                os.truncate(file.fileno(), size)
            file.write(content)
        return path

    def check(self):
        """The invariants that hold after each test: accounting.py."""
        tree = check_accounting(self.root, self.unit, self.capacity)
        self.backend.check_clean(tree.inodes)


def wait_until(condition, what, timeout=10):
    """Polls until condition() is true."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not the case after {timeout} s: {what}"
        time.sleep(0.005)
