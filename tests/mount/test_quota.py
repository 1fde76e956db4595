# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits on directory trees: they can be set at run time, and hold when a file is sized or a name is made."""

import errno
import os
import subprocess
import time

import pytest

from helpers.children import Child
from helpers.expect import fails_with, refused
from helpers.quota import MAX_BYTES, MAX_FILES, is_tree, limit, sized, used, wait_used
from helpers.syscalls import (FALLOC_FL_KEEP_SIZE, RENAME_EXCHANGE, RENAME_NOREPLACE, Mapping, fallocate, link_fd,
                              opened, renameat2)


def test_sizing_past_the_limit_is_edquot_and_takes_nothing(fs, tenant):
    path = sized(tenant / "file", 5 * fs.unit)
    free = fs.free()
    refused(errno.EDQUOT, os.truncate, path, 8 * fs.unit + 1)
    assert path.stat().st_size == 5 * fs.unit
    assert fs.free() == free
    assert used(tenant) == (5 * fs.unit, 1)
    os.truncate(path, 8 * fs.unit)
    assert used(tenant) == (8 * fs.unit, 1)
    sized(fs / "outside", 2 * fs.unit)


def test_bytes_are_allocated_units(fs, tenant):
    for number in range(8):
        (tenant / f"file{number}").write_bytes(b"x")
    assert used(tenant) == (8 * fs.unit, 8)
    with fails_with(errno.EDQUOT):
        (tenant / "one more").write_bytes(b"x")
    os.truncate(tenant / "file0", 0)
    (tenant / "one more").write_bytes(b"x")


def test_write_stops_at_the_limit(fs, tenant):
    sized(tenant / "rest", 6 * fs.unit)
    with opened(tenant / "file", os.O_RDWR | os.O_CREAT) as fd:
        os.ftruncate(fd, 2 * fs.unit)
        assert os.pwrite(fd, b"x" * 4096, 2 * fs.unit - 1000) == 1000
        refused(errno.EDQUOT, os.pwrite, fd, b"x", 2 * fs.unit)


def test_fallocate_counts(fs, tenant):
    with opened(tenant / "file", os.O_RDWR | os.O_CREAT) as fd:
        fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 7 * fs.unit)
        assert used(tenant) == (7 * fs.unit, 1)
        refused(errno.EDQUOT, fallocate, fd, 0, 0, 9 * fs.unit)
        assert used(tenant) == (7 * fs.unit, 1)
        os.ftruncate(fd, 0)
        assert used(tenant) == (0, 1)


def test_files_of_every_type_count_while_they_have_a_name(fs, tenant):
    limit(tenant, max_files=4)
    (tenant / "file").touch()
    (tenant / "dir").mkdir()
    os.symlink("x", tenant / "dir" / "symlink")
    os.mkfifo(tenant / "fifo")
    os.link(tenant / "file", tenant / "second name")
    assert used(tenant) == (0, 4)
    for make in (lambda: (tenant / "new").touch(), lambda: (tenant / "dir" / "new").mkdir(),
                 lambda: os.symlink("x", tenant / "new"), lambda: os.mkfifo(tenant / "new")):
        refused(errno.EDQUOT, make)
    os.unlink(tenant / "file")
    assert used(tenant) == (0, 4)
    with open(tenant / "second name", "rb"):
        os.unlink(tenant / "second name")
        (tenant / "new").touch()
    os.rename(tenant / "new", tenant / "fifo")
    assert used(tenant) == (0, 3)


def test_file_without_a_name_counts_its_bytes(fs, tenant):
    limit(tenant, max_files=1)
    with opened(tenant, os.O_RDWR | os.O_TMPFILE) as fd:
        os.ftruncate(fd, 3 * fs.unit)
        assert used(tenant) == (3 * fs.unit, 0)
        refused(errno.EDQUOT, os.ftruncate, fd, 9 * fs.unit)
        refused(errno.EXDEV, link_fd, fd, fs / "outside")
        link_fd(fd, tenant / "name")
    assert used(tenant) == (3 * fs.unit, 1)
    with opened(tenant, os.O_RDWR | os.O_TMPFILE) as fd:
        refused(errno.EDQUOT, link_fd, fd, tenant / "second")


def test_removed_file_counts_until_its_memory_is_back(fs, tenant):
    path = sized(tenant / "file", 6 * fs.unit)
    with opened(path) as fd, Mapping(fd, fs.unit):
        os.unlink(path)
        assert used(tenant) == (6 * fs.unit, 0)
        refused(errno.EDQUOT, sized, tenant / "new", 3 * fs.unit)
    wait_used(tenant, (0, 1))
    sized(tenant / "new", 8 * fs.unit)


