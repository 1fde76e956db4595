# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that the daemon lends to the host, and takes back when a file needs it. The host has all of its own memory at the end."""

import errno
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import pytest

import silent_fs
from device import Device
from helpers.accounting import read_stats
from helpers.backends import GIB, MIB
from helpers.children import Child
from helpers.control import Control
from helpers.counting import CountingGuest, make_disk
from helpers.daemon import control_program
from helpers.expect import refused
from helpers.host_memory import meminfo
from helpers.mount import wait_until
from helpers.syscalls import Mapping, opened
from lending import Load, build_load, states, vmstat
from mount.test_durable import LENDING, TAKING

SIZE = 2 * GIB
WAIT = 300
STAYS = "stay lent to the host until the next start"

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.timeout(900),
              pytest.mark.dmemfs(size=SIZE, lend="on", lend_reserve="0", lend_idle="3", take_timeout="3600")]


@pytest.fixture(autouse=True)
def accounts():
    """Before and after there is a daemon: the host has as much memory afterwards as before, and nobody was killed."""
    with Device() as device:
        device.clear()
    before = meminfo("MemTotal"), vmstat("oom_kill")
    yield
    with Device() as device:
        left = [(found.start, found.length) for found in device.lent()]
    assert not left and (meminfo("MemTotal"), vmstat("oom_kill")) == before


@pytest.fixture
def control(dmemfsd, work):
    return Control(control_program(dmemfsd), work)


@pytest.fixture(scope="module")
def load_program(tmp_path_factory):
    return build_load(tmp_path_factory.mktemp("lend"))


@pytest.fixture
def load(load_program, reserved):
    """load(kind, mib, unit): a process whose memory counts that lies in this unit."""
    loads = []

    def start(kind, mib, unit, length=GIB):
        loads.append(Load(load_program, kind, mib, reserved[0][0] + unit * GIB, length))
        return loads[-1]

    yield start
    for started in loads:
        started.end()


def lent(fs):
    return fs.stats()["lent_bytes"]


def wait_lent(fs, size):
    wait_until(lambda: lent(fs) == size, f"{size >> 20} MiB are lent", WAIT)


def set_key(daemon, key, value):
    text = daemon.config.read_text()
    daemon.config.write_text(re.sub(f"^{key}=.*$", f"{key}={value}", text, flags=re.M))


def reads_zero(path):
    with opened(path) as fd:
        size = os.fstat(fd).st_size
        return not any(any(os.pread(fd, 4096, offset)) for offset in range(0, size, MIB))


def use_lent_memory(load):
    """The host writes to it, and gives it back to its kernel."""
    process = load("huge", 700, 0, SIZE)
    assert process.inside > 100_000
    assert process.check()[1] == 0
    process.end()


def test_idle_memory_serves_the_host_until_a_file_needs_it(fs, reserved, load, control):
    before = meminfo("MemTotal")
    wait_lent(fs, SIZE)
    wait_until(lambda: meminfo("MemTotal") == before + SIZE, "all of it is online", WAIT)
    assert set(states(reserved[0][0], SIZE)) == {"online"}
    assert fs.free() == SIZE
    use_lent_memory(load)
    shown = control.text("status", fs.root)
    assert re.search(r"^  lent +2 GiB +100", shown, re.M) and "NOT BACK" not in shown
    assert "+ 2 GiB are lent to the host" in control.text("map", "--color", "never", fs.root)
    assert "lent 2 GiB" in control.text("top", "--iterations", "1", fs.root)
    path = fs.make_file("vm1", size=SIZE - 100 * MIB)
    assert lent(fs) == 0 and meminfo("MemTotal") == before and reads_zero(path)
    with opened(path) as fd, Mapping(fd, 4 * MIB) as mapping:
        mapping.write(MIB, b"guest")
    path.unlink()
    wait_lent(fs, SIZE)


