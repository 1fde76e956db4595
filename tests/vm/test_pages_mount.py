# SPDX-License-Identifier: GPL-2.0-or-later
"""Files whose memory has compound pages: what the kernel and devices can do with it, and who gets it while they hold it."""

import ctypes
import errno
import os
import re
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from helpers.backends import GIB, MIB
from helpers.children import Child
from helpers.control import Control
from helpers.daemon import DaemonError
from helpers.expect import refused
from helpers.mount import wait_until
from helpers.quota import limit, used
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, Mapping, fallocate, opened
from holder import DISK
from test_module import unload, unloaded

PAGE = 4096
BYTES = bytes(range(256)) * (MIB // 256)
HELD = "a device still holds"
LIBC = ctypes.CDLL(None, use_errno=True)
WAIT = 90  # seconds: the daemon asks up to once a minute

pytestmark = [pytest.mark.page_sizes("2M", "1G"), pytest.mark.dmemfs(size=2 * GIB)]


@pytest.fixture
def pages(page_size):
    return page_size


@pytest.fixture
def control(dmemfsd, work):
    return Control(dmemfsd.parent / "dmemfsctl" / "dmemfsctl", work)


def buffer(mapping, offset, length):
    """The very memory, for system calls."""
    return (ctypes.c_char * length).from_address(mapping.address + offset)


def begins_with_zeroes(path, offset=0):
    with opened(path) as fd:
        return not any(os.pread(fd, MIB, offset))


def pinned(fs):
    return fs.stats()["pinned_bytes"]


def can_write(fd):
    try:
        return os.pwrite(fd, b"x", 0) == 1
    except OSError as error:
        assert error.errno == errno.ENOSPC
        return False


def wait_unpinned(fs):
    wait_until(lambda: pinned(fs) == 0, "the daemon has found that nothing is held any more", WAIT)


def hold_page(fs, hold, path, offset=0):
    """A process that holds a page of the file by io_uring, and has neither file nor mapping any more."""
    with opened(path) as fd:
        holder = hold(fd, fs.unit, offset, PAGE)
    assert holder.ask("leave") == "left"
    return holder


def make_owned(fs, path, how):
    """A file of a unit, which it can give up by @how."""
    path.touch()
    if how == "punch":
        os.setxattr(path, "dmemfs.alloc", b"demand")
    os.truncate(path, fs.unit)
    with opened(path) as fd:
        os.pwrite(fd, b"own", 0)


def give_up(fs, path, how):
    if how == "unlink":
        path.unlink()
    elif how == "truncate":
        os.truncate(path, 0)
    else:
        with opened(path) as fd:
            fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, fs.unit)


def test_direct_io(fs, disk):
    path = fs.make_file("vm1", BYTES, size=fs.unit)
    assert os.getxattr(path, "dmemfs.pages") == os.getxattr(path, "dmemfs.page_size")
    with opened(path) as fd, Mapping(fd, fs.unit, skew=0) as mapping:
        assert os.pwritev(disk, [buffer(mapping, 0, MIB)], 0) == MIB
        assert os.preadv(disk, [buffer(mapping, MIB, MIB)], 0) == MIB
        assert mapping.read(MIB, MIB) == BYTES


class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def test_memory_of_another_process(fs):
    with opened(fs.make_file("vm1", size=fs.unit)) as fd, Mapping(fd, fs.unit, skew=0) as mapping:
        parent = os.getpid()

        def write():
            local = ctypes.create_string_buffer(BYTES, MIB)
            near, far = IoVec(ctypes.addressof(local), MIB), IoVec(mapping.address + PAGE, MIB)
            assert LIBC.process_vm_writev(parent, ctypes.byref(near), 1, ctypes.byref(far), 1, 0) == MIB

        with Child(write) as child:
            child.wait()
        assert mapping.read(PAGE, MIB) == BYTES