def test_remove_and_make_again_at_the_limit(fs, tenant):
    for turn in range(30):
        sized(tenant / f"file{turn}", 8 * fs.unit)
        os.unlink(tenant / f"file{turn}")


def test_remove_and_move_in_at_the_limit(fs, tenant):
    sized(tenant / "file", 8 * fs.unit)
    for _ in range(10):
        sized(fs / "new", 8 * fs.unit)
        os.unlink(tenant / "file")
        os.rename(fs / "new", tenant / "file")


def test_shortage_without_a_removal_is_told_at_once(fs, tenant):
    sized(tenant / "file", 8 * fs.unit)
    sized(fs / "outside", fs.unit)
    os.unlink(fs / "outside")
    (tenant / "other").touch()
    start = time.monotonic()
    refused(errno.EDQUOT, os.truncate, tenant / "other", 1)
    assert time.monotonic() - start < 0.5


def test_limits_are_nested(fs, tenant):
    inner = tenant / "a" / "inner"
    inner.mkdir(parents=True)
    sized(inner / "before", 2 * fs.unit)
    limit(inner, max_bytes=4 * fs.unit)
    assert used(inner) == (2 * fs.unit, 1)
    refused(errno.EDQUOT, sized, inner / "file", 3 * fs.unit)
    sized(tenant / "rest", 5 * fs.unit)
    refused(errno.EDQUOT, os.truncate, inner / "file", 2 * fs.unit)  # the outer one
    os.truncate(inner / "file", fs.unit)
    assert used(inner) == (3 * fs.unit, 2)
    assert used(tenant) == (8 * fs.unit, 5)
    limit(inner, max_bytes=0)
    assert not is_tree(inner)
    assert used(tenant) == (8 * fs.unit, 5)


def test_limit_below_the_usage_stops_growth_only(fs, tenant):
    path = sized(tenant / "file", 6 * fs.unit)
    limit(tenant, max_bytes=2 * fs.unit)
    path.write_bytes(b"x" * 100)
    assert used(tenant) == (fs.unit, 1)
    os.truncate(path, 2 * fs.unit)
    limit(tenant, max_bytes=fs.unit)
    refused(errno.EDQUOT, os.truncate, path, 3 * fs.unit)
    refused(errno.EDQUOT, sized, tenant / "other", 1)
    os.rename(path, tenant / "still moves")
    os.rename(tenant / "still moves", fs / "and leaves")
    assert used(tenant) == (0, 1)


def test_the_root_can_have_limits(fs):
    limit(fs.root, max_bytes=3 * fs.unit, max_files=2)
    sized(fs / "file", 3 * fs.unit)
    refused(errno.EDQUOT, sized, fs / "other", 1)
    refused(errno.EDQUOT, (fs / "third").touch)
    limit(fs.root, max_bytes=0, max_files=0)
    os.truncate(fs / "other", fs.unit)
    assert used(fs.root) == (4 * fs.unit, 2)


def test_attributes(fs, tenant):
    assert os.getxattr(tenant, MAX_BYTES) == {4096: b"32K", 2 << 20: b"16M"}[fs.unit]
    refused(errno.ENODATA, os.getxattr, tenant, MAX_FILES)
    refused(errno.ENODATA, os.getxattr, fs.root, MAX_BYTES)
    for text in (b"64G", b"0x10000000000", b"1g\n", b"1"):
        os.setxattr(tenant, MAX_BYTES, text)
    for text in (b"", b"0", b"-1", b"1.5G", b"all", b" 1", b"1 G", b"9999999999999999999", b"1\0", b"x" * 200):
        refused(errno.EINVAL, os.setxattr, tenant, MAX_BYTES, text)
    assert os.getxattr(tenant, MAX_BYTES) == b"1"
    for text in (b"1K", b"0", b"", b"many"):
        refused(errno.EINVAL, os.setxattr, tenant, MAX_FILES, text)
    refused(errno.EEXIST, os.setxattr, tenant, MAX_BYTES, b"1M", os.XATTR_CREATE)
    refused(errno.ENODATA, os.setxattr, tenant, MAX_FILES, b"1", os.XATTR_REPLACE)
    refused(errno.ENODATA, os.removexattr, tenant, MAX_FILES)
    for name in ("used_bytes", "used_files"):
        refused(errno.EPERM, os.setxattr, tenant, f"dmemfs.quota.{name}", b"1")
    refused(errno.EPERM, os.setxattr, tenant, "dmemfs.quota.trees", b"1")
    refused(errno.ENOTDIR, os.setxattr, sized(fs / "file", 0), MAX_BYTES, b"1M")
    refused(errno.ENODATA, os.getxattr, fs / "file", "dmemfs.quota.used_bytes")
    assert os.listxattr(tenant) == []


