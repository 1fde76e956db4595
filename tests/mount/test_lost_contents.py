# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfs.lost_contents: whether files are removed when a power failure has taken their contents, by file and by directory."""

import errno
import os

import pytest

from helpers.children import in_child
from helpers.daemon import DaemonError
from helpers.expect import fails_with
from helpers.mount import wait_until
from mount.test_durable import STARTS

pytestmark = pytest.mark.page_sizes("4K")
NAME = "dmemfs.lost_contents"
NOBODY = 65534


def setting(path):
    return os.getxattr(path, NAME)


def test_configuration_is_the_default(fs):
    (fs / "directory").mkdir()
    path = fs.make_file("file", b"x")
    assert {setting(fs.root), setting(fs / "directory"), setting(path)} == {b"zero"}
    fs.daemon.stop()
    fs.daemon.config.write_text(fs.daemon.config.read_text().replace("[daemon]", "[daemon]\nlost-contents=remove"))
    fs.daemon.start()
    assert {setting(fs.root), setting(fs / "directory"), setting(path)} == {b"remove"}


def test_new_files_and_directories_inherit_it(fs):
    directory = fs / "directory"
    directory.mkdir()
    old = fs.make_file("directory/old")
    os.setxattr(directory, NAME, b"remove\n")
    (directory / "below").mkdir()
    os.symlink("nowhere", directory / "link")
    new = fs.make_file("directory/below/new")
    expected = {directory: b"remove", directory / "below": b"remove", new: b"remove", old: b"zero", fs.root: b"zero"}
    assert {path: setting(path) for path in expected} == expected
    os.rename(new, fs / "moved")
    os.setxattr(directory, NAME, b"zero")
    expected = {directory: b"zero", directory / "below": b"remove", fs / "moved": b"remove"}
    for restart in (fs.daemon.stop, fs.daemon.kill):
        restart()
        fs.daemon.next()
        assert {path: setting(path) for path in expected} == expected


def test_removal_restores_the_default(fs):
    path = fs.make_file("file")
    with fails_with(errno.ENODATA):
        os.removexattr(path, NAME)
    os.setxattr(path, NAME, b"remove", os.XATTR_CREATE)
    with fails_with(errno.EEXIST):
        os.setxattr(path, NAME, b"zero", os.XATTR_CREATE)
    os.removexattr(path, NAME)
    assert setting(path) == b"zero"


@pytest.mark.parametrize("value", [b"", b"keep", b"remove\0", b"zero\n\n"])
def test_values_that_are_none(fs, value):
    for path in (fs.root, fs.make_file("file")):
        with fails_with(errno.EINVAL):
            os.setxattr(path, NAME, value)


def test_only_the_owner_sets_it(fs):
    path = fs.make_file("file")
    os.chmod(path, 0o666)
    with fails_with(errno.EPERM):
        in_child(os.setxattr, path, NAME, b"remove", uid=NOBODY)
    os.chown(path, NOBODY, NOBODY)
    in_child(os.setxattr, path, NAME, b"remove", uid=NOBODY)
    os.mkfifo(fs / "fifo")
    with fails_with(errno.ENODATA):
        os.getxattr(fs / "fifo", NAME)
    with fails_with(errno.ENODATA):
        os.setxattr(fs / "fifo", NAME, b"remove")


# --- power failures ---

@pytest.fixture
def loses(fs, backend):
    """A mount with files of both settings, and a function that takes its memory away as a power failure does."""
    for name, value in (("removed", b"remove"), ("zeroed", b"zero"), ("default", None)):
        (fs / name).mkdir()
        if value:
            os.setxattr(fs / name, NAME, value)
        fs.make_file(f"{name}/vm1", b"guest" * 1000)
        fs.make_file(f"{name}/empty")
    os.link(fs / "removed" / "vm1", fs / "zeroed" / "link")
    os.setxattr(fs / "default", NAME, b"remove")  # too late for the file
    fs.make_file("default/own", b"x")
    os.setxattr(fs / "default" / "own", NAME, b"zero")

    def lose():
        fs.daemon.kill()
        for entry in backend.object_path(0).parent.iterdir():
            entry.unlink()

    fs.lose = lose
    return fs


KEPT = {"zeroed/vm1", "default/own"}
EMPTY = {"removed/empty", "zeroed/empty", "default/empty"}


def names(root):
    return {os.path.relpath(os.path.join(directory, name), root) for directory, _, files in os.walk(root) for name in files}


def check(fs, kept):
    assert names(fs.root) == {*kept, *EMPTY}
    for name in kept:
        assert not (fs / name).read_bytes().strip(b"\0")
        assert (fs / name).stat().st_size == (1 if name == "default/own" else 5000)
    expected = fs.capacity - sum(fs.allocated(fs / name) for name in kept)
    assert fs.wait_free(expected) == expected


@pytest.mark.memory_only("takes the memory away as a power failure does")
@pytest.mark.dmemfs(lost_contents="zero")
def test_files_are_removed_by_their_setting(loses):
    loses.lose()
    loses.daemon.expected += ["contents are lost: .*: 3 files keep their names and sizes, and read zero",
                              "contents are lost: .*: 1 files are removed"]
    loses.daemon.next()
    check(loses, KEPT | {"default/vm1"})


@pytest.mark.memory_only("takes the memory away as a power failure does")
@pytest.mark.dmemfs(lost_contents="remove")
def test_files_are_kept_by_their_setting(loses):
    loses.lose()
    loses.daemon.expected += ["contents are lost: .*: 2 files keep their names and sizes, and read zero",
                              "contents are lost: .*: 2 files are removed"]
    loses.daemon.next()
    check(loses, KEPT)


@pytest.mark.memory_only("takes the memory away as a power failure does")
@pytest.mark.parametrize("point", [point for point in STARTS if point not in ("after-commit", "before-commit")] +
                         ["lost-removed", "before-commit", "before-commit:2", "after-commit", "after-commit:2"])
def test_crash_while_files_are_removed(loses, point):
    loses.lose()
    loses.daemon.expected.append("contents are lost")
    with pytest.raises(DaemonError):
        loses.daemon.next(DMEMFS_CRASH_AT=f"start/{point}")
    loses.daemon.next()
    check(loses, KEPT | {"default/vm1"})


@pytest.mark.parametrize("point", ["before-commit", "after-commit"])
def test_crash_while_it_is_set(fs, point):
    """The old value or the new one is on record."""
    path = fs.make_file("file", b"x")
    fs.daemon.stop()
    fs.daemon.start(DMEMFS_CRASH_AT=point)
    with pytest.raises(OSError):
        os.setxattr(path, NAME, b"remove")
    wait_until(lambda: not fs.daemon.running, f"the daemon has died at {point}")
    fs.daemon.ended_by_test = True
    fs.daemon.next()
    assert setting(path) == (b"zero" if point == "before-commit" else b"remove")
    os.setxattr(path, NAME, b"remove")
