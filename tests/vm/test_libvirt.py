# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt's own daemon starts a guest. The guest's memory lies in memory_backing_dir, on the node of that directory."""

import re
import shutil
import time

import pytest

import libvirt_host
from helpers.control import FOUND, Control
from helpers.counting import SIZE, TIMEOUT, make_disk, word_in
from helpers.mount import wait_until
from libvirt_host import ALIGNED, faults, memory_of, virsh
from test_numa import SHARE, both, nodes_of, with_policy  # noqa: F401 both is a fixture

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.timeout(60)]

DOMAIN = """<domain type="qemu">
  <name>vm1</name>
  <memory unit="b">{size}</memory>
  <memoryBacking><source type="file"/><access mode="shared"/><allocation mode="immediate"/></memoryBacking>
  <vcpu>1</vcpu>{more}
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <devices>
    <emulator>{emulator}</emulator>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw"/><source file="{disk}"/><target dev="hda" bus="ide"/>
    </disk>
    <serial type="file"><source path="{console}"/></serial>
    <memballoon model="none"/>
  </devices>
</domain>
"""



def define(work, emulator, size, more=""):
    """The file that describes a guest. @more: other elements of it."""
    console, domain = work / "console", work / "vm1.xml"
    console.touch()
    domain.write_text(DOMAIN.format(size=size, emulator=emulator, disk=make_disk(work / "disk"), console=console,
                                    more=more))
    return domain


@pytest.fixture
def guests(both, work):  # noqa: F811
    """The directory of libvirt's guests, on node 1, with libvirtd running."""
    directory = with_policy(both, "guests", "1")
    with libvirt_host.running(work, f'memory_backing_dir = "{directory}"'):
        yield directory


@pytest.fixture
def guest(guests, work):
    """A running guest with aligned memory. Its value is the guest's console."""
    virsh("define", define(work, shutil.copy(ALIGNED, work), SIZE))
    virsh("start", "vm1")
    yield work / "console"
    virsh("destroy", "vm1")
    virsh("undefine", "vm1")


def counted(console):
    return len(re.findall(r"^[0-9a-f]{8}\n", console.read_text(), re.MULTILINE))


def test_guest_of_libvirt(both, guests, guest):  # noqa: F811
    wait_until(lambda: counted(guest) >= 3, "the guest counts", TIMEOUT)
    memory = memory_of(guests)
    status = memory.stat()
    assert status.st_size == SIZE and status.st_uid != 0  # libvirt gave it to the guest's user
    assert faults(memory, "2M") > 0
    assert nodes_of(both, memory) == [1] * (SIZE // both.unit)
    seen = word_in(memory)
    assert seen >= 3
    wait_until(lambda: word_in(memory) > seen, "the guest counts in the file", TIMEOUT)
    virsh("suspend", "vm1")
    still = word_in(memory)
    time.sleep(0.2)
    assert word_in(memory) == still
    virsh("resume", "vm1")
    wait_until(lambda: word_in(memory) > still, "the guest counts on", TIMEOUT)
    assert SIZE <= SHARE


def test_destroyed_guest_gives_its_memory_back(both, guests, work):  # noqa: F811
    """libvirt starts QEMU without align=. The guest works with small pages, and the daemon logs a warning."""
    both.daemon.expected.append("add align=2M")
    domain = define(work, "/usr/bin/qemu-system-x86_64", SHARE)
    for _ in range(2):  # the node has room for one
        virsh("create", domain)
        assert memory_of(guests).stat().st_size == SHARE
        virsh("destroy", "vm1")
        assert both.wait_free(2 * SHARE) == 2 * SHARE


def test_numatune_does_not_move_memory(both, guests, work):  # noqa: F811
    """The guest may have memory of node 0 only. What decides is the policy of the directory."""
    more = '\n  <numatune><memory mode="strict" nodeset="0"/></numatune>'
    virsh("create", define(work, shutil.copy(ALIGNED, work), SIZE, more))
    try:
        wait_until(lambda: counted(work / "console") >= 3, "the guest counts", TIMEOUT)
        assert nodes_of(both, memory_of(guests)) == [1] * (SIZE // both.unit)
    finally:
        virsh("destroy", "vm1")


def test_hugetlbfs_mount_on_dmemfs(both, work, dmemfsd):  # noqa: F811
    """libvirt's daemon ends by itself, and doctor says why."""
    setting = f'memory_backing_dir = "{both.root}"\nhugetlbfs_mount = "{both.root}"'
    with libvirt_host.started(work, setting) as daemon:
        wait_until(lambda: daemon.poll() is not None, "libvirtd has ended", TIMEOUT * 3)
    assert f"not a hugetlbfs mount: '{both.root}'" in (work / "libvirtd.log").read_text()
    control = Control(dmemfsd.parent / "dmemfsctl" / "dmemfsctl", work)
    report = control.json("doctor", "--config", both.daemon.config, status=FOUND)
    (found,) = [finding for finding in report["findings"] if "hugetlbfs_mount has" in finding["text"]]
    assert found["level"] == "problem" and str(both.root) in found["text"] and "memory_backing_dir" in found["remedy"]
