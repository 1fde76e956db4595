# SPDX-License-Identifier: GPL-2.0-or-later
"""
Tests of the installed unit under systemd as the first process of this machine. ../lab/test_systemd.py boots a VM for
them.

Environment: DMEMFS_DESTDIR has what `meson install` installs; DMEMFS_BACKEND and DMEMFS_MODULE as for other tests.
"""

import os
import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.children import Child
from helpers.mount import wait_until
from helpers.processes import freeze
from service.place import CONFIG, PFN, ROOT, device, guest, load, use_module, write_config
from service.unit import UNIT, Unit

SCALE = float(os.environ.get("DMEMFS_TEST_SCALE", "1"))
WATCHDOG = 2 * SCALE


@pytest.fixture(scope="session")
def unit():
    """The installed unit with a shorter watchdog. It is not started."""
    subprocess.run(["cp", "-r", os.environ["DMEMFS_DESTDIR"] + "/.", "/"], check=True)
    use_module()
    ROOT.mkdir(exist_ok=True)
    write_config()
    found = Unit()
    found.configure(WatchdogSec=WATCHDOG)
    return found


@pytest.fixture
def running(unit):
    """The started unit. The mount has no files but those of the test."""
    if not unit.is_active():
        unit.start()
    yield unit
    write_config()
    if not unit.is_active():
        unit.start()
    assert os.listdir(ROOT) == []
    unit.check_log()


def test_start_ends_when_the_mount_answers(unit, record_property):
    began = time.monotonic()
    unit.start()
    record_property("start", f"{time.monotonic() - began:.2f} s")
    assert os.statvfs(ROOT).f_blocks > 0
    assert unit.show("StatusText").startswith(f"Serving {ROOT}: ")
    assert unit.show("NFileDescriptorStore") == "1"
    assert "fuse.dmemfs" in Path("/proc/1/mounts").read_text()
    unit.check_log()