@pytest.mark.parametrize("confined", [["setpriv", "--bounding-set", "-sys_admin"], ["unshare", "--user", "--map-root-user"]],
                         ids=["without_capability", "in_a_container"])
def test_user_0_is_not_enough_to_set_a_limit(tenant, confined):
    for change in (["-v", "1T", "-n"], ["-x"]):
        for name in (MAX_BYTES, MAX_BYTES.removeprefix("trusted.")):
            done = subprocess.run([*confined, "setfattr", *change, name, tenant], capture_output=True, text=True, check=False)
            assert done.returncode and "not permitted" in done.stderr
    assert used(tenant) == (0, 0) and is_tree(tenant)


def test_plain_names_of_limits_are_for_reading(fs, tenant):
    plain = MAX_BYTES.removeprefix("trusted.")
    assert os.getxattr(tenant, plain) == os.getxattr(tenant, MAX_BYTES)
    refused(errno.EPERM, os.setxattr, tenant, plain, b"1T")
    refused(errno.EPERM, os.removexattr, tenant, plain)
    assert f"set {MAX_BYTES}" in fs.daemon.log


def test_setfattr(tenant):
    subprocess.run(["setfattr", "-n", MAX_BYTES, "-v", "64G", tenant], check=True)
    assert os.getxattr(tenant, MAX_BYTES) == b"64G"
    subprocess.run(["setfattr", "-x", MAX_BYTES, tenant], check=True)
    assert not is_tree(tenant)


def test_limits_are_roots_alone(fs, tenant):
    os.chown(tenant, 1234, 1234)

    def owner():
        refused(errno.EPERM, os.setxattr, tenant, MAX_BYTES, b"1T")
        refused(errno.EPERM, os.removexattr, tenant, MAX_BYTES)
        assert used(tenant) == (0, 0)

    with Child(owner, uid=1234) as child:
        child.wait()


def test_statfs_shows_the_quota_as_the_size(fs, tenant):
    limit(tenant, max_files=10)
    path = sized(tenant / "file", 3 * fs.unit)
    os.symlink("x", tenant / "symlink")
    os.mkfifo(tenant / "fifo")
    for place in (tenant, path, tenant / "fifo"):
        figures = os.statvfs(place)
        assert (figures.f_frsize, figures.f_blocks, figures.f_bfree) == (fs.unit, 8, 5)
        assert (figures.f_files, figures.f_ffree) == (10, 7)
    figures = os.statvfs(fs.root)
    assert figures.f_blocks * fs.unit == fs.capacity
    inner = tenant / "inner"
    inner.mkdir()
    limit(inner, max_bytes="1P")
    assert os.statvfs(inner).f_blocks == 8
    limit(inner, max_bytes=2 * fs.unit)
    assert (os.statvfs(inner).f_blocks, os.statvfs(inner).f_bavail) == (2, 2)


# --- names that move ---

def test_rename_across_trees_moves_the_usage_or_fails(fs, pair):
    tenant, other = pair
    sized(tenant / "small", 2 * fs.unit)
    sized(tenant / "large", 5 * fs.unit)
    os.rename(tenant / "small", other / "small")
    assert (used(tenant), used(other)) == ((5 * fs.unit, 1), (2 * fs.unit, 1))
    refused(errno.EDQUOT, os.rename, tenant / "large", other / "large")
    assert (used(tenant), used(other)) == ((5 * fs.unit, 1), (2 * fs.unit, 1))
    limit(other, max_files=1)
    refused(errno.EDQUOT, os.rename, sized(fs / "empty", 0), other / "empty")
    os.rename(fs / "empty", other / "small")  # takes the place of the one that is there
    wait_used(other, (0, 1))


