# SPDX-License-Identifier: GPL-2.0-or-later
"""fallocate(2) in its modes, and the data and holes that lseek(2) reports."""

import errno
import os

import pytest

from helpers.expect import fails_with, refused, same_bytes
from helpers.syscalls import (FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_KEEP_SIZE,
                              FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, Mapping, fallocate, opened)

PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


@pytest.fixture
def filled(fs):
    """A descriptor of a file of eight units without a zero byte, and its content."""
    content = bytes(1 + (number * 7 + number // 255) % 255 for number in range(65536)) * (8 * fs.unit // 65536 or 1)
    content = content[: 8 * fs.unit]
    with opened(fs.make_file("file", content)) as fd:
        yield fd, content


def test_plain_fallocate_grows_the_file_and_its_memory(fs):
    with opened(fs.make_file("file", b"head")) as fd:
        fallocate(fd, 0, 3 * fs.unit, fs.unit + 1)
        assert os.fstat(fd).st_size == 4 * fs.unit + 1
        assert fs.allocated(fd) == 5 * fs.unit
        assert os.pread(fd, 8, 0) == b"head\0\0\0\0"
        fallocate(fd, 0, 0, 10)
        assert os.fstat(fd).st_size == 4 * fs.unit + 1


def test_keep_size_takes_memory_for_later(fs):
    with opened(fs.make_file("file", b"head")) as fd:
        fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4 * fs.unit)
        assert os.fstat(fd).st_size == 4
        assert fs.free() == fs.capacity - 4 * fs.unit
        fs.make_file("others", size=fs.capacity - 4 * fs.unit)
        os.ftruncate(fd, 4 * fs.unit)
        same_bytes(os.pread(fd, 4 * fs.unit, 0), b"head" + bytes(4 * fs.unit - 4))


def test_truncate_to_its_own_size_gives_kept_memory_back(fs):
    with opened(fs.make_file("file", b"head")) as fd:
        fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4 * fs.unit)
        os.ftruncate(fd, 4)
        assert fs.free() == fs.capacity - fs.unit


def test_file_grows_over_a_gap_before_kept_memory(fs):
    with opened(fs.make_file("file")) as fd:
        fallocate(fd, FALLOC_FL_KEEP_SIZE, 6 * fs.unit, fs.unit)
        os.pwrite(fd, b"x", 5 * fs.unit)
        assert os.fstat(fd).st_size == 5 * fs.unit + 1
        os.ftruncate(fd, 7 * fs.unit)
        assert fs.allocated(fd) == 7 * fs.unit
        same_bytes(os.pread(fd, 7 * fs.unit, 0), bytes(5 * fs.unit) + b"x" + bytes(2 * fs.unit - 1))


@pytest.mark.parametrize("mode", (PUNCH, FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE),
                         ids=("punch", "zero", "zero-keep"))
@pytest.mark.parametrize("start, length", ((0, 1), (1, 4094), (4095, 2), (0, 4096), (4096, 8192), (100, 12000)))
def test_punched_and_zeroed_ranges_read_zero_and_nothing_else_changes(fs, filled, mode, start, length):
    fd, content = filled
    with Mapping(fd, 8 * fs.unit) as mapping:
        fallocate(fd, mode, start, length)
        expected = content[:start] + bytes(length) + content[start + length :]
        same_bytes(os.pread(fd, len(content), 0), expected)
        same_bytes(mapping.read(0, 8 * fs.unit), expected)
    assert os.fstat(fd).st_size == len(content)


def test_punched_units_keep_their_memory(fs, filled):
    """
    With eager allocation a later access must find memory, so punching frees none. Only demand allocation frees it.
    """
    fd, content = filled
    fallocate(fd, PUNCH, fs.unit, 6 * fs.unit)
    same_bytes(os.pread(fd, 8 * fs.unit, 0), content[: fs.unit] + bytes(6 * fs.unit) + content[7 * fs.unit :])
    assert fs.free() == fs.capacity - 8 * fs.unit
    with Mapping(fd, 8 * fs.unit) as mapping:
        mapping.write(2 * fs.unit, b"again")
    assert os.pread(fd, 5, 2 * fs.unit) == b"again"


