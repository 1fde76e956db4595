# SPDX-License-Identifier: GPL-2.0-or-later
"""
The VM as a compute node, by configs/nova.md: the settings are read from it. Nova itself is not here. What it would write for an
instance is DOMAIN, which libvirt defines and starts; Nova gives it no emulator. Who imports the fixture `compute` imports those of
places.py, too.
"""

import re
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import libvirt_host
from helpers.backends import MIB
from helpers.counting import TIMEOUT, make_disk, numbers_in
from helpers.mount import wait_until
from libvirt_host import ALIGNED, attempt, virsh
from places import HUGETLBFS

RECIPE = Path(__file__).parents[2] / "configs" / "nova.md"
MOUNT = Path("/mnt/dmemfs")
INSTALLED = Path("/usr/libexec/dmemfs/qemu-aligned")
WRAPPER = Path("/usr/local/bin/qemu-system-x86_64")
SIZE = 64 * MIB
NAME = "instance-00000001"
# With virt_type=kvm the type is kvm. The disk is one that the test's guest boots from.
DOMAIN = """<domain type="qemu">
  <uuid>8f3f2a5e-6f0c-4d5c-9b39-0a4a3a0f9d11</uuid>
  <name>instance-00000001</name>
  <memory>{kibibytes}</memory>
  <memoryBacking>
    <source type="file"/>
    <access mode="shared"/>
    <allocation mode="immediate"/>
    <discard/>
  </memoryBacking>
  <vcpu>1</vcpu>
  <sysinfo type="smbios">
    <system>
      <entry name="manufacturer">OpenStack Foundation</entry>
      <entry name="product">OpenStack Nova</entry>
      <entry name="family">Virtual Machine</entry>
    </system>
  </sysinfo>
  <os>
    <type machine="pc">hvm</type>
    <boot dev="hd"/>
    <smbios mode="sysinfo"/>
  </os>
  <features>
    <acpi/>
    <apic/>
    <vmcoreinfo/>
  </features>
  <clock offset="utc">
    <timer name="pit" tickpolicy="delay"/>
    <timer name="rtc" tickpolicy="catchup"/>
    <timer name="hpet" present="no"/>
  </clock>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw" cache="{cache}"/>
      <source file="{disk}"/>
      <target bus="virtio" dev="vda"/>
    </disk>
    <serial type="file">
      <source path="{console}" append="on"/>
    </serial>
    <memballoon model="virtio">
      <stats period="10"/>
    </memballoon>
  </devices>
</domain>
"""


def block(path):
    """The contents that the recipe gives to the file @path."""
    found = re.findall(rf"^```\n# {re.escape(path)}\n(.*?)^```$", RECIPE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"{RECIPE}: {path}"
    return found[0]


@contextmanager
def wrapper():
    """QEMU as the recipe has libvirt find it."""
    INSTALLED.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ALIGNED, INSTALLED)
    WRAPPER.write_text(block(str(WRAPPER)))
    WRAPPER.chmod(0o755)
    try:
        yield
    finally:
        WRAPPER.unlink()


@pytest.fixture
def compute(place, work):
    """
    The host, prepared by the recipe: all in the paths that it names. Its value is the mount. hugetlbfs gets its place, and needs no
    wrapper.
    """
    MOUNT.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", place / "", MOUNT], check=True)
    try:
        with ExitStack() as stack:
            if place.kind != HUGETLBFS:
                stack.enter_context(wrapper())
            stack.enter_context(libvirt_host.running(work, block("/etc/libvirt/qemu.conf")))
            yield MOUNT
    finally:
        subprocess.run(["umount", MOUNT], check=True)


def domain(work, size, cache="writeback"):
    """What Nova writes, as text. The disk is the file "disk" in @work."""
    return DOMAIN.format(kibibytes=size >> 10, cache=cache, disk=make_disk(work / "disk"), console=work / "console")


class Instance:
    """Its console is a file that all of its lives append to."""

    def __init__(self, console):
        self.console = console

    def said(self):
        """The numbers that a counting guest has printed."""
        return numbers_in(self.console.read_text())

    def wait_counting(self):
        """Waits for three more numbers."""
        before = len(self.said())
        wait_until(lambda: len(self.said()) >= before + 3, "the instance counts", TIMEOUT)


@contextmanager
def defined(work, text):
    """An Instance that is defined, not started. @text: its domain."""
    console, path = work / "console", work / "instance.xml"
    console.touch()
    path.write_text(text)
    virsh("define", path)
    try:
        yield Instance(console)
    finally:
        attempt("destroy", NAME)
        virsh("undefine", NAME, "--managed-save", "--snapshots-metadata")


def wait_free(place, size):
    wait_until(lambda: place.free() == size, "all memory is back", TIMEOUT)
