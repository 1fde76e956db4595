# SPDX-License-Identifier: GPL-2.0-or-later
"""
./quickstart refuses a machine with the words of dmemfsctl doctor, before it downloads or installs anything; reads whole lines; ends soon
when it is told to.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from helpers.control import FOUND
from helpers.machine import two_nodes
from helpers.mount import wait_until
from helpers.processes import processes_naming

QUICKSTART = Path(__file__).parents[2] / "quickstart"
# A release and the configuration of its kernel, and which check of doctor finds the problem.
MACHINES = {
    "kernel": ("6.1.0-49-amd64", "CONFIG_FUSE_FS=m\n"),
    "fuse": ("6.12.5-amd64", "CONFIG_FUSE_FS=m\n# CONFIG_FUSE_PASSTHROUGH is not set\n"),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
@pytest.mark.parametrize("check", MACHINES)
def test_it_says_what_doctor_says(ctl, work, check):
    release, config = MACHINES[check]
    machine = two_nodes(work / "root")
    machine.write("proc/sys/kernel/osrelease", f"{release}\n")
    machine.write(f"boot/config-{release}", config)
    machine.write("bin/uname", f'#!/bin/sh\n[ "$1" = -r ] && echo {release} || echo x86_64\n').chmod(0o755)
    machine.write("dev/fuse", "")
    found = ctl.json("doctor", "--root", machine.root, status=FOUND)["findings"]
    (problem,) = (finding for finding in found if finding["check"] == check and finding["level"] == "problem")
    cache = work / "cache"
    environment = {**os.environ, "PATH": f"{machine.root}/bin:{os.environ['PATH']}", "DMEMFS_CACHE": str(cache)}
    # In a mount namespace of its own, whose /boot is that of the machine.
    done = subprocess.run(["unshare", "--mount", "sh", "-c", 'mkdir -p /boot && mount --bind "$1" /boot && exec "$2"', "sh",
                           machine.root / "boot", QUICKSTART], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, env=environment, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"quickstart: {problem['text']}: {problem['remedy']}\n"
    assert not cache.exists()


def test_it_reads_whole_lines_of_the_console(work):
    """The guest may be in the middle of one."""
    function = re.search(r"^console_value\(\)\n\{\n.*?^\}\n", QUICKSTART.read_text(), re.M | re.S)[0]
    command = ["bash", "-c", f"{function}work=$1\nconsole_value host-token", "bash", work]

    def value(console):
        (work / "console").write_bytes(console)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert value(b"guest-token 12ab\r\nhost-token 4057e0") == ""
    assert value(b"guest-token 12ab\r\nhost-token 4057e0f1\r\n") == "4057e0f1\n"


@pytest.fixture
def silent_guest(dmemfsd, work):
    """A quickstart with this daemon, that has nothing to download or to compile, and whose QEMU never prints a token."""
    top = work / "top"
    programs = {"tests/setup/deps": "", "tests/setup/fetch-libfuse": "",
                "tests/setup/build": f'echo "$@" >{work}/built',
                "tests/setup/fetch-kernel": f"echo {work}", "tests/quickstart/make-initramfs": ": >$1",
                "bin/qemu-system-x86_64": f'echo "$@" >{work}/started.new; mv {work}/started.new {work}/started\n'
                                          f'exec tail -f /dev/null {work}/qemu'}
    for name, script in programs.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    (work / "qemu").touch()
    for name in ("common.sh", "children.sh"):
        shutil.copy(QUICKSTART.parent / "tests/setup" / name, top / "tests/setup")
    (top / "build/fuse-daemon").mkdir(parents=True)
    (top / "build/fuse-daemon/dmemfsd").symlink_to(dmemfsd)
    return shutil.copy(QUICKSTART, top), {**os.environ, "PATH": f"{top}/bin:{os.environ['PATH']}"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_it_ends_soon_while_the_guest_boots(silent_guest, work, number):
    program, environment = silent_guest
    started = work / "started"
    with subprocess.Popen([program], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env=environment) as process:
        try:
            wait_until(lambda: started.exists() or process.poll() is not None, "the guest boots", timeout=30)
            assert process.poll() is None, process.stderr.read()
            assert re.search(r" -append .*\bno_timer_check\b", started.read_text()), "its kernel panics on a busy machine"
            place = re.search(r"mem-path=(\S+)/mnt/vm1", started.read_text())[1]
            assert processes_naming(f"{place}/dmemfsd.conf")
            assert (work / "built").read_text().endswith("/build -- fuse-daemon/dmemfsd\n"), "what it runs, and nothing else"
            process.send_signal(number)
            began = time.monotonic()
            _, said = process.communicate(timeout=10)
            took = time.monotonic() - began
        finally:
            # It ends by itself, with all that it has made, when its guest is gone.
            for pid in processes_naming(f"{work}/qemu"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    assert (process.returncode, said) == (128 + number, "")
    assert took < 5
    assert not Path(place).exists() and not processes_naming(place) and not processes_naming(f"{work}/qemu")
