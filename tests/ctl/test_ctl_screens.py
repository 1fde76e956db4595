# SPDX-License-Identifier: GPL-2.0-or-later
"""
fuse-daemon/man/screens.md and fuse-daemon/man/map.svg show what dmemfsctl prints for a mount with two tenants and a QEMU. With
DMEMFS_WRITE_DOCS=1 in the environment this test writes them; else it compares them with the output of dmemfsctl.
"""

import json
import os
import re
import shlex
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "fuse-daemon" / "man"
REGIONS = """
[region node0]
start=0x480000000
size=8G
node=0

[region node1]
start=0xc80000000
size=8G
node=1
"""
SIZES = {"tenant1/vm1": 4, "tenant1/vm2": 2, "tenant2/vm1": 3}  # GiB
# The mount is always named: other mounts of dmemfs on this machine are not shown.
COMMANDS = ("status {root}", "ls {root}", "top --iterations 1 {root}", "map --color never {root}", "quota {root}/tenant1",
            "extents {root}/tenant2/vm1")
HEAD = """# What dmemfsctl shows

The host has two NUMA nodes with a region of 8 GiB each, two tenants and one guest. `tests/ctl/test_ctl_screens.py` writes this
page and checks that the program still prints it. Without a mount point the commands show all mounts. On a terminal `map`
uses colours and `top` refreshes the screen. `dmemfsctl map -o map.svg` draws the map as SVG:

![The map as SVG](map.svg)
"""

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.memory_only("its regions are imaginary: addresses are the same everywhere")]


@pytest.fixture
def root(daemon):
    """The mount. Its files have sizes, but use no RAM."""
    text = "".join(line for line in daemon.config.read_text().splitlines(True) if not line.startswith("size="))
    daemon.config.write_text(f"{text}populate=false\n{REGIONS}")
    daemon.start()
    for number, name in enumerate(("tenant1", "tenant2")):
        (daemon.mountpoint / name).mkdir()
        os.setxattr(daemon.mountpoint / name, "dmemfs.node", str(number).encode())
    os.setxattr(daemon.mountpoint / "tenant1", "trusted.dmemfs.quota.max_bytes", b"8G")
    for name, size in SIZES.items():
        with open(daemon.mountpoint / name, "wb") as file:
            file.truncate(size << 30)
    return daemon.mountpoint


@contextmanager
def guest(ctl, path):
    """QEMU, whose memory is the file at @path. The guest does not start."""
    arguments = shlex.split(ctl.text("guest-args", path))
    command = ["qemu-system-x86_64", "-accel", "tcg", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"]
    with subprocess.Popen([*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert "QMP" in json.loads(process.stdout.readline())  # its memory is mapped by now
            yield
        finally:
            process.kill()  # leaving the block waits for it


def same_everywhere(text, root):
    """The text with fixed values for what differs between runs: paths, versions, process ids."""
    text = text.replace(str(root), "/mnt/dmemfs")
    text = re.sub(r"dmemfsd [\d.]+ \(pid \d+\)", "dmemfsd 0.2.0 (pid 812)", text)
    return re.sub(r"qemu-system-x86\(\d+\)", "qemu-system-x86(1370)", text)


def check(path, text):
    if os.environ.get("DMEMFS_WRITE_DOCS") == "1":
        path.write_text(text)
    assert path.read_text() == text, f"{path}: if the program is right, write it anew: DMEMFS_WRITE_DOCS=1"


def test_screens(ctl, root, work):
    page = HEAD
    with guest(ctl, root / "tenant1" / "vm1"):
        for command in COMMANDS:
            words = command.format(root=root)
            output = ctl.text(*words.split())
            shown = re.sub("^", "    ", f"$ dmemfsctl {words}\n{output.strip(chr(10))}", flags=re.MULTILINE)
            page += "\n" + same_everywhere(shown, root) + "\n"
        ctl.text("map", "--output", work / "map.svg", root)
    check(DOCS / "screens.md", re.sub(r" +$", "", page, flags=re.MULTILINE))
    check(DOCS / "map.svg", same_everywhere((work / "map.svg").read_text(), root))