def test_directory_moves_into_another_tree_only_when_empty(fs, pair):
    """The same rule as for project quotas of XFS: mv(1) then copies."""
    tenant, other = pair
    (tenant / "full").mkdir()
    sized(tenant / "full" / "file", 2 * fs.unit)
    (tenant / "empty").mkdir()
    refused(errno.EXDEV, os.rename, tenant / "full", other / "full")
    refused(errno.EXDEV, os.rename, tenant / "full", fs / "full")
    sized(other / "file", fs.unit)
    refused(errno.EXDEV, renameat2, other / "file", tenant / "full", RENAME_EXCHANGE)
    refused(errno.EXDEV, renameat2, tenant / "full", other / "file", RENAME_EXCHANGE)
    assert (tenant / "full" / "file").exists() and sorted(os.listdir(other)) == ["file"]
    assert (used(tenant), used(other)) == ((2 * fs.unit, 3), (fs.unit, 1))
    os.rename(tenant / "empty", other / "empty")
    assert (used(tenant), used(other)) == ((2 * fs.unit, 2), (fs.unit, 2))
    sized(other / "empty" / "file", 3 * fs.unit)
    refused(errno.EDQUOT, sized, other / "empty" / "more", fs.unit)  # it is made, and stays empty
    os.rename(tenant / "full", tenant / "moves")  # in its tree
    os.rename(other, fs / "renamed")  # a tree, in the one around it
    assert used(fs / "renamed") == (4 * fs.unit, 4)


def test_tree_stays_in_the_one_around_it(fs, pair):
    tenant, other = pair
    refused(errno.EXDEV, os.rename, other, tenant / "other")
    (tenant / "inner").mkdir()
    limit(tenant / "inner", max_bytes=fs.unit)
    refused(errno.EXDEV, os.rename, tenant / "inner", fs / "inner")
    assert used(tenant) == (0, 1)
    assert is_tree(other) and is_tree(tenant / "inner")


def test_exchange_counts_the_difference(fs, pair):
    tenant, other = pair
    sized(tenant / "large", 8 * fs.unit)
    sized(other / "small", 3 * fs.unit)
    refused(errno.EDQUOT, renameat2, tenant / "large", other / "small", RENAME_EXCHANGE)
    os.truncate(tenant / "large", 4 * fs.unit)
    renameat2(tenant / "large", other / "small", RENAME_EXCHANGE)
    assert (used(tenant), used(other)) == ((3 * fs.unit, 1), (4 * fs.unit, 1))
    limit(other, max_bytes=fs.unit)
    renameat2(tenant / "large", other / "small", RENAME_EXCHANGE)  # both get less than they give, or have room
    assert (used(tenant), used(other)) == ((4 * fs.unit, 1), (3 * fs.unit, 1))


def test_file_that_is_open_moves_with_its_name(fs, pair):
    tenant, other = pair
    with opened(sized(tenant / "file", fs.unit)) as fd:
        renameat2(tenant / "file", other / "file", RENAME_NOREPLACE)
        refused(errno.EDQUOT, os.ftruncate, fd, 5 * fs.unit)
        os.ftruncate(fd, 4 * fs.unit)
    assert (used(tenant), used(other)) == ((0, 0), (4 * fs.unit, 1))


def test_hard_links_stay_in_their_tree(fs, pair):
    """The same rule as for project quotas of XFS."""
    tenant, other = pair
    (tenant / "dir").mkdir()
    path = sized(tenant / "file", fs.unit)
    refused(errno.EXDEV, os.link, path, other / "link")
    refused(errno.EXDEV, os.link, path, fs / "link")
    os.link(path, tenant / "dir" / "link")
    refused(errno.EXDEV, os.rename, path, fs / "moved")
    refused(errno.EXDEV, os.rename, tenant / "dir", fs / "dir")
    refused(errno.EXDEV, os.setxattr, tenant / "dir", MAX_FILES, b"1")
    assert not is_tree(tenant / "dir")
    assert used(tenant) == (fs.unit, 2)
    os.rename(path, tenant / "dir" / "file")
    os.unlink(tenant / "dir" / "link")
    os.rename(tenant / "dir" / "file", fs / "moved")
    assert used(tenant) == (0, 1)


def test_removed_directory_takes_its_limit_with_it(fs, tenant):
    inner = tenant / "inner"
    inner.mkdir()
    limit(inner, max_bytes=fs.unit)
    with opened(sized(inner / "file", fs.unit)) as fd:
        os.unlink(inner / "file")
        inner.rmdir()
        assert used(tenant) == (fs.unit, 0)
        inner.mkdir()
        sized(inner / "file", 2 * fs.unit)
        os.ftruncate(fd, 6 * fs.unit)
        refused(errno.EDQUOT, os.ftruncate, fd, 7 * fs.unit)
    wait_used(tenant, (2 * fs.unit, 2))