def test_punch_across_and_past_the_end_leaves_the_size(fs, filled):
    fd, content = filled
    fallocate(fd, PUNCH, 8 * fs.unit - 10, 100 * fs.unit)
    fallocate(fd, PUNCH, 50 * fs.unit, fs.unit)
    assert os.fstat(fd).st_size == 8 * fs.unit
    same_bytes(os.pread(fd, 20, 8 * fs.unit - 20), content[-20:-10] + bytes(10))
    assert fs.free() == fs.capacity - 8 * fs.unit


def test_zero_range_past_the_end_grows_unless_told_not_to(fs, filled):
    fd, content = filled
    fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 8 * fs.unit - 10, 20)
    assert os.fstat(fd).st_size == 8 * fs.unit
    fallocate(fd, FALLOC_FL_ZERO_RANGE, 8 * fs.unit - 10, 20)
    assert os.fstat(fd).st_size == 8 * fs.unit + 10
    same_bytes(os.pread(fd, 40, 8 * fs.unit - 20), content[-20:-10] + bytes(20))


def test_modes_that_move_bytes_are_eopnotsupp(fs, filled):
    fd, content = filled
    for mode in (FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE):
        refused(errno.EOPNOTSUPP, fallocate, fd, mode, fs.unit, fs.unit)
    same_bytes(os.pread(fd, len(content), 0), content)


def test_punch_without_keep_size_is_refused(fs, filled):
    with fails_with(errno.EOPNOTSUPP, errno.EINVAL):
        fallocate(filled[0], FALLOC_FL_PUNCH_HOLE, 0, fs.unit)


def test_fallocate_needs_a_descriptor_for_writing(fs):
    with opened(fs.make_file("file", b"x"), os.O_RDONLY) as fd:
        refused(errno.EBADF, fallocate, fd, 0, 0, 4096)


def test_seek_finds_data_up_to_the_end_and_a_hole_there(fs):
    with opened(fs.make_file("file", b"x" * (fs.unit + 100))) as fd:
        assert os.lseek(fd, 0, os.SEEK_DATA) == 0
        assert os.lseek(fd, 77, os.SEEK_DATA) == 77
        assert os.lseek(fd, fs.unit + 99, os.SEEK_DATA) == fs.unit + 99
        assert os.lseek(fd, 0, os.SEEK_HOLE) == fs.unit + 100
        assert os.lseek(fd, fs.unit + 99, os.SEEK_HOLE) == fs.unit + 100
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            refused(errno.ENXIO, os.lseek, fd, fs.unit + 100, whence)
            refused(errno.ENXIO, os.lseek, fd, fs.unit + 10000, whence)
        refused(errno.EINVAL, os.lseek, fd, -1, os.SEEK_SET)
        assert os.lseek(fd, -100, os.SEEK_END) == fs.unit


def test_seek_in_an_empty_file_is_enxio(fs):
    with opened(fs.make_file("file")) as fd:
        refused(errno.ENXIO, os.lseek, fd, 0, os.SEEK_DATA)
        refused(errno.ENXIO, os.lseek, fd, 0, os.SEEK_HOLE)


def test_what_seek_calls_a_hole_reads_zero(fs, filled):
    """A copy made by SEEK_DATA and SEEK_HOLE, as cp and qemu-img do, equals the file."""
    fd, content = filled
    fallocate(fd, PUNCH, fs.unit, 2 * fs.unit)
    fallocate(fd, PUNCH, 4 * fs.unit + 100, fs.unit)
    copy = bytearray(len(content))
    offset = 0
    while offset < len(content):
        try:
            data = os.lseek(fd, offset, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO
            break
        hole = os.lseek(fd, data, os.SEEK_HOLE)
        assert offset <= data < hole <= len(content)
        copy[data:hole] = os.pread(fd, hole - data, data)
        offset = hole
    same_bytes(bytes(copy), os.pread(fd, len(content), 0))
