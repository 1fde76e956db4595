# SPDX-License-Identifier: GPL-2.0-or-later
"""
What QEMU does with a guest's RAM, with each kind of compound pages and on hugetlbfs: the table of dmemfs(7). Here are disks, file
systems, migration and devices; test_features_memory.py has what changes the amount of memory.
"""

import hashlib
import os
import platform
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

import vfio
from helpers.backends import MIB
from helpers.counting import SIZE, TIMEOUT, CountingGuest, goes_on, make_disk
from helpers.mount import wait_until
from holder import DISK, prepare_disk
from kvm_guest import BOOT_TIMEOUT, CPU, guest
from places import ALL, HUGETLBFS, capacity, kinds, mapped, page_size, pages, place  # noqa: F401 fixtures

pytestmark = [pytest.mark.usefixtures("kvm"), pytest.mark.timeout(120)]

UNREADABLE = "could not read the boot disk"
INTERNAL_ERROR = "KVM internal error"
LARGE = 512 * MIB  # for a guest with Linux


def counting(place, work, name, *boot, size=None):
    return CountingGuest(work, place / name, *boot, "-cpu", CPU, accel="kvm", size=size or place.whole(SIZE), align=place.align)


@contextmanager
def booting(place, work, *disk, size=None):
    """A guest that boots from the RAM disk, through @disk. Yields whether it can."""
    firmware = work / "firmware.log"
    firmware.touch()
    says = ("-debugcon", f"file:{firmware}", "-global", "isa-debugcon.iobase=0x402")
    with counting(place, work, "vm1", *disk, *says, size=size) as running:
        wait_until(lambda: running.counted or UNREADABLE in firmware.read_text("ascii"), "it boots, or cannot", TIMEOUT)
        yield bool(running.counted)


@pytest.fixture
def counting_disk(work):
    return make_disk(work / "disk")


@pytest.fixture
def ram_disk(counting_disk):
    """The disk of the counting guest. Its transfers are to and from the caller's own pages."""
    prepare_disk()
    with open(DISK, "r+b") as disk:
        disk.write(counting_disk.read_bytes())
        disk.flush()
        os.fsync(disk.fileno())


@pytest.fixture
def volume(work):
    """A file system whose direct I/O is to and from the caller's own pages."""
    prepare_disk()
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", DISK], check=True)
    directory = work / "volume"
    directory.mkdir()
    subprocess.run(["mount", "-t", "ext4", DISK, directory], check=True)
    yield directory
    subprocess.run(["umount", directory], check=True)


@kinds(*ALL)
@pytest.mark.usefixtures("ram_disk")
@pytest.mark.parametrize("aio", ["threads", "native", "io_uring"])
def test_guest_boots_without_a_cache(place, work, aio):
    with booting(place, work, "-drive", f"file={DISK},format=raw,if=virtio,cache=none,aio={aio}") as boots:
        assert boots != place.is_raw


@contextmanager
def server(command, socket):
    """A vhost-user server. It chooses the address at which it maps the guest's memory, which does not fit for pages of 1 GiB."""
    with subprocess.Popen(command, cwd=socket.parent) as process:
        try:
            wait_until(lambda: socket.exists() or process.poll() is not None, "the socket is there", TIMEOUT)
            assert process.poll() is None
            yield
        finally:
            process.kill()


@kinds(*ALL)
@pytest.mark.usefixtures("ram_disk")
def test_vhost_user_disk_without_a_cache(place, work):
    socket = work / "disk.socket"
    command = ["qemu-storage-daemon",
               "--blockdev", f"host_device,node-name=disk,filename={DISK},cache.direct=on,read-only=on",
               "--export", f"vhost-user-blk,id=disk,node-name=disk,addr.type=unix,addr.path={socket.name}"]
    with server(command, socket), booting(place, work, "-chardev", f"socket,id=disk,path={socket.name}",
                                          "-device", "vhost-user-blk-pci,chardev=disk,bootindex=0", size=SIZE) as boots:
        assert boots != place.is_raw


def virtiofsd(socket, directory):
    """The command. QEMU had a server of its own until 8.0."""
    own = Path("/usr/lib/qemu/virtiofsd")
    if own.exists():
        return [own, f"--socket-path={socket}", "-o", f"source={directory},allow_direct_io,sandbox=chroot"]
    return ["/usr/libexec/virtiofsd", f"--socket-path={socket}", f"--shared-dir={directory}", "--allow-direct-io",
            "--sandbox=chroot"]


