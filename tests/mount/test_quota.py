# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits on directory trees: set at run time, kept to at the moment of sizing and naming, durable, and never adrift."""

import errno
import os
import random
import subprocess
import time

import pytest

from helpers.children import Child
from helpers.daemon import DaemonError
from helpers.expect import fails_with, refused
from helpers.mount import wait_until
from helpers.quota import MAX_BYTES, MAX_FILES, check_usage, held, is_tree, limit, used, wait_used
from helpers.syscalls import (FALLOC_FL_KEEP_SIZE, RENAME_EXCHANGE, RENAME_NOREPLACE, Mapping, fallocate, link_fd,
                              opened, renameat2)


@pytest.fixture
def tenant(fs):
    """A directory with a limit of 8 units."""
    path = fs / "tenant"
    path.mkdir()
    limit(path, max_bytes=8 * fs.unit)
    yield path
    check_usage(fs.root)


def sized(path, size):
    path.touch()
    os.truncate(path, size)
    return path


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

@pytest.fixture
def pair(fs, tenant):
    """A second tenant, with a limit of 4 units."""
    other = fs / "other"
    other.mkdir()
    limit(other, max_bytes=4 * fs.unit)
    return tenant, other


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


def test_rename_of_a_directory_takes_all_along(fs, pair):
    tenant, other = pair
    deep = tenant / "dir" / "below"
    deep.mkdir(parents=True)
    sized(deep / "file", 2 * fs.unit)
    os.link(deep / "file", deep.parent / "second name")
    inner = deep / "inner"
    inner.mkdir()
    limit(inner, max_bytes=fs.unit)
    sized(inner / "file", fs.unit)
    os.rename(tenant / "dir", other / "dir")
    assert (used(tenant), used(other)) == ((0, 0), (3 * fs.unit, 5))
    assert used(other / "dir" / "below" / "inner") == (fs.unit, 1)
    refused(errno.EDQUOT, sized, other / "dir" / "below" / "inner" / "more", 1)
    sized(other / "rest", fs.unit)
    refused(errno.EDQUOT, sized, other / "dir" / "more", 1)
    os.rename(other / "dir", fs / "dir")
    assert used(other) == (fs.unit, 1)


def test_tree_itself_can_move(fs, pair):
    tenant, other = pair
    sized(other / "file", 4 * fs.unit)
    os.rename(other, tenant / "other")
    assert used(tenant) == (4 * fs.unit, 2)
    assert used(tenant / "other") == (4 * fs.unit, 1)
    refused(errno.EDQUOT, sized, tenant / "file", 5 * fs.unit)
    limit(tenant, max_bytes=4 * fs.unit)
    os.rename(tenant / "other", fs / "other")
    sized(tenant / "file", 4 * fs.unit)
    refused(errno.EDQUOT, os.rename, fs / "other", tenant / "other")


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
    """As with the project quotas of XFS."""
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
    os.rename(tenant / "dir", fs / "dir")
    assert used(tenant) == (0, 0)


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


# --- what is on record ---

@pytest.mark.parametrize("end", ("stop", "kill"))
def test_limits_and_usage_outlive_the_daemon(fs, pair, end):
    tenant, other = pair
    limit(tenant, max_files=3)
    limit(other, max_bytes=0)
    sized(tenant / "file", 3 * fs.unit)
    os.link(tenant / "file", tenant / "link")
    (tenant / "dir").mkdir()
    limit(tenant / "dir", max_bytes=2 * fs.unit)
    sized(tenant / "dir" / "file", 2 * fs.unit)
    getattr(fs.daemon, end)()
    fs.daemon.next() if end == "kill" else fs.daemon.start()
    assert not is_tree(other)
    assert used(tenant) == (5 * fs.unit, 3)
    assert used(tenant / "dir") == (2 * fs.unit, 1)
    assert os.getxattr(tenant, MAX_FILES) == b"3"
    refused(errno.EDQUOT, sized, tenant / "dir" / "file", 3 * fs.unit)
    refused(errno.EDQUOT, (tenant / "new").touch)
    refused(errno.EDQUOT, os.truncate, tenant / "file", 7 * fs.unit)
    limit(other, max_bytes=fs.unit)


