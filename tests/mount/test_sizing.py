# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes are exact to the byte, memory comes in whole units, and a request for too much memory gets none."""

import errno
import os

import pytest

from helpers.expect import fails_with, refused, same_bytes
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, fallocate, ftruncate_raw, opened

EVERY_PAGE_SIZE = pytest.mark.page_sizes("4K", "2M", "1G")
LARGEST = (1 << 63) - 1


@EVERY_PAGE_SIZE
@pytest.mark.dmemfs(populate="false")
@pytest.mark.parametrize("units, extra", ((0, 1), (1, -1), (1, 0), (1, 1), (3, 4095), (4, -4097)))
def test_size_is_exact_and_memory_is_whole_units(fs, units, extra):
    size = units * fs.unit + extra
    if size < 0:
        pytest.skip("the size would be less than 0")
    path = fs.make_file("file", size=size)
    held = fs.round_up(size)
    assert path.stat().st_size == size
    assert path.stat().st_blocks == held // 512
    assert fs.allocated(path) == held
    assert fs.free() == fs.capacity - held


@EVERY_PAGE_SIZE
@pytest.mark.dmemfs(populate="false")
def test_statfs_counts_in_units(fs):
    status = os.statvfs(fs.root)
    assert status.f_bsize == status.f_frsize == fs.unit
    assert status.f_blocks * fs.unit == fs.capacity
    assert status.f_bfree == status.f_bavail == status.f_blocks
    assert status.f_files > status.f_ffree > 1000
    fs.make_file("file", size=1)
    after = os.statvfs(fs.root)
    assert after.f_bfree == status.f_bfree - 1
    assert after.f_ffree == status.f_ffree - 1


def test_size_goes_up_and_down_exactly(fs):
    path = fs.make_file("file")
    for size in (1, fs.unit, fs.unit + 1, 7 * fs.unit - 1, 2 * fs.unit, 1, 0, 4097, 0):
        os.truncate(path, size)
        assert path.stat().st_size == size
        assert fs.free() == fs.capacity - fs.round_up(size)


def test_bytes_below_the_new_end_stay(fs):
    content = os.urandom(3 * fs.unit)
    path = fs.make_file("file", content)
    os.truncate(path, 2 * fs.unit + 5)
    os.truncate(path, 5 * fs.unit)
    same_bytes(path.read_bytes(), content[: 2 * fs.unit + 5] + bytes(3 * fs.unit - 5))


def test_descriptor_truncates_its_file(fs):
    with opened(fs / "file", os.O_CREAT | os.O_RDWR) as fd:
        os.ftruncate(fd, 12345)
        assert os.fstat(fd).st_size == 12345


def test_negative_size_is_einval(fs):
    path = fs.make_file("file", b"x")
    with opened(path) as fd:
        for size in (-1, 1 << 63, (1 << 64) - 4096):
            refused(errno.EINVAL, ftruncate_raw, fd, size)
        refused(errno.EINVAL, fallocate, fd, 0, -1, 10)
        refused(errno.EINVAL, fallocate, fd, 0, 0, 0)
        refused(errno.EINVAL, fallocate, fd, 0, 0, -5)


@pytest.mark.parametrize("size", (LARGEST, LARGEST - 1, LARGEST - 4095, 1 << 62, 1 << 40),
                         ids=("2^63-1", "2^63-2", "2^63-4096", "2^62", "2^40"))
def test_size_beyond_all_memory_is_refused_and_changes_nothing(fs, size):
    path = fs.make_file("file", b"kept")
    before = fs.free()
    with opened(path) as fd:
        with fails_with(errno.ENOSPC, errno.EFBIG):
            os.ftruncate(fd, size)
        with fails_with(errno.ENOSPC, errno.EFBIG):
            fallocate(fd, 0, 0, size)
        with fails_with(errno.ENOSPC, errno.EFBIG):
            fallocate(fd, FALLOC_FL_KEEP_SIZE, size - 4096, 4096)
            # KEEP_SIZE far out needs one unit only: holding it is no mistake, so give it back.
            os.ftruncate(fd, 4)
            raise OSError(errno.ENOSPC, "held")
        with fails_with(errno.ENOSPC, errno.EFBIG):
            os.pwrite(fd, b"x", size - 1)
    assert path.read_bytes() == b"kept"
    assert fs.free() == before


def test_range_that_wraps_past_the_largest_offset_is_efbig(fs):
    with opened(fs.make_file("file", b"kept")) as fd:
        with fails_with(errno.EFBIG):
            fallocate(fd, 0, LARGEST - 10, 100)
        with fails_with(errno.EFBIG, errno.EINVAL):
            os.pwrite(fd, b"four", LARGEST - 1)
            os.pwrite(fd, b"four", LARGEST)


def test_truncate_beyond_the_free_memory_is_enospc_and_changes_nothing(fs):
    fs.make_file("big", size=fs.capacity - 4 * fs.unit)
    path = fs.make_file("file", b"kept", size=2 * fs.unit)
    refused(errno.ENOSPC, os.truncate, path, 4 * fs.unit + 1)
    assert path.stat().st_size == 2 * fs.unit
    assert fs.allocated(path) == 2 * fs.unit
    assert fs.free() == 2 * fs.unit
    os.truncate(path, 4 * fs.unit)
    assert fs.free() == 0


