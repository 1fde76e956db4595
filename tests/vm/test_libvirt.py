# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt's own daemon starts a guest. The guest's memory lies in memory_backing_dir, on the node of that directory."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from helpers.counting import SIZE, TIMEOUT, make_disk, word_in
from helpers.mount import wait_until
from test_numa import SHARE, both, nodes_of, with_policy  # noqa: F401 both is a fixture

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.timeout(60)]

ALIGNED = Path(__file__).parents[2] / "configs" / "qemu-aligned"
SOCKET = Path("/run/libvirt/libvirt-sock")
URI = f"qemu:///system?socket={SOCKET}"
# As Debian's, but for what a VM without services has not got.
SETTINGS = """memory_backing_dir = "{directory}"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""
DOMAIN = """<domain type="qemu">
  <name>vm1</name>
  <memory unit="b">{size}</memory>
  <memoryBacking><source type="file"/><access mode="shared"/><allocation mode="immediate"/></memoryBacking>
  <vcpu>1</vcpu>
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



def add_user():
    """Adds the user that runs guests, which Debian's package makes, unless it exists. It exists in the VM only."""
    with open("/etc/passwd", "r+", encoding="ascii") as users, open("/etc/group", "r+", encoding="ascii") as groups:
        if "\nlibvirt-qemu:" not in users.read():
            users.write("libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n")
        if "\nlibvirt-qemu:" not in groups.read():
            groups.write("libvirt-qemu:x:64055:\n")


def define(work, emulator, size):
    """The file that describes a guest."""
    console, domain = work / "console", work / "vm1.xml"
    console.touch()
    domain.write_text(DOMAIN.format(size=size, emulator=emulator, disk=make_disk(work / "disk"), console=console))
    return domain


def virsh(*arguments):
    done = subprocess.run(["virsh", "-q", "-c", URI, *map(str, arguments)], capture_output=True, text=True,
                          timeout=TIMEOUT * 3, check=False)
    assert done.returncode == 0, f"virsh {arguments}: {done.stderr}"
    return done.stdout


@pytest.fixture
def guests(both, work):  # noqa: F811
    """The directory of libvirt's guests, on node 1, with libvirtd running."""
    directory = with_policy(both, "guests", "1")
    add_user()
    Path("/etc/libvirt").mkdir(exist_ok=True)
    Path("/etc/libvirt/qemu.conf").write_text(SETTINGS.format(directory=directory))
    with open(work / "libvirtd.log", "wb") as output:
        daemon = subprocess.Popen(["libvirtd"], stdout=output, stderr=output)
    try:
        wait_until(SOCKET.exists, "libvirtd listens", TIMEOUT * 3)
        yield directory
    finally:
        daemon.terminate()
        daemon.wait(TIMEOUT * 3)


@pytest.fixture
def guest(guests, work):
    """A running guest with aligned memory. Its value is the guest's console."""
    virsh("define", define(work, shutil.copy(ALIGNED, work), SIZE))
    virsh("start", "vm1")
    yield work / "console"
    virsh("destroy", "vm1")
    virsh("undefine", "vm1")


def memory_of(directory):
    """The only file below the directory."""
    found = [Path(where) / name for where, _, names in os.walk(directory) for name in names]
    assert len(found) == 1, found
    return found[0]


def counted(console):
    return len(re.findall(r"^[0-9a-f]{8}\n", console.read_text(), re.MULTILINE))


def test_guest_of_libvirt(both, guests, guest):  # noqa: F811
    wait_until(lambda: counted(guest) >= 3, "the guest counts", TIMEOUT)
    memory = memory_of(guests)
    status = memory.stat()
    assert status.st_size == SIZE and status.st_uid != 0  # libvirt gave it to the guest's user
    assert int(re.search(r"^2M (\d+)$", os.getxattr(memory, "dmemfs.faults").decode(), re.MULTILINE)[1]) > 0
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
