# SPDX-License-Identifier: GPL-2.0-or-later
"""
All that tests must know about a backend: how the configuration asks for memory, and where the bytes of a file lie.
DMEMFS_BACKEND chooses memory (the default) or pfn. A backend refuses its foreign_keys of [daemon], because they have no
effect there.
"""

import os
import subprocess
import time
from contextlib import suppress

import pytest

MIB = 1 << 20
GIB = 1 << 30
SETTLE_TIMEOUT = 5
PAGE_SIZES = {"4K": 4096, "2M": 2 * MIB, "1G": GIB}


class MemoryBackend:
    """A tmpfs holds the bytes: one file for each file of dmemfs, named by its inode number in decimal."""

    name = "memory"
    foreign_keys = ()
    looks_inside = True
    has_pages = True

    def __init__(self, directory):
        # A tmpfs of the session's own: the memory goes with it, however the session ends. Its size is only a limit.
        self._directory = directory / "memory"
        self._directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64G,mode=700", "dmemfs-tests", self._directory], check=True)

    def settings(self, size, _pages="none"):
        """Keys of [daemon] and the other groups, as text, for a daemon that owns @size bytes."""
        return {"backend": "memory", "memory-dir": str(self._directory), "size": str(size)}, ""

    def clear(self):
        """Files of earlier tests are in nobody's way."""

    def object_path(self, ino):
        """The tmpfs file that is the memory of the file with this inode number."""
        return self._directory / str(ino)

    def forget_errors(self):
        """Only a daemon's record knows of bad memory."""

    def check_clean(self, inodes):
        """No tmpfs file is left of an inode that is not in @inodes: it goes a moment after the inode is forgotten."""
        expected = {str(ino) for ino in inodes} | {"mark"}
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while (left := set(os.listdir(self._directory)) - expected) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert not left, f"{self._directory} holds the memory of removed files: {sorted(left)}"

    def close(self):
        subprocess.run(["umount", "--lazy", self._directory], check=True)  # daemons that ended may still let go of it
        self._directory.rmdir()


class PfnBackend:
    """dmemfs.ko holds the bytes, in a range that the kernel command line reserves: DMEMFS_REGION=START,SIZE."""

    name = "pfn"
    foreign_keys = ("populate", "memory-dir")
    looks_inside = False
    # No struct page: what pins the pages of a buffer fails with EFAULT.
    has_pages = False

    def __init__(self, _directory):
        start, size = os.environ["DMEMFS_REGION"].split(",")
        self._start, self._size = int(start, 0), int(size, 0)

    def settings(self, size, pages="none"):
        if size > self._size:
            pytest.skip(f"wants {size >> 20} MiB, DMEMFS_REGION has {self._size >> 20}")
        return {"backend": "pfn"}, f"\n[region test]\nstart={self._start}\nsize={size}\npages={pages}\n"

    def clear(self):
        """Has the module forget the files of earlier tests: they would keep their region as it was."""
        from device import Device  # of the laboratory, which alone has it on its path

        with suppress(OSError), Device() as device:  # what is still mapped or controlled will be told by the daemon
            device.clear()

    def forget_errors(self):
        """The module knows which memory is bad, from the daemon or by itself, as long as it is there."""
        subprocess.run(["rmmod", "dmemfs"], check=True)
        subprocess.run(["insmod", os.environ["DMEMFS_MODULE"]], check=True)

    def check_clean(self, inodes):
        """The module's own accounting is checked by the tests of the laboratory."""

    def close(self):
        """Nothing is held between daemons."""


def backend_from_environment(directory):
    """@directory: of the test session, where only its processes see mounts."""
    kinds = {kind.name: kind for kind in (MemoryBackend, PfnBackend)}
    name = os.environ.get("DMEMFS_BACKEND", "memory")
    if name not in kinds:
        raise ValueError(f"DMEMFS_BACKEND={name}: must be one of {', '.join(sorted(kinds))}")
    return kinds[name](directory)
