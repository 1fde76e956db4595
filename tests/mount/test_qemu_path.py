# SPDX-License-Identifier: GPL-2.0-or-later
"""The system calls that QEMU and Cloud Hypervisor make on their memory file, in the same order (physmem.c of QEMU)."""

import errno
import os
import re
import shutil
import subprocess
import tempfile

import pytest

from helpers.counting import TIMEOUT, CountingGuest, make_disk
from helpers.counting import SIZE as GUEST
from helpers.expect import refused
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, MADV_REMOVE, Mapping, fallocate, opened

MEMORY = 16 << 20
QEMU = "qemu-system-x86_64"
# What `dmemfsctl guest-args` asks for where the memory is tmpfs, which maps what is not there.
NO_MEMORY = {True: "preallocat.*", False: "unable to map backing store for guest RAM: Cannot allocate memory"}

needs_qemu = pytest.mark.skipif(not shutil.which(QEMU), reason="needs qemu-system-x86")


def test_qemu_with_a_directory_as_mem_path(fs):
    """mkstemp, unlink at once, ftruncate, mmap: the memory has no name, and is free when the guest ends."""
    fd, name = tempfile.mkstemp(prefix="qemu_back_mem.ram0.", dir=fs.root)
    os.unlink(name)
    os.ftruncate(fd, MEMORY)
    mapping = Mapping(fd, MEMORY)
    os.close(fd)
    with mapping:
        mapping.write(MEMORY - 5, b"guest")
        assert os.listdir(fs.root) == []
        assert fs.free() == fs.capacity - MEMORY
        assert mapping.read(MEMORY - 5, 5) == b"guest"
    assert fs.wait_free(fs.capacity) == fs.capacity


def test_qemu_with_a_new_file_as_mem_path(fs):
    """
    QEMU opens with O_RDWR and gets ENOENT, so it creates the file exclusively with mode 0644, and sizes it because
    it is empty.
    """
    path = fs / "vm1"
    refused(errno.ENOENT, os.open, path, os.O_RDWR)
    with opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644) as fd:
        assert os.lseek(fd, 0, os.SEEK_END) == 0
        os.ftruncate(fd, MEMORY)
        assert os.lseek(fd, 0, os.SEEK_END) == MEMORY
        with Mapping(fd, MEMORY) as mapping:
            mapping.write(0, b"first boot")
    with opened(path, os.O_RDWR) as fd:
        assert os.lseek(fd, 0, os.SEEK_END) == MEMORY
        with Mapping(fd, MEMORY) as mapping:
            assert mapping.read(0, 10) == b"first boot"


def test_qemu_too_large_for_the_memory_fails_at_once(fs):
    with opened(fs / "vm1", os.O_RDWR | os.O_CREAT | os.O_EXCL) as fd:
        refused(errno.ENOSPC, os.ftruncate, fd, fs.capacity + fs.unit)
    os.unlink(fs / "vm1")


@needs_qemu
def test_qemu_itself_does_not_start_without_the_memory(fs, backend):
    """QEMU goes on when ftruncate fails. It ends at mmap, or with prealloc=on when it touches the memory."""
    size = 2 * fs.capacity
    options = f"size={size},share=on,mem-path={fs / 'vm1'},prealloc={'on' if backend.has_pages else 'off'}"
    done = subprocess.run([QEMU, "-accel", "tcg", "-machine", "pc,memory-backend=ram", "-m", f"{size}B", "-nodefaults", "-S",
                           "-display", "none", "-object", f"memory-backend-file,id=ram,{options}"],
                          stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 1 and re.search(NO_MEMORY[backend.has_pages], done.stderr), done
    assert "ftruncate: No space left on device" in done.stderr, done
    assert fs.free() == fs.capacity
    assert re.search(rf"ENOSPC for qemu-system-x86 \(pid \d+, uid 0\): wanted a size of {size} bytes, {fs.capacity} are free",
                     fs.daemon.log)


@needs_qemu
def test_memory_that_is_not_there_is_not_plugged_into_a_running_guest(fs, backend, work):
    with CountingGuest(work, fs / "vm1", "-drive", f"file={make_disk(work / 'disk')},format=raw,if=ide") as guest:
        guest.wait_for(1)
        with pytest.raises(AssertionError, match=NO_MEMORY[backend.has_pages]):
            guest.qmp.execute("object-add", **{"qom-type": "memory-backend-file", "id": "more", "mem-path": str(fs / "more"),
                                               "size": fs.capacity, "share": True, "prealloc": backend.has_pages})
        guest.wait_for(len(guest.counted) + 2)
        assert guest.qmp.execute("query-status")["status"] == "running"
        assert fs.free() == fs.capacity - GUEST


def test_balloon_discards_by_punching_the_descriptor(fs):
    with opened(fs.make_file("vm1", b"g" * MEMORY)) as fd, Mapping(fd, MEMORY) as mapping:
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 << 20, 2 << 20)
        assert mapping.read(4 << 20, 2 << 20) == bytes(2 << 20)
        assert mapping.read((4 << 20) - 1, 1) == mapping.read(6 << 20, 1) == b"g"
        mapping.write(5 << 20, b"inflated again")
        assert os.pread(fd, 14, 5 << 20) == b"inflated again"


def test_discard_by_madvise_reads_zero_and_keeps_the_books(fs):
    with opened(fs.make_file("vm1", b"g" * MEMORY)) as fd, Mapping(fd, MEMORY) as mapping:
        mapping.advise(MADV_REMOVE, 4 << 20, 2 << 20)
        assert mapping.read(4 << 20, 2 << 20) == bytes(2 << 20)
        assert mapping.read(6 << 20, 1) == b"g"
        assert fs.free() == fs.capacity - fs.round_up(MEMORY)


@pytest.mark.page_sizes("4K", "2M", "1G")
@pytest.mark.dmemfs(populate="false")
def test_statfs_tells_the_page_size_to_who_maps(fs):
    """Cloud Hypervisor and QEMU align guest memory to f_bsize."""
    with opened(fs.make_file("vm1", size=fs.unit)) as fd:
        assert os.fstatvfs(fd).f_bsize == fs.unit


def test_libvirt_hands_the_file_to_the_user_of_the_guest(fs):
    path = fs.make_file("vm1", size=MEMORY)
    os.chown(path, 64055, 64055)
    os.chmod(path, 0o600)
    os.setxattr(path, "security.selinux", b"system_u:object_r:svirt_image_t:s0:c1,c2\0")
    os.setxattr(path, "trusted.libvirt.security.dac", b"+0:+0")
    assert path.stat().st_uid == 64055
