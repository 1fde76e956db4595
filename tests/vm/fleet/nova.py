# SPDX-License-Identifier: GPL-2.0-or-later
"""
The second boot goes on: the operator follows configs/nova.md from its part 3 on, word for word. The first boot did the parts 1 and 2. At
the end the power fails while the instance runs.
"""

import os
import re
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from fleet.host import ROOT, TIMEOUT, control, denials, free, run, set_next_boot
from helpers.counting import numbers_in
from helpers.mount import wait_until
from nova_recipe import EMULATOR, NAME, domain, install_emulator, nova_conf, phrase

IMAGES = Path("/var/lib/libvirt/images")
SIZE = 64 << 20


def start():
    """Starts the instance. Returns when it counts, with what is known of the file of its memory."""
    console = IMAGES / "console"
    before = len(numbers_in(console.read_text()))
    run("virsh", "-q", "start", NAME)
    wait_until(lambda: len(numbers_in(console.read_text())) >= before + 3, "the instance counts", TIMEOUT)
    (found,) = control("ls")["files"]
    return found


@pytest.fixture(scope="module")
def instance():
    """Is defined as Nova does it."""
    (IMAGES / "console").unlink(missing_ok=True)
    path = IMAGES / "instance.xml"
    path.write_text(domain(IMAGES, SIZE, is_raw=True, domain_type=nova_conf()["libvirt"]["virt_type"]))
    run("virsh", "-q", "define", path)


def test_emulator_is_found():
    """Before this libvirt started another one, and remembers that."""
    install_emulator()
    run("systemctl", "restart", "libvirtd")
    assert xml.fromstring(run("virsh", "domcapabilities", "--virttype", "kvm")).findtext("path") == str(EMULATOR)


def test_file_backed_memory_of_this_host():
    assert run("sh", "-c", phrase(r"`(df --output.*?)`")).split()[-1] == str((4 << 30) >> 20)


def test_instance(instance):
    """Its memory is on the mount and mapped with large pages; nothing is wrong. Destroyed, it gives all back, also the second time."""
    before, denied = free(), denials()
    for _ in range(2):
        found = start()
        assert xml.fromstring(run("virsh", "dumpxml", NAME)).findtext("devices/emulator") == str(EMULATOR)
        assert re.fullmatch(rf"libvirt/qemu/\d+-{NAME}/.*", found["path"]) and found["size_bytes"] == SIZE
        faults = os.getxattr(ROOT / found["path"], "dmemfs.faults").decode()
        assert re.search(r"^4K 0$", faults, re.MULTILINE) and re.search(r"^2M [1-9]", faults, re.MULTILINE)
        assert free() == before - SIZE
        report = run("dmemfsctl", "doctor")
        assert report.splitlines()[-1] == "0 problems, 0 notes", report
        run("virsh", "-q", "destroy", NAME)
        wait_until(lambda: free() == before, "its memory is free", TIMEOUT)
        assert control("ls")["files"] == []
    assert denials() == denied


def test_power_fails(instance):
    start()
    set_next_boot("crashed")
    os.sync()