@pytest.mark.parametrize("mode", (0, FALLOC_FL_KEEP_SIZE), ids=("plain", "keep-size"))
def test_fallocate_beyond_the_free_memory_is_all_or_nothing(fs, mode):
    """A part of the range already has memory, so that the rest consists of several gaps."""
    fs.make_file("big", size=fs.capacity - 8 * fs.unit)
    path = fs.make_file("file", size=fs.unit)
    with opened(path) as fd:
        fallocate(fd, FALLOC_FL_KEEP_SIZE, 4 * fs.unit, fs.unit)
        before = fs.extents(fd)
        refused(errno.ENOSPC, fallocate, fd, mode, 0, 9 * fs.unit)
        assert fs.extents(fd) == before
        assert os.fstat(fd).st_size == fs.unit
        assert fs.free() == 6 * fs.unit
        fallocate(fd, mode, 0, 8 * fs.unit)
        assert fs.free() == 0


def test_write_into_a_shortage_is_short_and_then_enospc(fs):
    """The part that fits is written, as on other file systems."""
    fs.make_file("big", size=fs.capacity - 2 * fs.unit)
    path = fs.make_file("file")
    chunk = b"c" * (fs.unit // 2 + 100)
    written = 0
    with opened(path) as fd:
        with fails_with(errno.ENOSPC):
            while True:
                written += os.write(fd, chunk)
    assert path.stat().st_size == written == 2 * fs.unit
    same_bytes(path.read_bytes(), b"c" * written)
    assert fs.free() == 0


def test_full_file_system_still_makes_names_and_overwrites(fs):
    path = fs.make_file("big", size=fs.capacity)
    assert fs.free() == 0
    fs.make_file("empty")
    (fs / "dir").mkdir()
    with opened(path) as fd:
        assert os.pwrite(fd, b"end", fs.capacity - 3) == 3
        refused(errno.ENOSPC, os.pwrite, fd, b"x", fs.capacity)
    refused(errno.ENOSPC, os.truncate, fs / "empty", 1)


def test_removed_file_gives_its_memory_back(fs):
    path = fs.make_file("file", size=fs.capacity // 2)
    os.unlink(path)
    assert fs.wait_free(fs.capacity) == fs.capacity


@pytest.mark.dmemfs(populate="false")
def test_everything_can_be_removed_and_allocated_again_at_once(fs):
    """`rm vm1; create vm2` with all memory. The memory is free a moment after rm, and the sizing waits for it."""
    for turn in range(30):
        path = fs.make_file(f"file{turn}", size=fs.capacity)
        assert fs.free() == 0
        os.unlink(path)


@pytest.mark.dmemfs(populate="false")
def test_memory_of_many_removed_files_serves_one_large_at_once(fs):
    count = 16
    for turn in range(3):
        for number in range(count):
            fs.make_file(f"part{number}", size=fs.capacity // count)
        assert fs.free() == 0
        for number in range(count):
            os.unlink(fs / f"part{number}")
        os.unlink(fs.make_file("whole", size=fs.capacity))
        assert turn or fs.stats()["files"] <= 1


@pytest.mark.dmemfs(populate="false")
def test_truncated_memory_is_free_at_once(fs):
    one, two = fs.make_file("one"), fs.make_file("two")
    for _ in range(30):
        os.truncate(one, fs.capacity)
        os.truncate(one, 0)
        os.truncate(two, fs.capacity)
        os.truncate(two, 0)


def test_replaced_file_gives_its_memory_back_at_once(fs):
    """A program saves by renaming over the old file. The memory of the replaced version serves the next one."""
    half = fs.capacity // 2
    for _ in range(6):
        fs.make_file("new", size=half)
        os.rename(fs / "new", fs / "current")


@EVERY_PAGE_SIZE
@pytest.mark.dmemfs(populate="false")
def test_all_memory_fits_into_one_file_and_not_a_byte_more(fs):
    path = fs.make_file("all", size=fs.capacity)
    assert fs.free() == 0
    refused(errno.ENOSPC, os.truncate, path, fs.capacity + 1)
    os.truncate(path, fs.capacity - 1)
    assert fs.free() == 0
    os.truncate(path, fs.capacity - fs.unit)
    assert fs.free() == fs.unit


@pytest.mark.page_sizes("2M", "1G")
@pytest.mark.dmemfs(populate="false")
def test_large_file_is_one_run_that_huge_pages_can_map(fs):
    path = fs.make_file("file", size=fs.capacity // 2)
    runs = fs.extents(path)
    assert len(runs) == 1
    assert runs[0].start % fs.unit == 0


@pytest.mark.page_sizes("4K")
def test_scattered_free_memory_serves_a_file_in_several_runs(fs):
    names = [fs.make_file(f"part{number}", size=fs.capacity // 64) for number in range(64)]
    for path in names[::2]:
        os.unlink(path)
    path = fs.make_file("file", size=fs.capacity // 2)
    assert fs.free() == 0
    assert fs.allocated(path) == fs.capacity // 2
