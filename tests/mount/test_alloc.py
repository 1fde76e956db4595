# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfs.alloc and dmemfs.discard: how files get memory, by file and by directory."""

import errno
import os

import pytest

from helpers.children import in_child
from helpers.expect import fails_with

pytestmark = pytest.mark.page_sizes("4K")
NOBODY = 65534


def alloc(path):
    return os.getxattr(path, "dmemfs.alloc")


def test_eager_is_the_default_and_can_be_said(fs):
    os.mkdir(fs / "directory")
    path = fs.make_file("file")
    assert (alloc(fs.root), alloc(fs / "directory"), alloc(path)) == (b"eager",) * 3
    os.setxattr(fs / "directory", "dmemfs.alloc", b"eager\n")
    os.setxattr(path, "dmemfs.alloc", b"eager")
    with fails_with(errno.EEXIST):
        os.setxattr(fs / "directory", "dmemfs.alloc", b"eager", os.XATTR_CREATE)
    os.removexattr(fs / "directory", "dmemfs.alloc")
    with fails_with(errno.ENODATA):
        os.removexattr(fs / "directory", "dmemfs.alloc")


@pytest.mark.parametrize("name, value", [
    ("alloc", b""), ("alloc", b"lazy"), ("alloc", b"eager\0"), ("discard", b""), ("discard", b"2"), ("discard", b"yes"),
])
def test_values_that_are_none(fs, name, value):
    for path in (fs.root, fs.make_file("file")):
        with fails_with(errno.EINVAL):
            os.setxattr(path, f"dmemfs.{name}", value)


@pytest.mark.memory_only("the pfn backend can do both")
def test_tmpfs_cannot(fs):
    for path in (fs.root, fs.make_file("file")):
        with fails_with(errno.EOPNOTSUPP):
            os.setxattr(path, "dmemfs.alloc", b"demand")
        with fails_with(errno.EOPNOTSUPP):
            os.setxattr(path, "dmemfs.discard", b"1")
        os.setxattr(path, "dmemfs.discard", b"0")
        assert os.getxattr(path, "dmemfs.discard") == b"0"


def test_only_the_owner_sets_it(fs):
    path = fs.make_file("file")
    os.chmod(path, 0o666)
    with fails_with(errno.EPERM):
        in_child(os.setxattr, path, "dmemfs.alloc", b"eager", uid=NOBODY)
    os.chown(path, NOBODY, NOBODY)
    in_child(os.setxattr, path, "dmemfs.alloc", b"eager", uid=NOBODY)


def test_other_inodes_have_none(fs):
    os.mkfifo(fs / "fifo")
    for name in ("alloc", "discard"):
        with fails_with(errno.ENODATA):
            os.getxattr(fs / "fifo", f"dmemfs.{name}")