def test_removed_file_still_counts_after_the_kill(fs, tenant):
    """As long as somebody maps it. What its memory is waited for is known where the backend can tell."""

    def client(pipe):
        fd = os.open(tenant / "file", os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, 3 * fs.unit)
        os.unlink(tenant / "file")
        pipe.send("ready")
        pipe.recv()

    with Child(client, with_pipe=True) as child:
        assert child.receive() == "ready"
        fs.daemon.kill()
        fs.daemon.next()
        assert used(tenant)[0] in (0, 3 * fs.unit)
        child.pipe.send("go on")
        child.wait()
    wait_used(tenant, (0, 0))


def grow(fs, tenant, other):
    os.truncate(tenant / "file", 6 * fs.unit)


def shrink(fs, tenant, other):
    os.truncate(tenant / "file", 0)


def make(fs, tenant, other):
    (tenant / "new").mkdir()


def remove(fs, tenant, other):
    os.unlink(tenant / "file")


def move(fs, tenant, other):
    os.rename(tenant / "dir", other / "dir")


def set_limit(fs, tenant, other):
    limit(tenant / "dir", max_bytes=fs.unit)


CRASHES = {
    "before-commit": (grow, shrink, make, remove, move, set_limit),
    "after-commit": (grow, shrink, make, remove, move, set_limit),
    "extents-committed": (grow,),
    "memory-taken": (shrink,),
    "before-drop": (remove,),
    "after-drop": (remove,),
}


