# SPDX-License-Identifier: GPL-2.0-or-later
"""
The second boot of ../lab/test_fleet.py, with the command line that GRUB made from the drop-in. The tests see what an
operator sees.
"""

import os
import re
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from fleet.host import ROOT, SIZE, TIMEOUT, control, free, run
from helpers.counting import SIZE as GUEST_SIZE
from helpers.counting import make_disk, numbers_in
from helpers.mount import wait_until

pytestmark = pytest.mark.usefixtures("kvm")  # for the whole boot
IMAGES = Path("/var/lib/libvirt/images")
CONSOLE = IMAGES / "console"
DOMAIN = """<domain type="kvm">
  <name>vm1</name>
  <vcpu>1</vcpu>
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw"/><source file="{disk}"/><target dev="hda" bus="ide"/>
    </disk>
    <serial type="file"><source path="{console}"/></serial>
    <memballoon model="none"/>
  </devices>
</domain>
"""


@pytest.fixture(scope="module")
def guest():
    """Defined with the XML that dmemfsctl prints, and started."""
    advice = control("guest-args", ROOT, "--vmm", "libvirt", "--size", GUEST_SIZE)
    assert advice["libvirt_setting"] in Path("/etc/libvirt/qemu.conf").read_text()
    IMAGES.mkdir(parents=True, exist_ok=True)
    domain = xml.fromstring(DOMAIN.format(disk=make_disk(IMAGES / "disk"), console=CONSOLE))
    domain.extend(xml.fromstring(f"<all>{advice['xml']}</all>"))
    xml.SubElement(domain.find("devices"), "emulator").text = advice["libvirt_emulator"]
    (IMAGES / "vm1.xml").write_text(xml.tostring(domain, "unicode"))
    run("virsh", "-q", "define", IMAGES / "vm1.xml")
    start()


def start():
    CONSOLE.write_text("")
    run("virsh", "-q", "start", "vm1")
    wait_until(lambda: len(numbers_in(CONSOLE.read_text())) >= 3, "the guest counts", TIMEOUT)


def test_kernel_got_what_was_planned():
    """The arguments are those of the plan, word by word. A plan for the machine as it is now is the same."""
    arguments = control("plan", "--size", SIZE)["kernel_arguments"]
    words = Path("/proc/cmdline").read_text().split()
    assert len(arguments) == 2 and words[-2:] == arguments, words
    assert "quiet" in words


def test_module_is_loaded_at_boot():
    assert "/dmemfs.conf" in run("sh", "-c", "echo /usr/lib/modules-load.d/*")
    run("systemctl", "is-active", "systemd-modules-load")
    assert run("modinfo", "-F", "version", "dmemfs") == Path("/sys/module/dmemfs/version").read_text()
    assert Path("/dev/dmemfs").stat().st_mode & 0o777 == 0o600


def test_service_is_up():
    assert run("systemctl", "is-active", "dmemfsd") == "active\n"
    assert os.path.ismount(ROOT)
    assert os.statvfs(ROOT).f_blocks * os.statvfs(ROOT).f_frsize == 4 << 30
    assert run("systemctl", "--failed", "--plain", "--no-legend", "list-units", "dmemfsd*", "systemd-modules*") == ""


def test_guest_of_libvirt_runs(guest):
    assert run("virsh", "-q", "domstate", "vm1").strip() == "running"


def test_ls_shows_it(guest):
    (found,) = [file for file in control("ls")["files"] if file["size_bytes"] == GUEST_SIZE]
    assert found["path"].startswith("libvirt/qemu/") and (ROOT / found["path"]).is_file()
    (user,) = found["mapped_by"]
    assert user["pid"] == int(Path("/run/libvirt/qemu/vm1.pid").read_text())
    assert str(user["pid"]) in run("dmemfsctl", "ls")


def test_status_shows_it(guest):
    text = run("dmemfsctl", "status")
    assert re.search(rf"^{ROOT}\b", text) and "4 GiB" in text and "16 MiB" in text, text


def test_map_shows_it(guest):
    text = run("dmemfsctl", "map")
    assert re.search(r"^ *A libvirt/qemu/.* \(16 MiB\)$", text, re.MULTILINE), text
    picture = Path("/root/map.svg")
    run("dmemfsctl", "map", "--output", picture)
    assert xml.parse(picture).getroot().tag.endswith("svg")


def test_memory_is_mapped_with_large_pages(guest):
    (found,) = [file for file in control("ls")["files"] if file["size_bytes"] == GUEST_SIZE]
    assert re.search(r"^2M [1-9]", os.getxattr(ROOT / found["path"], "dmemfs.faults").decode(), re.MULTILINE)


def test_doctor_is_content(guest):
    """Exit status 0, and no finding."""
    report = run("dmemfsctl", "doctor")
    assert report.splitlines()[-1] == "0 problems, 0 notes", report
    for check in ("kernel", "reserved", "module", "write-back", "kvm", "config", "daemon", "state", "libvirt", "mappings"):
        assert re.search(rf"^ok +{check} ", report, re.MULTILINE), report


def test_memory_comes_back(guest):
    before = free()
    run("virsh", "-q", "destroy", "vm1")
    wait_until(lambda: free() == before + GUEST_SIZE, "its memory is free", TIMEOUT)
    assert not list(ROOT.rglob("*ram*"))