def checksum(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@kinds(*ALL)
def test_virtiofs_with_direct_io(place, work, volume):
    (volume / "file").write_bytes(os.urandom(4 * MIB))
    socket = work / "fs.socket"
    options = ["-chardev", f"socket,id=fs,path={socket}", "-device", "vhost-user-fs-pci,chardev=fs,tag=shared"]
    with server(virtiofsd(socket, volume), socket):
        with guest(work, f"mem-path={place / 'vm1'},align={place.align}", LARGE, "reader", options) as running:
            assert running.wait("direct-read") == ("failed" if place.is_raw else checksum(volume / "file"))
            written = running.wait("direct-write")
            assert written == ("failed" if place.is_raw else checksum(volume / "written"))
            assert running.process.wait(TIMEOUT) == 0


def prepare(running, capabilities, **parameters):
    running.qmp.execute("migrate-set-capabilities", capabilities=[{"capability": name, "state": True} for name in capabilities])
    if parameters:
        running.qmp.execute("migrate-set-parameters", **parameters)


def fill(path):
    """Random bytes where the counting guest has nothing. Returns them."""
    with mapped(path) as mapping:
        filling = os.urandom(SIZE // 2)
        mapping.write(SIZE // 4, filling)
    return filling


def filling_of(path):
    with mapped(path) as mapping:
        return mapping.read(SIZE // 4, SIZE // 2)


def check_migration(source, place):
    """Waits for the end of a migration that has begun. Where the memory cannot be pinned it fails, and the guest goes on."""
    if place.is_raw:
        with pytest.raises(AssertionError, match="Bad address"):
            source.qmp.wait("query-migrate", "completed")
        source.wait_for(len(source.counted) + 2)
    else:
        source.qmp.wait("query-migrate", "completed")
    return not place.is_raw


@pytest.fixture
def boot(counting_disk):
    """Arguments that give a guest its disk."""
    return "-drive", f"file={counting_disk},format=raw,if=ide,snapshot=on"


@kinds(*ALL)
def test_zero_copy_migration(place, work, boot):
    """By several connections, which send pages of the guest without a copy."""
    with counting(place, work, "vm1", *boot) as source, \
            counting(place, work, "vm2", *boot, "-incoming", "defer") as target:
        source.wait_for(3)
        filling = fill(place / "vm1")
        prepare(source, ["multifd", "zero-copy-send"])
        prepare(target, ["multifd"])
        target.qmp.execute("migrate-incoming", uri="tcp:127.0.0.1:0")
        port = target.qmp.execute("query-migrate")["socket-address"][0]["port"]
        source.qmp.execute("migrate", uri=f"tcp:127.0.0.1:{port}")
        if check_migration(source, place):
            target.wait_for(3)
            assert goes_on(source, target)
            assert filling_of(place / "vm2") == filling


@kinds(*ALL)
def test_mapped_ram_with_direct_io(place, work, boot, volume):
    """Saves the guest to a file in which each page has its place, and restores it."""
    capabilities, uri = ["mapped-ram", "multifd"], f"file:{volume / 'saved'}"
    with counting(place, work, "vm1", *boot) as source:
        if not any(known["capability"] == "mapped-ram" for known in source.qmp.execute("query-migrate-capabilities")):
            pytest.skip("QEMU has mapped-ram with direct-io since 9.1: tests/setup/in-debian trixie tests/vm/run")
        source.wait_for(3)
        filling = fill(place / "vm1")
        prepare(source, capabilities, **{"direct-io": True})
        source.qmp.execute("migrate", uri=uri)
        if not check_migration(source, place):
            return
    with counting(place, work, "vm2", *boot, "-incoming", "defer") as target:
        prepare(target, capabilities, **{"direct-io": True})
        target.qmp.execute("migrate-incoming", uri=uri)
        target.wait_for(3)
        assert goes_on(source, target)
        assert filling_of(place / "vm2") == filling


@kinds(HUGETLBFS, "pages=1G", "pages=2M")
def test_assigned_device(place, work):
    """
    The guest has an edu device copy memory of the guest, which a process of the host has filled and reads. Raw memory:
    test_devices.py.
    """
    source, target = 128 * MIB, 130 * MIB  # nested/dma has them, too
    filling = os.urandom(vfio.PIECE)
    with vfio.Edu() as edu:
        options = ["-device", f"vfio-pci,host={edu.address}"]
    path = place.make("vm1", place.whole(LARGE))
    with mapped(path) as mapping:
        mapping.write(source, filling)
        with guest(work, f"mem-path={path},align={place.align}", place.whole(LARGE), f"dma memmap=4M${source:#x}", options) as running:
            assert running.wait("dma") == "done"
            assert mapping.read(target, vfio.PIECE) == filling


@kinds(HUGETLBFS, "pages=1G", "pages=2M")
def test_assigned_disk(place, work):
    """The guest's own driver has an NVMe disk copy from and to memory of the guest."""
    address = vfio.assign("NVMe disk", **{"class": "0x010802"})
    memory = f"mem-path={place.make('vm1', place.whole(LARGE))},align={place.align}"
    with guest(work, memory, place.whole(LARGE), "nvme", ["-device", f"vfio-pci,host={address}"]) as running:
        assert running.wait("nvme-read") == running.said("nvme-wrote")
        assert running.process.wait(BOOT_TIMEOUT) == 0


def is_kept_from_kvm(place):
    """Linux 6.13 and later do not let KVM keep raw memory that a guest gives to a guest of its own."""
    return place.is_raw and tuple(map(int, platform.release().split(".")[:2])) >= (6, 13)


@kinds(*ALL)
def test_guest_runs_a_guest(place, work):
    """KVM keeps some pages of the guest for that."""
    memory = f"mem-path={place.make('vm1', place.whole(LARGE))},align={place.align}"
    with guest(work, memory, place.whole(LARGE), "minivm", ["-cpu", "host"]) as running:
        wait_until(lambda: running.said("minivm") or INTERNAL_ERROR in running.errors(), "it has run, or cannot", BOOT_TIMEOUT)
        assert (running.said("minivm") is None) == is_kept_from_kvm(place), running.errors()
        assert running.said("minivm") in (None, "42")