@pytest.mark.expect_log(HELD)
@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("how", ["unlink", "truncate", "punch"])
def test_memory_is_nobodys_while_it_is_held(fs, hold, control, how):
    others = fs.capacity - fs.unit
    path = fs / "vm1"
    make_owned(fs, path, how)
    start = fs.extents(path)[0].start
    holder = hold_page(fs, hold, path)
    give_up(fs, path, how)
    wait_until(lambda: pinned(fs) == fs.unit, "the daemon has seen that it is held")
    (pin,) = control.json("status", fs.root)["mounts"][0]["pinned"]
    assert (pin["start"], pin["length_bytes"]) == (start, fs.unit)
    assert pin["name"] == ("vm1" if how == "unlink" else "")
    assert f"{start:#x}" in control.text("status", fs.root)
    if how != "punch":
        refused(errno.ENOSPC, fs.make_file, "large", size=fs.capacity)
    other = fs.make_file("other", size=others)
    assert start not in {run.start for run in fs.extents(other)}
    assert holder.ask(f"fill {DISK}") == str(PAGE)  # the device has its memory, and nobody sees it
    assert begins_with_zeroes(other)
    assert holder.ask("release") == "released"
    wait_unpinned(fs)
    other.unlink()
    if how == "punch":
        path.unlink()
    assert fs.wait_free(fs.capacity) == fs.capacity
    large = fs.make_file("large", size=fs.capacity)
    (offset,) = [run.offset + start - run.start for run in fs.extents(large) if run.start <= start < run.start + run.length]
    assert begins_with_zeroes(large, offset)


@pytest.mark.expect_log(HELD)
def test_quota_counts_what_is_held(fs, hold):
    """Else a tenant would get all memory: by having one file after the other held, and removing it."""
    tenant = fs / "tenant"
    tenant.mkdir()
    limit(tenant, max_bytes=fs.unit)
    path = fs.make_file("tenant/vm1", size=fs.unit)
    holder = hold_page(fs, hold, path)
    path.unlink()
    wait_until(lambda: pinned(fs) == fs.unit, "the daemon has seen that it is held")
    assert used(tenant)[0] == fs.unit
    refused(errno.EDQUOT, fs.make_file, "tenant/vm2", size=fs.unit)
    holder.ask("release")
    wait_unpinned(fs)
    wait_until(lambda: used(tenant)[0] == 0, "the quota is free again")
    fs.make_file("tenant/vm2", size=fs.unit)


@pytest.mark.expect_log(HELD)
@pytest.mark.dmemfs(size=2 * GIB, alloc="demand")
def test_held_memory_is_not_touched_again(fs, hold):
    """As much of a file as is held stays a hole: SIGBUS, and memory of others is safe."""
    path = fs.make_file("vm1", size=fs.unit)
    with opened(path) as fd:
        os.pwrite(fd, b"x", 0)
    holder = hold_page(fs, hold, path)
    with opened(path) as fd:
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, fs.unit)
        assert pinned(fs) == fs.unit
        assert fs.stats()["promised_bytes"] == 0
        refused(errno.ENOSPC, os.pwrite, fd, b"x", 0)
        holder.ask("release")
        wait_unpinned(fs)
        wait_until(lambda: fs.stats()["promised_bytes"] == fs.unit, "it is promised again")
        # The file is told after the pool.
        wait_until(lambda: can_write(fd), "the file has memory again")


@pytest.mark.expect_log(HELD)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_next_daemon_knows_what_is_held(fs, hold, control, end):
    tenant = fs / "tenant"
    tenant.mkdir()
    limit(tenant, max_bytes=fs.capacity)
    path = fs.make_file("tenant/vm1", b"own", size=fs.unit)
    start, ino = fs.extents(path)[0].start, path.stat().st_ino
    holder = hold_page(fs, hold, path)
    path.unlink()
    wait_until(lambda: pinned(fs) == fs.unit, "the daemon has seen that it is held")
    (pin,) = control.json("status", fs.root)["mounts"][0]["pinned"]
    assert (pin["inode"], pin["name"], pin["pid"]) == (ino, "vm1", os.getpid())
    getattr(fs.daemon, end)()
    if end == "stop":
        assert "in use" in unload()[1]
        says = [f"a device still holds {fs.unit // MIB} MiB", f"{start:#x}", "end the process"]
        control.fails("prepare-kexec", fs.daemon.state_dir, says=says)
        time.sleep(2)
    fs.daemon.next()
    assert pinned(fs) == fs.unit
    assert control.json("status", fs.root)["mounts"][0]["pinned"] == [pin]
    assert end == "kill" or fs.stats()["pinned_oldest_seconds"] >= 2
    assert used(tenant)[0] == fs.unit
    refused(errno.ENOSPC, fs.make_file, "large", size=fs.capacity)
    holder.kill()
    wait_unpinned(fs)
    wait_until(lambda: used(tenant)[0] == 0, "the quota is free again")
    assert begins_with_zeroes(fs.make_file("large", size=fs.capacity))
    (fs / "large").unlink()
    fs.daemon.stop()
    assert "dmemfs" in control.text("prepare-kexec", fs.daemon.state_dir)
    fs.daemon.start()


