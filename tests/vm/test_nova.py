# SPDX-License-Identifier: GPL-2.0-or-later
"""
configs/nova.md, followed word for word: the settings are read from it. Nova itself is not here. What it would write for an instance
is DOMAIN, which libvirt defines and starts; Nova gives it no emulator.
"""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import libvirt_host
from helpers.backends import MIB
from helpers.counting import TIMEOUT, in_order, make_disk, numbers_in
from helpers.mount import wait_until
from libvirt_host import ALIGNED, faults, files_of, memory_of, virsh
from places import GIB, RAW, capacity, kinds, page_size, pages, place  # noqa: F401 fixtures

pytestmark = pytest.mark.timeout(120)

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


@pytest.fixture(scope="module")
def settings():
    """nova.conf of the recipe."""
    parser = configparser.ConfigParser()
    parser.read_string(block("/etc/nova/nova.conf"))
    return parser


def cache_mode(settings, place):  # noqa: F811
    """As Nova chooses it: what is configured for the type of the disk, else "none"."""
    modes = dict(mode.split("=") for mode in settings["libvirt"]["disk_cachemodes"].split(","))
    return modes["file"] if place.is_raw else "none"


@pytest.fixture
def compute(place, work):  # noqa: F811
    """The host, prepared by the recipe: all in the paths that it names. Its value is the mount."""
    MOUNT.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", place / "", MOUNT], check=True)
    INSTALLED.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ALIGNED, INSTALLED)
    WRAPPER.write_text(block(str(WRAPPER)))
    WRAPPER.chmod(0o755)
    try:
        with libvirt_host.running(work, block("/etc/libvirt/qemu.conf")):
            yield MOUNT
    finally:
        WRAPPER.unlink()
        subprocess.run(["umount", MOUNT], check=True)


class Instance:
    """Is defined; what it prints is in @console."""

    def __init__(self, work, size, cache):
        self.console = work / "console"
        self.console.touch()
        domain = work / "instance.xml"
        domain.write_text(DOMAIN.format(kibibytes=size >> 10, cache=cache, disk=make_disk(work / "disk"), console=self.console))
        virsh("define", domain)

    def said(self):
        return numbers_in(self.console.read_text())

    def wait_counting(self):
        """Waits for three more numbers."""
        before = len(self.said())
        wait_until(lambda: len(self.said()) >= before + 3, "the instance counts", TIMEOUT)


@pytest.fixture
def instance(place, compute, work, settings):  # noqa: F811
    made = Instance(work, place.whole(SIZE), cache_mode(settings, place))
    yield made
    subprocess.run(["virsh", "-q", "-c", libvirt_host.URI, "destroy", NAME], capture_output=True, check=False)
    virsh("undefine", NAME, "--managed-save")


def wait_free(place, size):  # noqa: F811
    wait_until(lambda: place.free() == size, "all memory is back", TIMEOUT)


def test_settings_that_nova_refuses_to_start_without(settings):
    """nova-compute asks for these; the capacity is what it reports instead of the host's memory."""
    assert settings["DEFAULT"].getfloat("ram_allocation_ratio") == 1.0
    assert settings["DEFAULT"].getint("reserved_host_memory_mb") == 0
    assert settings["libvirt"].getint("file_backed_memory") > 0 and settings["libvirt"]["virt_type"] == "kvm"
    assert not settings["libvirt"].getboolean("live_migration_permit_post_copy")


@kinds("pages=1G", RAW)
def test_instance_starts_and_gives_all_memory_back(place, compute, instance):  # noqa: F811
    """Twice, as by `openstack server stop` and `start`."""
    free, size = place.free(), place.whole(SIZE)
    for _ in range(2):
        virsh("start", NAME)
        memory = memory_of(compute)
        assert memory.parts[-4:-2] == ("libvirt", "qemu") and memory.stat().st_size == size
        assert place.used(memory) == size and place.free() == free - size
        instance.wait_counting()
        assert faults(memory, "1G" if place.unit == GIB else "2M") > 0
        assert faults(memory, "4K") == 0
        virsh("destroy", NAME)
        assert not files_of(compute)
        wait_free(place, free)


@kinds(RAW)
def test_instance_is_saved_and_comes_back(place, compute, instance, work):  # noqa: F811
    """`openstack server suspend` is managedsave. The memory is free meanwhile."""
    free = place.free()
    virsh("start", NAME)
    instance.wait_counting()
    for save, restore in ((("managedsave", NAME), ("start", NAME)),
                          (("save", NAME, work / "saved"), ("restore", work / "saved")),
                          (("save", NAME, work / "direct", "--bypass-cache"), ("restore", work / "direct", "--bypass-cache"))):
        virsh(*save)
        assert not files_of(compute)
        wait_free(place, free)
        virsh(*restore)
        instance.wait_counting()
    for options in ((), ("--memory-only",)):
        virsh("dump", NAME, work / "dump", *options)
        assert (work / "dump").stat().st_size > 0
        instance.wait_counting()
    virsh("destroy", NAME)
    numbers = instance.said()
    assert numbers == sorted(numbers) and in_order(sorted(set(numbers)))


@pytest.fixture
def userfaultfd():
    """Every process may use it, also QEMU as libvirt starts it."""
    setting = Path("/proc/sys/vm/unprivileged_userfaultfd")
    before = setting.read_text()
    setting.write_text("1\n")
    yield
    setting.write_text(before)


@kinds("pages=1G", RAW)
@pytest.mark.usefixtures("userfaultfd")
def test_background_snapshot_is_refused(compute, instance):
    """The instance goes on."""
    virsh("start", NAME)
    instance.wait_counting()
    capabilities = '[{"capability": "background-snapshot", "state": true}]'
    answer = virsh("qemu-monitor-command", NAME,
                   f'{{"execute": "migrate-set-capabilities", "arguments": {{"capabilities": {capabilities}}}}}')
    assert "not compatible with guest memory configuration" in answer
    instance.wait_counting()
    virsh("destroy", NAME)