@pytest.mark.parametrize(("point", "operation"),
                         [(point, operation) for point, operations in CRASHES.items() for operation in operations],
                         ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_no_drift_after_a_crash(fs, pair, point, operation):
    """The next daemon counts what is there; the limits hold as before."""
    tenant, other = pair
    sized(tenant / "file", 2 * fs.unit)
    (tenant / "dir").mkdir()
    sized(tenant / "dir" / "file", 2 * fs.unit)
    fs.daemon.stop()
    fs.daemon.start(DMEMFS_CRASH_AT=point)

    def client():
        try:
            operation(fs, tenant, other)
        except OSError:
            pass

    with Child(client) as child:
        child.wait()
    wait_until(lambda: not fs.daemon.running, f"the daemon has died at {point}")
    fs.daemon.ended_by_test = True
    fs.daemon.next()
    check_usage(fs.root)
    assert held(tenant)[0] + held(other)[0] in (2 * fs.unit, 4 * fs.unit, 8 * fs.unit)
    (other / "probe").touch()
    refused(errno.EDQUOT, os.truncate, other / "probe", 4 * fs.unit + 1)


# --- the configuration ---

GROUPS = "\n[quota a]\npath=/tenants/a\nmax-bytes=64K\nmax-files=2\n\n[quota all]\npath=/tenants\nmax-files=4\n"


def configure(fs, groups):
    fs.daemon.config.write_text(fs.daemon.config.read_text().split("\n[quota")[0] + groups)


def reconfigure(fs, groups):
    fs.daemon.stop()
    configure(fs, groups)


@pytest.mark.page_sizes("4K")
def test_configured_limits_are_set_at_the_start(fs):
    sized(fs / "file", 2)
    reconfigure(fs, GROUPS)
    fs.daemon.start()
    tenant = fs / "tenants" / "a"
    assert tenant.stat().st_mode & 0o7777 == 0o755
    assert (os.getxattr(tenant, MAX_BYTES), os.getxattr(tenant, MAX_FILES)) == (b"64K", b"2")
    refused(errno.EDQUOT, sized, tenant / "file", (64 << 10) + 1)
    limit(tenant, max_bytes="1M")  # holds until the next start
    limit(fs / "tenants", max_bytes="1M")
    os.truncate(tenant / "file", 100 << 10)
    reconfigure(fs, GROUPS)
    fs.daemon.start()
    assert os.getxattr(tenant, MAX_BYTES) == b"64K"
    refused(errno.ENODATA, os.getxattr, fs / "tenants", MAX_BYTES)
    refused(errno.EDQUOT, sized, tenant / "file", 101 << 10)
    reconfigure(fs, "")
    fs.daemon.start()
    assert os.getxattr(tenant, MAX_BYTES) == b"64K"  # a limit stays until it is removed
    check_usage(fs.root)


@pytest.mark.page_sizes("4K")
def test_configured_limit_that_cannot_be_is_said(fs):
    (fs / "tenants").mkdir()
    path = sized(fs / "tenants" / "a", 2)
    for prepare, because in ((lambda: None, "is not a directory"),
                             (lambda: (path.unlink(), path.mkdir(), os.link(sized(path / "x", 0), fs / "y")),
                              "hard links lead out of it")):
        prepare()
        reconfigure(fs, GROUPS)
        fs.daemon.expected.append(r"\[quota a\]: /tenants/a: " + because)
        with pytest.raises(DaemonError):
            fs.daemon.start()
        fs.daemon.process.wait()
        fs.daemon.process = None
        configure(fs, "")
        fs.daemon.start()


# --- many at once ---

@pytest.mark.timeout(120)
def test_many_at_once_never_pass_a_limit_and_leave_no_drift(fs):
    """Growth, removal, renames across trees and changes of the limits, in trees in trees."""
    places = [fs / "a", fs / "a" / "inner", fs / "b", fs / "b" / "plain"]
    for place in places:
        place.mkdir()
    limit(fs / "a", max_bytes=6 * fs.unit, max_files=20)
    limit(fs / "a" / "inner", max_bytes=3 * fs.unit)
    limit(fs / "b", max_bytes=5 * fs.unit, max_files=8)
    harmless = {getattr(errno, name) for name in
                "ENOENT EEXIST EDQUOT EXDEV ENOSPC EISDIR ENOTDIR ENOTEMPTY EINVAL ESTALE EPERM ENODATA".split()}
    seconds = 5

    def work(worker):
        random.seed(worker)

        def name():
            return random.choice(places) / f"n{random.randrange(5)}"

        def grow_open_file():
            with opened(name(), os.O_RDWR | os.O_CREAT) as fd:
                os.ftruncate(fd, random.randrange(4 * fs.unit))
                if random.random() < 0.3:
                    os.unlink(name())
                os.pwrite(fd, b"x" * 5000, random.randrange(2 * fs.unit))

        actions = (
            grow_open_file, grow_open_file,
            lambda: os.truncate(name(), random.randrange(4 * fs.unit)),
            lambda: os.rename(name(), name()),
            lambda: renameat2(name(), name(), RENAME_EXCHANGE),
            lambda: os.link(name(), name()),
            lambda: os.unlink(name()),
            lambda: name().mkdir(),
            lambda: name().rmdir(),
            lambda: limit(name(), max_bytes=random.choice((0, fs.unit, 4 * fs.unit))),
            lambda: limit(places[3], max_files=random.choice((0, 3))),
        )
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                random.choice(actions)()
            except OSError as error:
                if error.errno not in harmless:
                    raise
            for place, most in ((fs / "a", 6), (fs / "b", 5)):
                assert used(place)[0] <= most * fs.unit

    children = [Child(work, worker) for worker in range(8)]
    try:
        for child in children:
            child.wait(timeout=60)
    finally:
        for child in children:
            child.kill()
    check_usage(fs.root)
    fs.daemon.kill()
    wait_until(lambda: not fs.daemon.running, "the daemon is dead")
    fs.daemon.next()
    check_usage(fs.root)