def test_a_touch_has_its_memory_promised(fs):
    """Sizing takes back what the file may touch."""
    wait_lent(fs, SIZE)
    path = fs.make_file("vm1")
    os.setxattr(path, "dmemfs.alloc", b"demand")
    os.truncate(path, GIB + 2 * MIB)
    assert lent(fs) == 0
    with opened(path) as fd, Mapping(fd, GIB) as mapping:
        mapping.write(GIB // 2, b"guest")
    path.unlink()


def test_what_is_pinned_is_passed_over(fs, load, control):
    """A pipe holds pages of one unit. The other one serves a file; a second file has no memory until the pipe is gone."""
    wait_lent(fs, SIZE)
    process = load("vmsplice", 1, 0, SIZE)
    assert process.inside
    path = fs.make_file("vm1", size=GIB - 4 * MIB)
    begun = time.monotonic()
    refused(errno.ENOSPC, fs.make_file, "vm2", size=GIB - 4 * MIB)
    assert time.monotonic() - begun < WAIT and lent(fs) == GIB
    assert re.search(r"LENT, NOT BACK.*\n.* 1 GiB +a process has pinned some of it", control.text("status", fs.root))
    process.end()
    os.truncate(fs / "vm2", GIB - 4 * MIB)
    assert lent(fs) == 0
    path.unlink()


def test_a_request_that_waits_is_left_to_the_next_daemon(kept):
    """A page that is locked for long delays the take. The daemon ends all the same, and the next one serves the request."""
    wait_lent(kept, SIZE)
    path = kept.make_file("vm1")
    silent = kept.daemon.work / "silent"
    silent.mkdir()

    def size(pipe):
        pipe.recv()
        os.truncate(path, SIZE - 100 * MIB)

    with Child(size, with_pipe=True) as child:
        with silent_fs.mounted(silent) as (server, file):
            reader = subprocess.Popen(["taskset", "-c", "0", "head", "-c", "1", file], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)  # on the node whose memory is lent
            assert server.was_read.wait(WAIT)
            child.pipe.send("go")
            wait_until(lambda: kept.stats()["lent_taking_bytes"], "it is waited for", WAIT)
            os.kill(kept.daemon.pid, signal.SIGTERM)
            kept.daemon.process.wait(60)
            kept.daemon.ended_by_test = True
            kept.daemon.take_over()
            assert lent(kept)
        child.wait(WAIT)
    reader.wait(WAIT)
    assert path.stat().st_size == SIZE - 100 * MIB and reads_zero(path)
    path.unlink()


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86")
def test_a_guest_starts_with_its_memory_lent(fs, work):
    wait_lent(fs, SIZE)
    with CountingGuest(work, fs / "vm1", "-drive", f"file={make_disk(work / 'disk')},format=raw,if=ide,snapshot=on") as guest:
        guest.wait_for(3)
        assert lent(fs) == SIZE - GIB
    (fs / "vm1").unlink()


@pytest.mark.parametrize("point", LENDING)
def test_the_daemon_dies_while_it_lends(daemon, load, point):
    """The next daemon lends on, or takes back; no file ever sees what the host had there."""
    daemon.start(DMEMFS_CRASH_AT=point)
    wait_until(lambda: not daemon.running, f"it dies at {point}", WAIT)
    daemon.kill()
    daemon.next()
    root = daemon.mountpoint
    wait_until(lambda: read_stats(root)["lent_bytes"] == SIZE, "all is lent", WAIT)
    use_lent_memory(load)
    daemon.kill()
    set_key(daemon, "lend", "off")
    daemon.next()
    wait_until(lambda: read_stats(root)["lent_bytes"] == 0, "all is taken back", WAIT)
    with open(root / "vm1", "wb") as file:
        file.truncate(SIZE)
    assert reads_zero(root / "vm1")
    os.unlink(root / "vm1")
    daemon.stop()


@pytest.mark.parametrize("point", TAKING)
def test_the_daemon_dies_while_it_takes_back(daemon, load, point):
    daemon.start(DMEMFS_CRASH_AT=point)
    root = daemon.mountpoint
    wait_until(lambda: read_stats(root)["lent_bytes"] == SIZE, "all is lent", WAIT)
    use_lent_memory(load)

    def size():
        with suppress(OSError), open(root / "vm1", "wb") as file:
            file.truncate(GIB)

    with Child(size) as child:
        wait_until(lambda: not daemon.running, f"it dies at {point}", WAIT)
        daemon.kill()
        subprocess.run(["umount", "--lazy", root], check=True)
        child.wait()
    daemon.next()
    with open(root / "vm1", "wb") as file:
        file.truncate(SIZE)
    assert reads_zero(root / "vm1") and read_stats(root)["lent_bytes"] == 0
    os.unlink(root / "vm1")
    daemon.stop()


def test_prepare_kexec_takes_all_back(fs, load, control):
    wait_lent(fs, SIZE)
    process = load("vmsplice", 1, 0, SIZE)
    assert process.inside
    fs.daemon.kill()
    subprocess.run(["umount", "--lazy", fs.root], check=True)
    control.fails("prepare-kexec", fs.daemon.state_dir,
                  says=["memory stays lent to the host: 0x", "a process has pinned some of it", "try again"])
    process.end()
    assert control.text("prepare-kexec", fs.daemon.state_dir).startswith("dmemfs_kexec=")
    with Device() as device:
        assert not list(device.lent())
    fs.daemon.next()


def test_a_stop_takes_back_what_comes(fs, load, daemon):
    wait_lent(fs, SIZE)
    process = load("vmsplice", 1, 0, SIZE)
    assert process.inside
    daemon.expected.append(STAYS)
    daemon.stop()
    with Device() as device:
        assert 0 < sum(found.length for found in device.lent()) <= SIZE
    process.end()
    set_key(daemon, "lend", "off")
    daemon.start()
    wait_lent(fs, 0)


@pytest.mark.expect_log("stays claimed until its lent memory is taken back")
def test_a_region_that_is_removed_is_taken_back(daemon, reserved):
    before = daemon.config.read_text()
    groups = "".join(f"[region node{number}]\nstart={start}\nsize={size}\npages=none\n"
                     for number, (start, size) in enumerate(reserved[:2]))
    daemon.config.write_text(before.partition("[region ")[0] + groups)
    daemon.start()
    wait_until(lambda: read_stats(daemon.mountpoint)["lent_bytes"] == sum(size for _, size in reserved[:2]), "all is lent", WAIT)
    daemon.kill()
    daemon.config.write_text(before)
    daemon.next()
    wait_until(lambda: "of an earlier configuration is released" in daemon.log, "it is released", WAIT)
    daemon.stop()
