# SPDX-License-Identifier: GPL-2.0-or-later
"""What an unprivileged user may do. The kernel checks this by the attributes that the daemon returns."""

import errno
import os

import pytest

from helpers.children import in_child
from helpers.expect import fails_with, refused
from helpers.syscalls import RENAME_EXCHANGE, opened, renameat2

pytestmark = pytest.mark.page_sizes("4K")

ALICE, BOB = 1001, 1002


def as_user(uid, function, *arguments, **identity):
    """The errno that function(*arguments) gets as @uid, or 0."""

    def attempt():
        try:
            function(*arguments)
        except OSError as error:
            return error.errno
        return 0

    return in_child(attempt, uid=uid, **identity)


def open_close(path, flags):
    with opened(path, flags):
        pass


def test_mode_bits_hold_for_owner_group_and_others(fs):
    path = fs.make_file("file", b"secret")
    os.chown(path, ALICE, 5000)
    os.chmod(path, 0o640)
    assert as_user(ALICE, open_close, path, os.O_RDWR) == 0
    assert as_user(BOB, open_close, path, os.O_RDONLY) == errno.EACCES
    assert as_user(BOB, open_close, path, os.O_RDONLY, groups=[5000]) == 0
    assert as_user(BOB, open_close, path, os.O_RDWR, groups=[5000]) == errno.EACCES


def test_directory_without_write_permission_takes_no_entry(fs):
    fs.make_file("file")
    assert as_user(ALICE, fs.make_file, "new") == errno.EACCES
    assert as_user(ALICE, os.mkdir, fs / "new") == errno.EACCES
    assert as_user(ALICE, os.unlink, fs / "file") == errno.EACCES
    assert as_user(ALICE, os.rename, fs / "file", fs / "new") == errno.EACCES


def test_directory_without_search_permission_hides_what_is_below(fs):
    (fs / "dir").mkdir(0o700)
    fs.make_file("dir/file")
    assert as_user(ALICE, os.stat, fs / "dir" / "file") == errno.EACCES
    assert as_user(ALICE, os.listdir, fs / "dir") == errno.EACCES


def test_only_the_owner_changes_mode_and_only_root_gives_away(fs):
    path = fs.make_file("file")
    os.chown(path, ALICE, ALICE)
    assert as_user(BOB, os.chmod, path, 0o777) == errno.EPERM
    assert as_user(ALICE, os.chmod, path, 0o600) == 0
    assert as_user(ALICE, os.chown, path, BOB, -1) == errno.EPERM
    assert as_user(BOB, os.chown, path, BOB, BOB) == errno.EPERM
    assert as_user(BOB, lambda: os.utime(path, ns=(1, 1))) == errno.EPERM


def test_chmod_by_a_stranger_to_the_group_drops_set_group_id(fs):
    path = fs.make_file("file")
    os.chown(path, ALICE, 5000)
    assert as_user(ALICE, os.chmod, path, 0o2755) == 0
    assert path.stat().st_mode & 0o7777 == 0o755


def test_sticky_directory_protects_the_files_of_others(fs):
    directory = fs / "tmp"
    directory.mkdir()
    os.chmod(directory, 0o1777)
    for user in (ALICE, BOB):
        path = fs.make_file(f"tmp/of{user}")
        os.chown(path, user, user)
    bobs = directory / f"of{BOB}"
    assert as_user(ALICE, os.unlink, bobs) == errno.EPERM
    assert as_user(ALICE, os.rename, bobs, directory / "mine") == errno.EPERM
    assert as_user(ALICE, os.rename, directory / f"of{ALICE}", bobs) == errno.EPERM
    assert as_user(ALICE, renameat2, directory / f"of{ALICE}", bobs, RENAME_EXCHANGE) == errno.EPERM
    assert as_user(BOB, os.unlink, bobs) == 0


def test_execution_needs_an_execute_bit(fs):
    path = fs.make_file("program", b"#!/bin/sh\nexit 0\n")
    with fails_with(errno.EACCES):
        in_child(os.execv, str(path), ["program"])
    os.chmod(path, 0o755)
    assert os.spawnv(os.P_WAIT, str(path), ["program"]) == 0


def test_set_user_id_has_no_effect_on_the_mount(fs):
    """The mount is nosuid and nodev: files hold memory of guests, not programs."""
    assert os.statvfs(fs.root).f_flag & os.ST_NOSUID
    assert os.statvfs(fs.root).f_flag & os.ST_NODEV


def test_access_answers_for_the_real_user(fs):
    path = fs.make_file("file")
    os.chmod(path, 0o604)
    assert in_child(os.access, path, os.R_OK, uid=ALICE)
    assert not in_child(os.access, path, os.W_OK, uid=ALICE)
    assert os.access(path, os.W_OK)


def test_trusted_attributes_are_for_root(fs):
    path = fs.make_file("file")
    os.chown(path, ALICE, ALICE)
    os.setxattr(path, "trusted.x", b"1")
    assert as_user(ALICE, os.setxattr, path, "trusted.x", b"2") == errno.EPERM
    assert in_child(os.listxattr, path, uid=ALICE).count("trusted.x") == 0
    refused(errno.ENODATA, in_child, os.getxattr, path, "trusted.x", uid=ALICE)
