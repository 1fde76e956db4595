# SPDX-License-Identifier: GPL-2.0-or-later
"""./quickstart refuses a machine with the words of dmemfsctl doctor, before it downloads or installs anything; reads whole lines."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from helpers.control import FOUND
from helpers.machine import two_nodes

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
