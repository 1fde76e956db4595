# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that people run on guest memory: QEMU, also with snapshots and migration, vhost-user, gdb, fio."""

import subprocess
import time
from contextlib import contextmanager

import pytest

from helpers.backends import MemoryBackend
from helpers.counting import SCALE, SIZE, TIMEOUT, CountingGuest, goes_on, make_disk, word_in
from helpers.daemon import Daemon
from helpers.mount import wait_until
from helpers.syscalls import Mapping, opened

pytestmark = pytest.mark.page_sizes("2M")


@pytest.fixture
def disk(work):
    """Arguments that give a guest its disk."""
    return "-drive", f"file={make_disk(work / 'disk')},format=raw,if=ide,snapshot=on"


@contextmanager
def second_mount(fs, work):
    """The root of another mount, on the memory backend: the module has one daemon."""
    directory = work / "second"
    directory.mkdir()
    backend = MemoryBackend(directory)
    keys, groups = backend.settings(4 * SIZE)
    other = Daemon(fs.daemon.program, directory, {**keys, "page-size": "2M"}, groups, ready_timeout=30 * SCALE)
    other.start()
    try:
        yield other.mountpoint
    finally:
        other.stop()
        backend.close()


def test_guest_counts_in_the_file(fs, work, disk):
    with CountingGuest(work, fs / "vm1", *disk) as guest:
        said = guest.wait_for(3)
        assert said[:3] == [1, 2, 3] and word_in(fs / "vm1") >= 3
        wait_until(lambda: word_in(fs / "vm1") > 10, "the guest counts on", TIMEOUT)


def test_snapshot_to_a_file_and_back(fs, work, disk):
    """Saves the guest with its RAM, as `virsh save` does, and restores it into a file with another name."""
    saved = work / "saved"
    with CountingGuest(work, fs / "vm1", *disk) as guest:
        guest.wait_for(3)
        guest.qmp.execute("migrate", uri=f"exec:cat >{saved}")
        guest.qmp.wait("query-migrate", "completed")
    (fs / "vm1").unlink()
    with CountingGuest(work, fs / "again", *disk, "-incoming", f"exec:cat {saved}") as again:
        again.wait_for(3)
    assert goes_on(guest, again)


def test_live_migration_to_another_mount_and_back(fs, work, disk):
    """Migrates a running guest to a mount of the memory backend, and back to the mount under test."""
    with second_mount(fs, work) as other, CountingGuest(work, fs / "vm1", *disk) as first:
        first.wait_for(3)
        with CountingGuest(work, other / "vm1", *disk, "-incoming", "unix:there") as second:
            first.qmp.execute("migrate", uri="unix:there")
            first.qmp.wait("query-migrate", "completed")
            second.wait_for(3)
            assert goes_on(first, second)
            first.__exit__()
            (fs / "vm1").unlink()
            with CountingGuest(work, fs / "vm1", *disk, "-incoming", "unix:back") as third:
                second.qmp.execute("migrate", uri="unix:back")
                second.qmp.wait("query-migrate", "completed")
                third.wait_for(3)
            assert goes_on(second, third)


def test_vhost_user(fs, work):
    """The guest boots from a disk that another process serves, so that process reads and writes the guest's memory."""
    socket = work / "vhost"
    storage = subprocess.Popen(
        ["qemu-storage-daemon", "--blockdev", f"file,node-name=disk,filename={make_disk(work / 'disk')},read-only=on",
         "--export", f"vhost-user-blk,id=disk,node-name=disk,addr.type=unix,addr.path={socket.name}"], cwd=work)
    try:
        wait_until(socket.exists, "the socket is there", TIMEOUT)
        with CountingGuest(work, fs / "vm1", "-chardev", f"socket,id=disk,path={socket.name}",
                           "-device", "vhost-user-blk-pci,chardev=disk,bootindex=0") as guest:
            assert guest.wait_for(3)[:3] == [1, 2, 3]
            with open(f"/proc/{storage.pid}/maps", encoding="ascii") as maps:
                assert str(fs / "vm1") in maps.read()
    finally:
        storage.terminate()
        storage.wait()


@pytest.mark.timeout(120)
def test_gdb_reads_and_writes_the_memory_of_a_guest(fs, work, disk):
    with CountingGuest(work, fs / "vm1", *disk) as guest:
        guest.wait_for(1)
        with open(f"/proc/{guest.process.pid}/maps", encoding="ascii") as maps:
            start = next(int(line.partition("-")[0], 16) for line in maps if str(fs / "vm1") in line)
        address = start + (12 << 20)  # where the guest has nothing
        with opened(fs / "vm1") as fd, Mapping(fd, SIZE) as mapping:
            mapping.write(12 << 20, b"from the file\0")
            done = subprocess.run(["gdb", "-nx", "-batch", "-p", str(guest.process.pid), "-iex", "set auto-solib-add off",
                                   "-iex", "set debuginfod enabled off", "-ex", f"x/s {address:#x}",
                                   "-ex", f"set {{char[8]}} {address + 32:#x} = \"by gdb!\""],
                                  capture_output=True, text=True, timeout=100 * SCALE, check=True)
            assert '"from the file"' in done.stdout, done.stdout + done.stderr
            assert mapping.read((12 << 20) + 32, 8) == b"by gdb!\0"
        before = guest.counted[-1]
        deadline = time.monotonic() + TIMEOUT
        while guest.counted[-1] == before:
            assert time.monotonic() < deadline, "the guest does not go on after gdb"
            time.sleep(0.05)


def test_fio_verifies_what_it_wrote(fs, work):
    done = subprocess.run(["fio", "--name=verify", f"--filename={fs / 'file'}", "--size=8M", "--ioengine=mmap", "--rw=randrw",
                           "--bs=4k", "--verify=crc32c", "--verify_fatal=1", "--thread", "--minimal", f"--aux-path={work}"],
                          capture_output=True, text=True, timeout=60 * SCALE, check=False, cwd=work)
    assert done.returncode == 0 and "verify: bad" not in done.stderr, done.stderr
