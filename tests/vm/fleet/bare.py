# SPDX-License-Identifier: GPL-2.0-or-later
"""
The first boot of ../lab/test_fleet.py: a Debian host without dmemfs, up to the reboot. The tests are the steps of
README.Debian in their order.

Environment: DMEMFS_PACKAGES has the packages to install; GRUB starts DMEMFS_LAB_INITRAMFS.
"""

import fcntl
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from fleet.host import BOOT, CONFIG, DROP_IN, FOUND, SIZE, run, set_next_boot
from nova_recipe import README, block, phrase

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878  # <linux/fs.h>
# As the installer writes it, but for the console and what the laboratory wants of a kernel.
GRUB_DEFAULTS = """GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="{arguments}"
GRUB_TERMINAL=serial
"""
# GRUB cannot tell which disk an overlay lies on. Here it is the one that /boot is on.
GRUB_PROBE = """#!/bin/sh
for argument; do
	shift
	[ "$argument" != / ] || argument=/boot
	set -- "$@" "$argument"
done
exec /usr/sbin/grub-probe.real "$@"
"""


@pytest.fixture(scope="module", autouse=True)
def debian():
    """The rest of what Debian's installer leaves on a host."""
    shutil.copy(os.environ["DMEMFS_LAB_INITRAMFS"], BOOT / f"initrd.img-{os.uname().release}")
    Path("/etc/default/grub").write_text(GRUB_DEFAULTS.format(arguments=Path("/proc/cmdline").read_text().strip()))
    probe = Path("/usr/sbin/grub-probe")
    probe.rename(f"{probe}.real")
    probe.write_text(GRUB_PROBE)
    probe.chmod(0o755)
    yield
    set_next_boot("running")
    # GRUB reads no journal: all must be where it belongs.
    directory = os.open(BOOT, os.O_RDONLY)
    os.sync()
    fcntl.ioctl(directory, FIFREEZE, 0)
    fcntl.ioctl(directory, FITHAW, 0)
    os.close(directory)


def test_packages_are_installed():
    """
    The package of the module was installed before the first boot, because a compiler is slow in the VM: DKMS has
    built the module for this kernel.
    """
    run("apt-get", "install", "--yes", "--no-install-recommends", *Path(os.environ["DMEMFS_PACKAGES"]).glob("dmemfs_*.deb"))
    assert "installed" in run("dkms", "status", "dmemfs")
    assert "/updates/dkms/" in run("modinfo", "-F", "filename", "dmemfs")
    assert run("systemctl", "is-enabled", "dmemfsd", status=1) == "disabled\n"


def test_doctor_says_what_comes_first():
    text = run("dmemfsctl", "doctor", status=FOUND)
    assert re.search(r"^note +reserved .*\n +-> run dmemfsctl plan --size", text, re.MULTILINE), text


def test_plan_writes_the_drop_in():
    plan = json.loads(run("dmemfsctl", "plan", "--size", SIZE, "--json"))
    assert [found["node"] for found in plan["ranges"]] == [0, 1]
    text = run("dmemfsctl", "plan", "--size", SIZE, "--write")
    assert f"Written: {DROP_IN}" in text and "Next: update-grub, then reboot." in text
    assert DROP_IN.read_text() == plan["grub"]["contents"]


def test_update_grub():
    run("update-grub")
    menu = (BOOT / "grub" / "grub.cfg").read_text()
    lines = re.findall(r"^\s+linux\s.*memmap=2G\\\$0x\w+ memmap=2G\\\$0x\w+", menu, re.MULTILINE)
    assert lines, menu


def test_configuration():
    text = CONFIG.read_text()
    assert "\n#backend=memory\n" in text
    lost = phrase(r"Write `(.*?)` into `/etc/dmemfs/dmemfsd.conf`")
    CONFIG.write_text(text.replace("\n#backend=memory\n", f"\nbackend=pfn\npage-size=2M\n{lost}\n") + "\n[region all]\nstart=auto\n")
    run("systemctl", "enable", "dmemfsd")
    text = run("dmemfsctl", "doctor", status=FOUND)
    assert re.search(r"^problem +reserved .*\n +-> run update-grub, then reboot", text, re.MULTILINE), text


def test_libvirt_is_told():
    """As configs/nova.md says it, which is the line that `dmemfsctl guest-args` prints, and the drop-in of dmemfsd(8)."""
    settings = Path("/etc/libvirt/qemu.conf")
    assert "\n#memory_backing_dir" in settings.read_text()
    with open(settings, "a", encoding="ascii") as file:
        file.write(block(settings))
    directory = Path("/etc/systemd/system/libvirtd.service.d")
    directory.mkdir()
    shutil.copy("/usr/share/dmemfs/libvirt-requires-dmemfsd.conf", directory)
    run("systemctl", "daemon-reload")


def test_apparmor_is_told():
    """README.md has the same line."""
    rules = Path("/etc/apparmor.d/local/abstractions/libvirt-qemu")
    assert rules.read_text() == ""
    rules.write_text(block(rules))
    assert f"`{block(rules).strip()}`" in README.read_text()
