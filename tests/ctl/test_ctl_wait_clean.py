# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfsctl wait-clean, and the lines of status about zeroing."""

import os
import pty
import re
import subprocess

import pytest

from helpers.control import USAGE
from helpers.daemon import SANITIZERS

pytestmark = pytest.mark.page_sizes("4K")


def test_waits_until_all_is_clean(ctl, pool):
    assert ctl.text("wait-clean", pool.root) == f"{pool.root}: 64 MiB are free and clean\n"
    pool.make_file("file", size=16 << 20)
    assert ctl.json("wait-clean", pool.root) == {"mountpoint": str(pool.root), "clean_bytes": 48 << 20}
    text = ctl.text("status", pool.root)
    assert re.search(r"^    clean +48 MiB +75\.0 %$", text, re.MULTILINE)
    assert re.search(r"^    dirty +0 B +0\.0 %$", text, re.MULTILINE)


@pytest.mark.dmemfs(zero_rate="4M")
def test_gives_up_after_the_timeout(ctl, pool):
    ctl.fails("wait-clean", "--timeout", "1", pool.root, says=["not clean yet after 1 s"])
    (mount,) = ctl.json("status", pool.root)["mounts"]
    assert mount["clean_bytes"] + mount["dirty_bytes"] + mount["zeroing_bytes"] == mount["free_bytes"]
    assert 0 < mount["zeroing_rate"] <= 12 << 20
    assert re.search(r"^  zeroing .*iB/s$", ctl.text("status", pool.root), re.MULTILINE)


@pytest.mark.dmemfs(zero_in_advance="false")
def test_does_not_wait_for_what_nobody_does(ctl, pool):
    ctl.fails("wait-clean", pool.root, says=["64 MiB are dirty", "zero-in-advance=true"])


def test_bad_timeout(ctl, fs):
    ctl.fails("wait-clean", "--timeout", "-1", fs.root, status=USAGE, says=["--timeout -1"])


@pytest.mark.dmemfs(zero_rate="64M")
def test_bar_on_a_terminal(ctl, pool):
    screen, terminal = pty.openpty()
    done = subprocess.run([ctl.program, "wait-clean", pool.root], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=terminal, text=True, timeout=30, check=True, env={**SANITIZERS, "LC_ALL": "C.UTF-8"})
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(screen, 4096):
            shown += part
    except OSError:  # EIO: no more
        pass
    os.close(screen)
    assert done.stdout == f"{pool.root}: 64 MiB are free and clean\n"
    lines = [line for line in shown.decode().replace("\n", "\r").split("\r") if line]
    assert re.match(r"\[#{30}\] 64 MiB of 64 MiB free are clean", lines[-1])
    assert re.match(r"\[#*\.+\] \S+ M?i?B of 64 MiB free are clean", lines[0])
