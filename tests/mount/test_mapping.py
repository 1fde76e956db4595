# SPDX-License-Identifier: GPL-2.0-or-later
"""mmap: all processes see the same memory, and accesses do not involve the daemon."""

import errno
import os
import signal

import pytest

from helpers.children import Child, death_of, in_child
from helpers.expect import refused, same_bytes
from helpers.syscalls import PROT_READ, PROT_WRITE, Mapping, opened

UNITS = 4


@pytest.fixture
def path(fs):
    return fs.make_file("file", size=UNITS * fs.unit)


@pytest.mark.memory_only("compares with the tmpfs file behind the mount")
def test_mapping_and_backing_file_are_the_same_memory_with_the_daemon_stopped(fs, path):
    length = UNITS * fs.unit
    with opened(path) as fd, opened(fs.backend.object_path(path.stat().st_ino)) as behind:
        with Mapping(fd, length) as mount_side, Mapping(behind, length) as memory_side:
            with fs.daemon.frozen():
                for offset in (0, 1, 4095, fs.unit, length - 16):
                    mount_side.write(offset, b"from the mount")
                    assert memory_side.read(offset, 14) == b"from the mount"
                    memory_side.write(offset, b"from the back")
                    assert mount_side.read(offset, 14) == b"from the backt"
                mount_side.sync()


def test_mapping_works_while_the_daemon_is_stopped(fs, path):
    with opened(path) as fd, Mapping(fd, UNITS * fs.unit) as one, Mapping(fd, UNITS * fs.unit) as two:
        with fs.daemon.frozen():
            for offset in range(0, UNITS * fs.unit, fs.unit):
                one.write(offset, b"touched")
                assert two.read(offset, 7) == b"touched"


def test_mapping_sees_writes_and_reads_see_the_mapping(fs, path):
    with opened(path) as fd, opened(path, os.O_RDONLY) as reader, Mapping(fd, UNITS * fs.unit) as mapping:
        for turn in range(50):
            data = bytes([turn + 1]) * 3000
            offset = turn * 1777 % (UNITS * fs.unit - 3000)
            os.pwrite(fd, data, offset)
            assert mapping.read(offset, 3000) == data
            mapping.write(offset + 1000, b"mapped")
            assert os.pread(reader, 3000, offset) == data[:1000] + b"mapped" + data[1006:]
            assert os.pread(fd, 3000, offset) == data[:1000] + b"mapped" + data[1006:]


def test_two_processes_share_the_memory(fs, path):
    def guest(pipe):
        with opened(path) as fd, Mapping(fd, UNITS * fs.unit) as mapping:
            pipe.send("mapped")
            while (order := pipe.recv()) is not None:
                offset, expected, answer = order
                same_bytes(mapping.read(offset, len(expected)), expected)
                mapping.write(offset, answer)
                pipe.send("done")

    with Child(guest, with_pipe=True) as child, opened(path) as fd, Mapping(fd, UNITS * fs.unit) as mapping:
        assert child.receive() == "mapped"
        for offset in (0, fs.unit - 3, UNITS * fs.unit - 5):
            mapping.write(offset, b"hello")
            child.pipe.send((offset, b"hello", b"world"))
            assert child.receive() == "done"
            assert mapping.read(offset, 5) == b"world"
        child.pipe.send(None)
        child.wait()


def test_forked_process_shares_an_inherited_mapping(fs, path):
    with opened(path) as fd, Mapping(fd, UNITS * fs.unit) as mapping:
        mapping.write(0, b"parent")

        def child():
            assert mapping.read(0, 6) == b"parent"
            mapping.write(fs.unit, b"child")

        in_child(child)
        assert mapping.read(fs.unit, 5) == b"child"


def test_mapping_outlives_its_descriptor(fs, path):
    with opened(path) as fd:
        mapping = Mapping(fd, UNITS * fs.unit)
    with mapping:
        mapping.write(fs.unit, b"after close")
        assert path.read_bytes()[fs.unit : fs.unit + 11] == b"after close"
        os.truncate(path, (UNITS + 1) * fs.unit)
        with opened(path) as fd:
            os.pwrite(fd, b"through a later open", 0)
        assert mapping.read(0, 20) == b"through a later open"


def test_mapping_of_a_part_starts_at_its_offset(fs, path):
    with opened(path) as fd, Mapping(fd, fs.unit, offset=2 * fs.unit) as part:
        part.write(5, b"part")
        assert os.pread(fd, 4, 2 * fs.unit + 5) == b"part"


def test_mapping_of_more_than_there_is(fs, path, backend):
    """
    Some programs map first and size the file later. QEMU continues when it could not size its file: on reserved
    memory mmap then fails.
    """
    size = 2 * UNITS * fs.unit
    with opened(path) as fd:
        if not backend.has_pages:
            refused(errno.ENOMEM, Mapping, fd, size)
            refused(errno.ENOMEM, Mapping, fd, fs.unit, offset=UNITS * fs.unit)
            os.ftruncate(fd, size)
        with Mapping(fd, size) as mapping:
            os.ftruncate(fd, size)
            mapping.write(size - fs.unit, b"new end")
            assert os.pread(fd, 7, size - fs.unit) == b"new end"


