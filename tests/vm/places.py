# SPDX-License-Identifier: GPL-2.0-or-later
"""
Places for a guest's RAM, as the fixture `place`: a mount of dmemfs on memory with compound pages of one kind, or hugetlbfs, to compare
with. A test names them by @kinds(...). Who imports the fixture imports the others, too.
"""

import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.backends import GIB, MIB, PAGE_SIZES
from helpers.syscalls import Mapping, opened

HUGETLBFS = "hugetlbfs"
RAW, SMALL = "pages=none", "pages=none 4K"
KINDS = {"pages=1G": ("1G", "1G"), "pages=2M": ("2M", "2M"), RAW: ("2M", "none"), SMALL: ("4K", "none")}  # page-size, pages
ALL = (HUGETLBFS, "pages=1G", "pages=2M", RAW)
HUGE = 2 * MIB
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
SIZE = GIB  # of hugetlbfs; a mount of dmemfs has two files of 1 GiB


def kinds(*names):
    """Their names are in paths of sockets, in which QEMU does not want "="."""
    return pytest.mark.parametrize("kind", names, ids=[re.sub("[ =]", "-", name) for name in names])


class Place:
    """A directory. `place / "name"` is a path in it. All sizes in bytes."""

    def __init__(self, kind, root, unit, free):
        self.kind, self.unit, self.free = kind, unit, free
        self.align = "1G" if unit == GIB else "2M"  # for QEMU
        self._root = root
        self.is_raw = kind in (RAW, SMALL)

    def __truediv__(self, name):
        return self._root / name

    def whole(self, size):
        """The same, or what a page of 1 GiB fits into where there are any."""
        return max(size, self.unit)

    def make(self, name, size):
        path = self / name
        path.touch()
        if self.is_raw:
            os.setxattr(path, "dmemfs.discard", b"1")
        os.truncate(path, size)
        return path

    @staticmethod
    def used(path):
        """The memory that the file has."""
        return path.stat().st_blocks * 512


@contextmanager
def mapped(path):
    """A Mapping of all of the file."""
    with opened(path) as fd, Mapping(fd, os.fstat(fd).st_size, skew=0) as mapping:
        yield mapping


@contextmanager
def hugetlbfs(root):
    (POOL / "nr_hugepages").write_text(str(SIZE // HUGE))
    root.mkdir()
    subprocess.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "hugetlbfs", root], check=True)
    try:
        assert int((POOL / "nr_hugepages").read_text()) == SIZE // HUGE
        yield root
    finally:
        subprocess.run(["umount", root], check=True)
        (POOL / "nr_hugepages").write_text("0")


@pytest.fixture
def page_size(kind):
    return KINDS[kind][0]


@pytest.fixture
def pages(kind):
    return KINDS[kind][1]


@pytest.fixture
def capacity():
    return 2 * GIB


@pytest.fixture
def place(request, work, kind):
    if kind == HUGETLBFS:
        with hugetlbfs(work / "huge") as root:
            yield Place(kind, root, HUGE, lambda: int((POOL / "free_hugepages").read_text()) * HUGE)
    else:
        fs = request.getfixturevalue("fs")
        yield Place(kind, fs.root, PAGE_SIZES[request.getfixturevalue("page_size")], lambda: fs.stats()["free_bytes"])