@pytest.mark.parametrize(("point", "how"), [("shrunk", "truncate"), ("memory-taken", "truncate"), ("hole-committed", "punch"),
                                            ("hole-taken", "punch"), ("after-drop", "unlink"), ("pins-checked", "unlink")])
def test_crash_while_held_memory_is_given_up(fs, hold, control, point, how):
    """The next daemon knows which file had the memory, and whose quota it counts in."""
    tenant = fs / "tenant"
    tenant.mkdir()
    limit(tenant, max_bytes=fs.unit)
    path = tenant / "vm1"
    make_owned(fs, path, how)
    ino = path.stat().st_ino
    holder = hold_page(fs, hold, path)
    fs.daemon.stop()
    fs.daemon.expected.append(HELD)
    fs.daemon.start(DMEMFS_CRASH_AT=point)

    def give_up_and_crash():
        with suppress(ConnectionAbortedError):
            give_up(fs, path, how)

    with Child(give_up_and_crash) as child:
        child.wait()
    wait_until(lambda: not fs.daemon.running, "the daemon has died")
    fs.daemon.ended_by_test = True
    fs.daemon.next()
    for _ in range(2):
        wait_until(lambda: pinned(fs) == fs.unit, "the daemon has seen that it is held")
        (pin,) = control.json("status", fs.root)["mounts"][0]["pinned"]
        assert pin["inode"] == ino
        assert used(tenant)[0] == fs.unit
        refused(errno.EDQUOT, fs.make_file, "tenant/vm2", size=fs.unit)
        (tenant / "vm2").unlink()
        fs.daemon.stop()
        fs.daemon.start()
    holder.kill()
    wait_unpinned(fs)
    wait_until(lambda: used(tenant)[0] == (fs.unit if how == "punch" else 0), "only what the file may have is charged")


def configure(daemon, start, kinds, size=GIB):
    """Regions of this size, one after the other; None: no pages=."""
    text = re.sub(r"\[region .*", "", daemon.config.read_text(), flags=re.DOTALL)
    for number, kind in enumerate(kinds):
        text += f"[region r{number}]\nstart={start + number * size}\nsize={size}\n" + (f"pages={kind}\n" if kind else "")
    daemon.config.write_text(text)


