# SPDX-License-Identifier: GPL-2.0-or-later
"""Mode, owner, times and what changes them."""

import errno
import os
import stat
import time

import pytest

from helpers.children import in_child
from helpers.expect import refused
from helpers.syscalls import opened

pytestmark = pytest.mark.page_sizes("4K")

NOBODY = 65534
NANOSECONDS = 1_000_000_000


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.mark.parametrize("mask", (0o000, 0o022, 0o077, 0o777), ids=oct)
def test_umask_masks_the_mode_of_new_files_and_directories(fs, mask):
    os.umask(mask)
    with opened(fs / "file", os.O_CREAT | os.O_WRONLY, 0o777):
        pass
    os.mkdir(fs / "dir", 0o777)
    os.mkfifo(fs / "fifo", 0o777)
    assert mode_of(fs / "file") == mode_of(fs / "dir") == mode_of(fs / "fifo") == 0o777 & ~mask


@pytest.mark.parametrize("mode", (0o000, 0o400, 0o1777, 0o2755, 0o4755, 0o7777), ids=oct)
def test_chmod_sets_every_bit(fs, mode):
    path = fs.make_file("file")
    os.chmod(path, mode)
    assert mode_of(path) == mode
    assert stat.S_ISREG(path.stat().st_mode)


def test_chown_sets_owner_and_group_apart(fs):
    path = fs.make_file("file")
    os.chown(path, 1234, 5678)
    os.chown(path, -1, 99)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 99)
    os.chown(path, 0, -1)
    assert (path.stat().st_uid, path.stat().st_gid) == (0, 99)


def test_lchown_changes_the_symlink_and_not_its_target(fs):
    path = fs.make_file("file")
    (fs / "link").symlink_to("file")
    os.lchown(fs / "link", 7, 7)
    assert os.lstat(fs / "link").st_uid == 7
    assert path.stat().st_uid == 0


def test_chown_clears_set_user_id_of_a_program(fs):
    path = fs.make_file("program")
    os.chmod(path, 0o6755)
    os.chown(path, NOBODY, NOBODY)
    assert mode_of(path) == 0o755


@pytest.mark.parametrize("change", ("write", "truncate"))
def test_change_by_another_user_clears_set_user_id(fs, change):
    path = fs.make_file("program", b"content")
    os.chmod(path, 0o6777)

    def modify():
        if change == "truncate":
            os.truncate(path, 3)
        else:
            with opened(path) as fd:
                os.write(fd, b"x")

    in_child(modify, uid=NOBODY)
    assert mode_of(path) == 0o777


def test_files_belong_to_who_makes_them(fs):
    os.chmod(fs.root, 0o777)

    def make():
        fs.make_file("file")
        os.mkdir(fs / "dir")
        os.symlink("x", fs / "link")

    in_child(make, uid=NOBODY, gid=4321)
    for name in ("file", "dir", "link"):
        status = os.lstat(fs / name)
        assert (status.st_uid, status.st_gid) == (NOBODY, 4321)


def test_set_group_id_directory_hands_its_group_down(fs):
    shared = fs / "shared"
    shared.mkdir()
    os.chown(shared, 0, 4321)
    os.chmod(shared, 0o2777)

    def make():
        fs.make_file("shared/file")
        os.mkdir(shared / "dir")
        with opened(shared, os.O_TMPFILE | os.O_RDWR) as fd:
            return os.fstat(fd).st_gid

    assert in_child(make, uid=NOBODY) == 4321
    assert os.stat(shared / "file").st_gid == os.stat(shared / "dir").st_gid == 4321
    assert mode_of(shared / "dir") == 0o2755
    assert mode_of(shared / "file") == 0o644


@pytest.mark.parametrize("when", (0, 1, 999_999_999, -1, -5 * NANOSECONDS + 7, 1_700_000_000_123_456_789,
                                  (1 << 33) * NANOSECONDS + 1))
def test_utimens_is_exact_to_the_nanosecond(fs, when):
    path = fs.make_file("file")
    os.utime(path, ns=(when, when + 1))
    status = path.stat()
    assert (status.st_atime_ns, status.st_mtime_ns) == (when, when + 1)


def test_utimens_of_a_symlink_leaves_the_target(fs):
    path = fs.make_file("file")
    before = path.stat().st_mtime_ns
    (fs / "link").symlink_to("file")
    os.utime(fs / "link", ns=(5, 6), follow_symlinks=False)
    assert os.lstat(fs / "link").st_mtime_ns == 6
    assert path.stat().st_mtime_ns == before


def test_utimens_now_takes_the_clock(fs):
    path = fs.make_file("file")
    os.utime(path, ns=(0, 0))
    before = time.time_ns()
    os.utime(path)
    assert before - NANOSECONDS < path.stat().st_mtime_ns < time.time_ns() + NANOSECONDS


def times(path):
    status = os.lstat(path)
    return status.st_mtime_ns, status.st_ctime_ns


def changed(path, action):
    """(mtime changed, ctime changed) by action()."""
    before = times(path)
    time.sleep(0.02)  # the kernel's coarse clock ticks every 10 ms at most
    action()
    return tuple(new > old for new, old in zip(times(path), before))


def test_what_changes_the_times_of_a_file(fs):
    path = fs.make_file("file", b"content")
    assert changed(path, lambda: os.chmod(path, 0o600)) == (False, True)
    assert changed(path, lambda: os.chown(path, 1, 1)) == (False, True)
    assert changed(path, lambda: os.link(path, fs / "link")) == (False, True)
    assert changed(path, lambda: os.unlink(fs / "link")) == (False, True)
    assert changed(path, lambda: os.setxattr(path, "user.x", b"1")) == (False, True)
    assert changed(path, lambda: os.truncate(path, 3)) == (True, True)
    assert changed(path, lambda: path.open("ab").write(b"more")) == (True, True)
    assert changed(path, path.read_bytes) == (False, False)


def test_rename_changes_the_ctime_of_what_moved(fs):
    before = times(fs.make_file("file"))
    time.sleep(0.02)
    os.rename(fs / "file", fs / "moved")
    after = times(fs / "moved")
    assert after[0] == before[0]
    assert after[1] > before[1]


def test_descriptor_sees_new_times_and_size_after_its_own_write(fs):
    path = fs.make_file("file")
    with opened(path) as fd:
        before = os.fstat(fd).st_mtime_ns
        time.sleep(0.02)
        os.write(fd, b"x" * 5000)
        assert os.fstat(fd).st_size == 5000
        assert os.fstat(fd).st_mtime_ns > before
        assert os.stat(path).st_mtime_ns == os.fstat(fd).st_mtime_ns


@pytest.mark.parametrize("action", ("create", "mkdir", "symlink", "unlink", "rename", "link"))
def test_entries_that_come_and_go_change_the_times_of_the_directory(fs, action):
    directory = fs / "dir"
    directory.mkdir()
    old = fs.make_file("dir/old")
    actions = {
        "create": lambda: fs.make_file("dir/new"),
        "mkdir": lambda: os.mkdir(directory / "new"),
        "symlink": lambda: os.symlink("x", directory / "new"),
        "unlink": lambda: os.unlink(old),
        "rename": lambda: os.rename(old, fs / "away"),
        "link": lambda: os.link(old, directory / "new"),
    }
    assert changed(directory, actions[action]) == (True, True)


def test_exclusive_attributes_of_missing_files_are_enoent(fs):
    refused(errno.ENOENT, os.chmod, fs / "none", 0o600)
    refused(errno.ENOENT, os.chown, fs / "none", 0, 0)
    refused(errno.ENOENT, os.utime, fs / "none")
