# SPDX-License-Identifier: GPL-2.0-or-later
"""
File handles (name_to_handle_at(2), NFS): each names its inode also after the kernel has forgotten it, and never another
inode.
"""

import errno
import os
from pathlib import Path

import pytest

from helpers.expect import refused
from helpers.syscalls import handle_of, opened_by_handle

pytestmark = pytest.mark.page_sizes("4K")


def _open(fs, handle):
    with opened_by_handle(fs.root, handle) as fd:
        return os.fstat(fd).st_ino, os.readlink(f"/proc/self/fd/{fd}")


def _forget_everything():
    """Has the kernel drop all unused dentries and inodes."""
    Path("/proc/sys/vm/drop_caches").write_text("2")


def test_handle_opens_what_the_kernel_has_forgotten(fs):
    (fs / "a" / "b").mkdir(parents=True)
    fs.make_file("a/b/file", b"content")
    paths = [fs / "a", fs / "a" / "b", fs / "a" / "b" / "file"]
    handles = {path: (handle_of(path), path.stat().st_ino) for path in paths}
    for path in (*reversed(paths), *paths):
        handle, ino = handles[path]
        _forget_everything()
        found, name = _open(fs, handle)
        assert found == ino
        if path.is_dir():  # which the kernel connects to the root at once
            assert name == str(path)
    _forget_everything()
    with opened_by_handle(fs.root, handles[paths[-1]][0]) as fd:
        assert os.read(fd, 10) == b"content"


def test_handle_follows_a_file_and_not_its_name(fs):
    fs.make_file("old", b"mine")
    handle = handle_of(fs / "old")
    os.rename(fs / "old", fs / "new")
    fs.make_file("old", b"another")
    _forget_everything()
    with opened_by_handle(fs.root, handle) as fd:
        assert os.read(fd, 10) == b"mine"


def test_handle_of_what_was_removed_is_stale(fs):
    fs.make_file("file")
    (fs / "dir").mkdir()
    handles = [handle_of(fs / "file"), handle_of(fs / "dir")]
    os.unlink(fs / "file")
    os.rmdir(fs / "dir")
    for number in range(10):
        fs.make_file(f"next{number}")
    for handle in handles:
        refused(errno.ESTALE, _open, fs, handle)


def test_handle_is_good_with_the_next_daemon(fs):
    fs.make_file("file")
    ino = os.stat(fs / "file").st_ino
    handle = handle_of(fs / "file")
    fs.daemon.stop()
    fs.daemon.next()
    assert _open(fs, handle)[0] == ino