@pytest.mark.page_sizes("2M")
def test_directories_choose(daemon, fs, reserved, disk):
    daemon.stop()
    configure(daemon, reserved[0][0], ["none", "2M"])
    daemon.start()
    (fs / "raw").mkdir()
    os.setxattr(fs / "raw", "dmemfs.pages", b"none")
    for name, kind, region in (("raw/vm1", b"none", 0), ("vm1", b"2M", 1)):
        path = fs.make_file(name, BYTES, size=4 * MIB)
        assert os.getxattr(path, "dmemfs.pages") == kind
        assert all(run.start // GIB == reserved[0][0] // GIB + region for run in fs.extents(path))
        with opened(path) as fd, Mapping(fd, 4 * MIB, skew=0) as mapping:
            assert mapping.read(0, MIB) == BYTES
            if region:
                assert os.pwritev(disk, [buffer(mapping, 0, MIB)], 0) == MIB
            else:
                refused(errno.EFAULT, os.pwritev, disk, [buffer(mapping, 0, MIB)], 0)
    refused(errno.ENOSPC, os.truncate, fs / "raw/vm1", GIB + 2 * MIB)
    assert "are free in regions with pages=none, where the file gets memory" in daemon.log
    for name in ("raw/vm1", "vm1"):
        (fs / name).unlink()
    (fs / "raw").rmdir()
    fs.wait_free(2 * GIB)
    daemon.stop()
    configure(daemon, reserved[0][0], ["2M", "2M"])
    daemon.start()


@pytest.mark.page_sizes("2M")
def test_held_memory_of_a_region_that_left_the_configuration(daemon, fs, hold, control, reserved):
    start = reserved[0][0]
    daemon.stop()
    configure(daemon, start, ["2M", "2M"])
    daemon.start()
    daemon.expected.append(HELD)
    path = fs.make_file("vm1", b"own", size=2 * MIB)
    held, ino = fs.extents(path)[0].start, path.stat().st_ino
    holder = hold_page(fs, hold, path)
    path.unlink()
    wait_until(lambda: pinned(fs) == 2 * MIB, "the daemon has seen that it is held")
    (pin,) = control.json("status", fs.root)["mounts"][0]["pinned"]
    daemon.stop()
    configure(daemon, start + (GIB if held < start + GIB else 0), ["2M"])
    daemon.expected.append("of an earlier configuration stays claimed")
    daemon.start()
    for _ in range(2):
        status = control.json("status", fs.root)["mounts"][0]
        assert status["pinned"] == [pin] and (pin["inode"], pin["start"]) == (ino, held)
        assert status["pinned_bytes"] == status["pinned_former_bytes"] == 2 * MIB
        assert (status["capacity_bytes"], status["free_bytes"]) == (GIB, GIB)
        assert re.search(r"pinned +2 MiB", control.text("status", fs.root))
        daemon.stop()
        daemon.start()
    holder.kill()
    wait_unpinned(fs)
    daemon.stop()
    configure(daemon, start, ["2M", "2M"])
    daemon.start()


@pytest.mark.page_sizes("2M")
def test_region_with_files_keeps_its_pages(daemon, fs, reserved):
    """As long as the module knows them. What the configuration does not say gives way, what it says is an error."""
    start = reserved[0][0]
    path = fs.make_file("vm1", b"kept", size=2 * MIB)
    daemon.stop()
    daemon.expected += ["overlaps it", "it has pages=2M, which cannot change"]
    configure(daemon, start, ["none", "2M"])
    with pytest.raises(DaemonError, match="a region that overlaps it"):
        daemon.start()
    configure(daemon, start, ["none"], 2 * GIB)
    with pytest.raises(DaemonError, match="it has pages=2M, which cannot change"):
        daemon.next()
    with unloaded():
        pass
    daemon.expected.append("1 files had other compound pages")
    daemon.next()
    assert (path.read_bytes()[:4], os.getxattr(path, "dmemfs.pages")) == (b"kept", b"none")
    daemon.stop()
    configure(daemon, start, [None], 2 * GIB)
    daemon.expected.append("keeps pages=none, because files are in it")
    daemon.start()
    assert (path.read_bytes()[:4], os.getxattr(path, "dmemfs.pages")) == (b"kept", b"none")
    path.unlink()
    fs.wait_free(2 * GIB)
    daemon.stop()
    daemon.start()
    assert os.getxattr(fs.root, "dmemfs.pages") == b"2M"


@pytest.mark.page_sizes("1G")
def test_region_gets_pages_that_its_files_fit(daemon, fs):
    """As on a host whose files are of the time when regions had no pages, and page-size=2M was the default."""
    os.setxattr(fs.root, "dmemfs.page_size", b"1G")
    daemon.stop()
    text = daemon.config.read_text()
    daemon.config.write_text(re.sub("page-size=1G", "page-size=2M", re.sub("pages=.*", "pages=none", text)))
    daemon.start()
    os.removexattr(fs.root, "dmemfs.page_size")
    path = fs.make_file("vm1", b"kept", size=6 * MIB)
    daemon.stop()
    with unloaded():
        pass
    daemon.config.write_text(re.sub("pages=.*", "", text))
    daemon.expected.append("files in it are not whole pages of 1G")
    daemon.start()
    assert (path.read_bytes()[:4], os.getxattr(path, "dmemfs.pages")) == (b"kept", b"none")
    path.unlink()
    fs.wait_free(2 * GIB)
    daemon.stop()
    daemon.start()
    assert os.getxattr(fs.root, "dmemfs.pages") == b"1G"


def test_ends_of_a_range_that_do_not_fit(daemon, reserved):
    start = reserved[0][0]
    text = re.sub(r"\[region .*", f"[region r]\nstart={start + MIB}\nsize={GIB}\npages=2M\n", daemon.config.read_text(),
                  flags=re.DOTALL)
    daemon.config.write_text(text)
    done = subprocess.run(daemon.command("--check-config"), capture_output=True, text=True, check=False)
    assert done.returncode and f"use start={start + 128 * MIB:#x} size={GIB // MIB - 128}M, or pages=none" in done.stderr


def test_check_config_of_reserved_ranges(daemon, reserved):
    """start=auto takes what fits; the laboratory reserves whole gigabytes."""
    daemon.config.write_text(re.sub(r"\[region .*", "[region r]\nstart=auto\n", daemon.config.read_text(), flags=re.DOTALL))
    done = subprocess.run(daemon.command("--check-config"), capture_output=True, text=True, check=True)
    assert done.stderr == "" and Path("/proc/cmdline").read_text().count("memmap=") == len(reserved)
