# SPDX-License-Identifier: GPL-2.0-or-later
"""
Limits and usage stay right after restarts, crashes and takeovers, with limits of the configuration, and with many
clients.
"""

import errno
import os
import random
import re
import subprocess
import time

import pytest

from helpers.children import Child
from helpers.expect import refused
from helpers.mount import wait_until
from helpers.quota import MAX_BYTES, MAX_FILES, check_usage, held, is_tree, limit, sized, used, wait_used
from helpers.syscalls import RENAME_EXCHANGE, link_fd, opened, renameat2


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
    """It counts no longer than a process uses it. Whether it still counts after the kill depends on the backend."""

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


def test_files_without_a_name_count_over_a_takeover(fs, tenant):
    fs.daemon.manager.keeps = True
    fs.daemon.stop()
    fs.daemon.start()
    inner = tenant / "inner"
    inner.mkdir()
    limit(inner, max_bytes=6 * fs.unit)

    def client(pipe):
        fd = os.open(inner / "file", os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, 3 * fs.unit)
        os.unlink(inner / "file")
        other = os.open(inner, os.O_RDWR | os.O_TMPFILE)
        os.ftruncate(other, 2 * fs.unit)
        pipe.send("ready")
        pipe.recv()
        refused(errno.EDQUOT, os.ftruncate, other, 4 * fs.unit)
        os.ftruncate(fd, 4 * fs.unit)
        link_fd(other, inner / "name")

    with Child(client, with_pipe=True) as child:
        assert child.receive() == "ready"
        fs.daemon.kill()
        fs.daemon.take_over()
        assert used(inner) == (5 * fs.unit, 0)
        assert used(tenant) == (5 * fs.unit, 1)
        child.pipe.send("go on")
        child.wait()
    wait_used(inner, (2 * fs.unit, 1))


def grow(fs, tenant, other):
    os.truncate(tenant / "file", 6 * fs.unit)


def shrink(fs, tenant, other):
    os.truncate(tenant / "file", 0)


def make(fs, tenant, other):
    (tenant / "new").mkdir()


def remove(fs, tenant, other):
    os.unlink(tenant / "file")


def move(fs, tenant, other):
    os.rename(tenant / "dir" / "file", other / "moved")


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
    """The next daemon computes the usage anew. The limits hold as before."""
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


def checked(dmemfsd, fs):
    """The output of --check-config, while a daemon serves or after it has died."""
    done = subprocess.run([dmemfsd, "--check-config", "--config", fs.daemon.config], capture_output=True, text=True,
                          timeout=30)
    assert done.returncode == 0, done
    return done.stderr


def make_file(tenant):
    sized(tenant, 2)


def make_symlink(tenant):
    tenant.symlink_to("elsewhere")


def make_links(tenant):
    tenant.mkdir()
    sized(tenant / "x", 0)
    os.link(tenant / "x", tenant.parent / "y")


def make_links_far_below(tenant):
    tenant.mkdir()
    (tenant / "b").mkdir()
    sized(tenant / "b" / "x", 0)
    os.link(tenant / "b" / "x", tenant / "z")
    os.link(tenant / "b" / "x", tenant.parent / "y")


@pytest.mark.page_sizes("4K")
@pytest.mark.parametrize("prepare, because", (
    (make_file, "is not a directory"),
    (make_symlink, "is not a directory"),
    (make_links, "hard links lead out of it"),
    (make_links_far_below, "hard links lead out of it"),
))
def test_configured_limit_that_a_tenant_makes_impossible_is_skipped(fs, dmemfsd, prepare, because):
    """The next daemon serves with all other limits, and logs which is not in force. --check-config says so before."""
    tenants = fs / "tenants"
    tenants.mkdir()
    prepare(tenants / "a")
    configure(fs, GROUPS)
    said = rf"\[quota a\]: not in force: /tenants/a: {because}"
    fs.daemon.expected.append(said)
    assert re.search(said, checked(dmemfsd, fs))
    fs.daemon.kill()
    assert re.search(said, checked(dmemfsd, fs))
    fs.daemon.next()
    assert re.search(said, fs.daemon.log)
    assert os.getxattr(tenants, MAX_FILES) == b"4"
    check_usage(fs.root)

    if (tenants / "a").is_dir():
        (tenants / "y").unlink()
    else:
        (tenants / "a").unlink()  # the start makes the directory
    assert checked(dmemfsd, fs) == ""
    fs.daemon.kill()
    assert checked(dmemfsd, fs) == ""
    fs.daemon.next()
    assert os.getxattr(tenants / "a", MAX_FILES) == b"2"


@pytest.mark.page_sizes("4K")
def test_configured_limit_without_room_for_its_directory_is_skipped(fs):
    """A tenant has removed the directory of a limit, and has used up the limit around it."""
    reconfigure(fs, GROUPS)
    fs.daemon.start()
    (fs / "tenants" / "a").rmdir()
    for i in range(4):
        sized(fs / "tenants" / str(i), 0)
    fs.daemon.expected.append(r"\[quota a\]: not in force: /tenants/a: cannot be made: the quota around it is full")
    fs.daemon.kill()
    fs.daemon.next()
    assert not (fs / "tenants" / "a").exists()
    refused(errno.EDQUOT, sized, fs / "tenants" / "4", 0)
    check_usage(fs.root)


# --- many at once ---

@pytest.mark.timeout(120)
def test_many_at_once_never_pass_a_limit_and_leave_no_drift(fs):
    """Clients grow, remove and rename files across nested trees, and change limits."""
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