def test_confinement(running):
    status = Path(f"/proc/{running.pid}/status").read_text()
    capabilities = 1 << 21 | 1 << 17  # CAP_SYS_ADMIN, CAP_SYS_RAWIO (linux/capability.h)
    assert int(re.search(r"^CapBnd:\s+(\w+)", status, re.MULTILINE)[1], 16) == capabilities
    assert re.search(r"^Seccomp:\s+2", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1", status, re.MULTILINE)
    if PFN:  # a container cannot raise them
        limits = Path(f"/proc/{running.pid}/limits").read_text()
        assert re.search(r"^Max locked memory +67108864 ", limits, re.MULTILINE)
        assert Path(f"/proc/{running.pid}/oom_score_adj").read_text() == "-900\n"


# --- what nobody may notice ---

def restart(unit):
    unit.systemctl("restart")


def reload(unit):
    pid = unit.pid
    unit.systemctl("reload")
    assert unit.pid == pid


def kill(unit):
    """The daemon crashes."""
    with unit.replaced():
        unit.signal("KILL")


def terminate(unit):
    """SIGTERM, which another process may send."""
    with unit.replaced():
        unit.signal("TERM")


def stop_process(unit):
    """All threads stop, so that only the watchdog finds out."""
    with unit.replaced():
        freeze(unit.pid)


DISTURBANCES = {function.__name__: function for function in (restart, reload, kill, terminate, stop_process)}


@pytest.mark.parametrize("name", DISTURBANCES)
def test_clients_see_a_pause(running, name, record_property):
    mounted = device()
    with guest("vm1") as path:
        with load(record_property):
            DISTURBANCES[name](running)
        assert device() == mounted
    assert path.read_bytes()[:6] == b"after "
    path.unlink()
    assert running.show("NFileDescriptorStore") == "1"
    if name == "stop_process":
        assert "Watchdog timeout" in running.log()
        running.expect("Watchdog timeout|Failed with result 'watchdog'")


def test_main_loop_that_hangs(running):
    """
    The daemon still serves requests, but memory of removed files does not become free. So the client here removes
    none.
    """
    def run(pipe):
        while not pipe.poll():
            path.write_bytes(b"x")
            assert path.read_bytes() == b"x"

    path = ROOT / "file"
    with Child(run, with_pipe=True) as child:
        with running.halted_main_loop(), running.replaced():
            pass
        child.pipe.send("end")
        child.wait()
    path.unlink()
    running.expect("Watchdog timeout|Failed with result 'watchdog'")


def test_many_crashes_in_a_row(running):
    """systemd's limit of restarts is not reached: if systemd gave up, clients would see an error."""
    with load():
        for _ in range(8):
            kill(running)


def test_wrong_configuration(running):
    """A reload is refused and changes nothing. After a restart clients wait until the configuration is corrected."""
    good = CONFIG.read_text()
    mounted = device()
    with load():
        CONFIG.write_text(good + "\nbananas=1\n")
        assert "bananas" in running.fails("reload")
        os.statvfs(ROOT)
        running.fails("restart")
        time.sleep(2)
        CONFIG.write_text(good)
        wait_until(running.is_active, "the daemon is back by itself", 30 * SCALE)
    assert device() == mounted
    running.expect("bananas|status=1/FAILURE|Reload failed|Failed with result .exit-code.|Failed to start")


# --- for good ---

def test_stop_unmounts_and_start_brings_everything_back(running):
    (ROOT / "file").write_bytes(b"kept")
    running.systemctl("stop")
    assert device() is None
    assert running.show("ActiveState") == "inactive"
    assert running.show("NFileDescriptorStore") == "0"
    assert os.listdir(ROOT) == []
    running.start()
    assert (ROOT / "file").read_bytes() == b"kept"
    (ROOT / "file").unlink()


def test_stop_while_a_guest_runs(running):
    """The guest keeps its memory, and the log says so."""
    with guest("vm1") as path:
        running.systemctl("stop")
        assert device() is None
        assert "files are in use: processes that map them keep that memory" in running.log()
        running.start()
        assert path.read_bytes()[:6] == b"before"
    assert path.read_bytes()[:6] == b"after "
    path.unlink()


def test_stop_while_the_daemon_hangs(running):
    """systemd kills the daemon at its time limit. No dead mount stays."""
    running.configure(WatchdogSec=0, TimeoutStopSec=2 * SCALE)
    running.systemctl("restart")
    with running.halted_main_loop():
        running.systemctl("stop")
    running.configure(WatchdogSec=WATCHDOG)
    assert device() is None
    running.expect("timed out|timeout|Failed with result|Killing")
    running.start()


def test_unmount_is_a_stop(running):
    """It is refused while a process uses a file. After it, systemd does not start the daemon again."""
    with guest("vm1") as path:
        done = subprocess.run(["fusermount3", "-u", ROOT], capture_output=True, text=True, check=False)
        assert done.returncode and "busy" in done.stderr
    path.unlink()
    subprocess.run(["fusermount3", "-u", ROOT], check=True)
    wait_until(lambda: running.show("ActiveState") == "inactive", "the unit has stopped", 10 * SCALE)
    time.sleep(2)
    assert running.show("ActiveState") == "inactive" and device() is None


def test_restart_of_a_stopped_unit(running):
    running.systemctl("stop")
    running.systemctl("restart")
    assert device() is not None


# --- fstab ---

@pytest.fixture
def helper(running):
    """mount.fuse.dmemfs is where mount(8) looks, and the unit is stopped."""
    running.systemctl("stop")
    link = Path("/sbin/mount.fuse.dmemfs")
    if not link.exists():
        link.symlink_to(next(Path("/usr/local").glob("*bin/mount.fuse.dmemfs")))
    yield
    subprocess.run(["umount", "-l", ROOT], check=False, stderr=subprocess.DEVNULL)


@contextmanager
def fstab():
    table = Path("/etc/fstab")
    before = table.read_text() if table.exists() else ""
    table.write_text(f"{before}\n{CONFIG} {ROOT} fuse.dmemfs defaults,nofail 0 0\n")
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    try:
        yield
    finally:
        table.write_text(before)
        subprocess.run(["systemctl", "daemon-reload"], check=True)


@contextmanager
def in_use():
    """The mount answers. The block must unmount it, and then its daemon ends."""
    (ROOT / "file").write_bytes(b"x")
    (ROOT / "file").unlink()
    pid = int(Path("/var/lib/dmemfs/lock").read_text().split()[0])
    yield
    assert device() is None
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the daemon has ended", 20 * SCALE)


@pytest.mark.parametrize("mount, unmount", [
    (f"mount -t fuse.dmemfs {CONFIG} {ROOT}", f"umount {ROOT}"),
    (f"mount {ROOT}", f"umount {ROOT}"),
    ("systemctl start mnt-dmemfs.mount", "systemctl stop mnt-dmemfs.mount"),
], ids=["command", "fstab", "systemd"])
def test_mount(helper, mount, unmount):
    with fstab():
        subprocess.run(mount.split(), check=True)
        with in_use():
            subprocess.run(unmount.split(), check=True)


def test_device_of_the_module():
    if PFN:
        status = os.stat("/dev/dmemfs")
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o600, 0, 0)
        udev = subprocess.run(["udevadm", "test", "--action=add", "/sys/class/misc/dmemfs"], capture_output=True,
                              text=True, check=True)
        assert "60-dmemfs.rules" in udev.stdout + udev.stderr


def test_exposure(unit):
    """By systemd's own scale from 0 to 10. A service that mounts and owns a device cannot reach 0."""
    said = subprocess.run(["systemd-analyze", "security", UNIT], capture_output=True, text=True, check=True).stdout
    assert float(re.search(r"exposure level for \S+: ([0-9.]+)", said)[1]) < 4