def test_mprotect_mremap_and_partial_munmap_work(fs, path, backend):
    with opened(path) as fd, Mapping(fd, UNITS * fs.unit) as mapping:
        mapping.write(0, b"first")
        mapping.write(3 * fs.unit, b"last")
        mapping.protect(PROT_READ)
        assert mapping.read(0, 5) == b"first"
        mapping.protect(PROT_READ | PROT_WRITE)
        mapping.write(0, b"FIRST")
        mapping.unmap_part(fs.unit, fs.unit)
        assert mapping.read(3 * fs.unit, 4) == b"last"
        mapping.write(2 * fs.unit, b"third")
        assert os.pread(fd, 5, 2 * fs.unit) == b"third"
    with opened(path) as fd, Mapping(fd, 2 * fs.unit) as mapping:
        if backend.has_pages:
            mapping.resize(UNITS * fs.unit)
            assert mapping.read(3 * fs.unit, 4) == b"last"
        else:
            # A deviation: the kernel extends no mapping of memory without struct page (mremap(2), VM_PFNMAP).
            refused(errno.EFAULT, mapping.resize, UNITS * fs.unit)
        mapping.resize(fs.unit)
        assert mapping.read(0, 5) == b"FIRST"


def test_msync_succeeds(fs, path):
    with opened(path) as fd, Mapping(fd, UNITS * fs.unit) as mapping:
        mapping.write(0, b"x")
        mapping.sync()
        mapping.sync(1)


def test_descriptor_for_reading_maps_for_reading_only(fs, path):
    with opened(path, os.O_RDONLY) as fd:
        refused(errno.EACCES, Mapping, fd, fs.unit)
        with Mapping(fd, fs.unit, prot=PROT_READ) as mapping:
            os.truncate(path, UNITS * fs.unit)
            with opened(path) as writer:
                os.pwrite(writer, b"seen", 0)
            assert mapping.read(0, 4) == b"seen"
    assert death_of(_write_read_only, path) == signal.SIGSEGV


def _write_read_only(path):
    with opened(path, os.O_RDONLY) as fd, Mapping(fd, 4096, prot=PROT_READ) as mapping:
        mapping.write(0, b"x")


@pytest.mark.parametrize("size", (1, 4096, 5000))
def test_touching_whole_pages_past_the_end_is_sigbus(fs, size):
    path = fs.make_file("small", size=4 * fs.unit)
    end = -(-size // 4096) * 4096

    def touch(offset):
        with opened(path) as fd, Mapping(fd, max(16384, fs.unit)) as mapping:
            os.ftruncate(fd, size)
            mapping.read(offset, 1)

    assert death_of(touch, end - 1) is None
    os.truncate(path, 4 * fs.unit)
    assert death_of(touch, end) == signal.SIGBUS


@pytest.mark.parametrize("access", ("read", "write"))
def test_shrinking_under_a_live_mapping_is_sigbus_past_the_new_end(fs, path, access):
    def guest(pipe):
        with opened(path) as fd, Mapping(fd, UNITS * fs.unit) as mapping:
            for offset in range(0, UNITS * fs.unit, 4096):
                mapping.write(offset, b"populated")
            pipe.send("mapped")
            pipe.recv()
            assert mapping.read(fs.unit - 4096, 9) == b"populated"
            pipe.send("below the end all is well")
            if access == "read":
                mapping.read(fs.unit, 1)
            else:
                mapping.write(fs.unit, b"x")
            pipe.send("no SIGBUS")

    with Child(guest, with_pipe=True) as child:
        assert child.receive() == "mapped"
        os.truncate(path, fs.unit)
        assert fs.free() == fs.capacity - fs.unit
        child.pipe.send("go")
        assert child.receive() == "below the end all is well"
        assert child.wait_status() == -signal.SIGBUS


def test_memory_that_shrinking_freed_is_not_reached_by_the_old_mapping(fs):
    """
    Another file gets the memory. The old mapping neither sees nor changes it, also after the first file has grown
    again.
    """
    path = fs.make_file("file", size=fs.capacity)
    with opened(path) as fd, Mapping(fd, fs.capacity) as mapping:
        mapping.write(2 * fs.unit, b"old owner")
        os.ftruncate(fd, fs.unit)
        other = fs.make_file("other", b"new owner", size=fs.capacity - 2 * fs.unit)
        os.ftruncate(fd, 2 * fs.unit)
        mapping.write(fs.unit, b"w" * fs.unit)
        same_bytes(other.read_bytes(), b"new owner" + bytes(fs.capacity - 2 * fs.unit - 9))


def test_many_mappings_of_many_files_stay_apart(fs):
    mappings = []
    try:
        for number in range(32):
            with opened(fs.make_file(f"file{number}", size=fs.unit)) as fd:
                mappings.append(Mapping(fd, fs.unit))
        for number, mapping in enumerate(mappings):
            mapping.write(0, bytes([number]) * 4096)
        for number, mapping in enumerate(mappings):
            assert mapping.read(0, 4096) == bytes([number]) * 4096
    finally:
        for mapping in mappings:
            mapping.unmap()
