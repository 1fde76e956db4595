# SPDX-License-Identifier: GPL-2.0-or-later
"""The system calls of QEMU and Cloud Hypervisor on their memory file, in their order (QEMU's physmem.c)."""

import errno
import os
import tempfile

import pytest

from helpers.expect import refused
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, MADV_REMOVE, Mapping, fallocate, opened

MEMORY = 16 << 20


def test_qemu_with_a_directory_as_mem_path(fs):
    """mkstemp, unlink at once, ftruncate, mmap: the guest's memory has no name and goes with the guest."""
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
    """O_RDWR fails with ENOENT, so it is created exclusively with mode 0644 and sized because it is empty."""
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
