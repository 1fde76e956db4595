# SPDX-License-Identifier: GPL-2.0-or-later
"""
The second boot goes on: the guest of running.py once more, now as AppArmor sees it. Debian's profiles are as its packages install them,
but for the lines of configs/nova.md.
"""

import re
from pathlib import Path

import pytest

from fleet.host import FOUND, ROOT, TIMEOUT, control, denials, run
from fleet.running import start
from helpers.counting import SIZE as GUEST_SIZE
from helpers.mount import wait_until
from nova_recipe import block

PROFILES = Path("/sys/kernel/security/apparmor/profiles")
RULES = Path("/etc/apparmor.d/local/abstractions/libvirt-qemu")
SECRET = ROOT / "libvirt" / "qemu" / "1-of-another" / "ram"


def profile():
    return f"libvirt-{run('virsh', 'domuuid', 'vm1').strip()}"


def label():
    """What confines the guest's QEMU."""
    pid = int(Path("/run/libvirt/qemu/vm1.pid").read_text())
    return Path(f"/proc/{pid}/attr/current").read_text().strip()


def read_as_guest(path, status=0):
    """Reads a file as the guest's QEMU could."""
    run("aa-exec", "--profile", profile(), "--", "dd", f"if={path}", "of=/dev/null", "bs=4096", "count=1", status=status)


@pytest.fixture(scope="module")
def guest():
    start()


@pytest.fixture
def secret():
    SECRET.parent.mkdir(mode=0o755)
    SECRET.write_bytes(bytes(4096))
    SECRET.chmod(0o644)
    yield SECRET
    SECRET.unlink()
    SECRET.parent.rmdir()


def test_profiles_of_debian_are_enforced():
    profiles = PROFILES.read_text().splitlines()
    assert {"libvirtd (enforce)", "virt-aa-helper (enforce)"} <= set(profiles), profiles
    assert "<model>apparmor</model>" in run("virsh", "capabilities")
    assert run("sh", "-c", "cat /proc/$(pidof libvirtd)/attr/current").strip() == "libvirtd (enforce)"


def test_guest_is_confined(guest):
    assert f"{profile()} (enforce)" in PROFILES.read_text().splitlines()
    assert label() == f"{profile()} (enforce)"


def test_saved_guest_goes_on(guest):
    run("virsh", "-q", "managedsave", "vm1")
    wait_until(lambda: control("ls")["files"] == [], "its memory is free", TIMEOUT)
    start()
    assert label() == f"{profile()} (enforce)"


def test_nothing_was_denied():
    assert denials() == []


def test_guest_has_its_own_memory_only(guest, secret):
    (found,) = [file for file in control("ls")["files"] if file["size_bytes"] == GUEST_SIZE]
    read_as_guest(ROOT / found["path"])
    read_as_guest(secret, status=1)
    (denied,) = denials()
    assert f'name="{secret}"' in denied, denied
    run("virsh", "-q", "destroy", "vm1")


def test_doctor_names_the_line_without_which_no_guest_starts():
    RULES.write_text("")
    try:
        run("virsh", "-q", "start", "vm1", status=1)
        report = run("dmemfsctl", "doctor", status=FOUND)
    finally:
        RULES.write_text(block(RULES))
    assert any('operation="exec"' in line and 'name="/usr/bin/qemu-aligned"' in line for line in denials())
    assert re.search(rf"^problem +apparmor .* /usr/bin/qemu-aligned and /usr/bin/stat: .*\n +-> add the line  "
                     rf"{re.escape(block(RULES).strip())}  to {RULES}$", report, re.MULTILINE), report
