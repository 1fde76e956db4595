# SPDX-License-Identifier: GPL-2.0-or-later
"""
Random reads, writes, mappings, truncations and punches on one file, compared with a shadow copy, as fsx does (xfstests,
ltp/fsx.c). If they differ, the test prints the seed and all operations so far.

DMEMFS_TEST_SEED repeats a run. DMEMFS_TEST_PROFILE=long takes a new seed and twenty times as many operations.
"""

import os
import random

import pytest

from helpers.effort import PROFILE, rounds
from helpers.expect import first_difference
from helpers.syscalls import (FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, PROT_READ, Mapping,
                              fallocate, opened)

OPERATIONS = {"4K": 5_000, "2M": 1_000}
PAGE = 4096


class Exerciser:
    """The file, its shadow, and what was done to both."""

    def __init__(self, fs, seed, units):
        self.random = random.Random(seed)
        self.fs = fs
        self.path = fs.make_file("file")
        self.limit = units * fs.unit - self.random.randrange(PAGE)
        self.shadow = bytearray()
        self.log = []
        self.reader = os.open(self.path, os.O_RDONLY)
        self.writer = os.open(self.path, os.O_RDWR)
        self.appender = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        self.copy = os.open(fs.make_file("copy"), os.O_RDWR)

    def close(self):
        for fd in (self.reader, self.writer, self.appender, self.copy):
            os.close(fd)

    # What to do it to.

    def place(self, end):
        """A random offset below @end, often near the border of a page or a unit."""
        offset = self.random.randrange(end)
        if self.random.random() < 0.5:
            border = self.random.choice((PAGE, self.fs.unit))
            offset = offset // border * border + self.random.randrange(-2, 3)
        return min(max(offset, 0), end - 1)

    def length(self, offset, end):
        return self.random.randint(1, min(end - offset, self.random.choice((8, PAGE, 70_000, self.fs.unit + 1))))

    def range_in_file(self):
        offset = self.place(len(self.shadow))
        return offset, self.length(offset, len(self.shadow))

    def range_in_limit(self):
        offset = self.place(self.limit)
        return offset, self.length(offset, self.limit)

    def grow_shadow(self, size):
        self.shadow.extend(bytes(max(size - len(self.shadow), 0)))

    # The operations. Each returns what the log says of it.

    def write(self):
        offset, length = self.range_in_limit()
        data = self.random.randbytes(length)
        assert os.pwrite(self.writer, data, offset) == length
        self.grow_shadow(offset + length)
        self.shadow[offset : offset + length] = data
        return f"{offset:#x} {length:#x}"

    def append(self):
        length = min(self.random.randint(1, PAGE), self.limit - len(self.shadow))
        data = self.random.randbytes(length)
        os.write(self.appender, data)
        self.shadow += data
        return f"{length:#x}"

    def truncate(self):
        size = self.place(self.limit)
        os.ftruncate(self.writer, size)
        del self.shadow[size:]
        self.grow_shadow(size)
        return f"{size:#x}"

    def reopen_truncated(self):
        with opened(self.path, os.O_RDWR | os.O_TRUNC):
            self.shadow.clear()
        return ""

    def allocate(self):
        offset, length = self.range_in_limit()
        mode = self.random.choice((0, FALLOC_FL_KEEP_SIZE))
        fallocate(self.writer, mode, offset, length)
        if not mode:
            self.grow_shadow(offset + length)
        return f"{offset:#x} {length:#x} mode {mode}"

    def punch(self):
        offset, length = self.range_in_limit()
        fallocate(self.writer, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)
        self._zero(offset, length)
        return f"{offset:#x} {length:#x}"

    def zero_range(self):
        offset, length = self.range_in_limit()
        keep = self.random.choice((0, FALLOC_FL_KEEP_SIZE))
        fallocate(self.writer, FALLOC_FL_ZERO_RANGE | keep, offset, length)
        if not keep:
            self.grow_shadow(offset + length)
        self._zero(offset, length)
        return f"{offset:#x} {length:#x} mode {keep}"

    def _zero(self, offset, length):
        end = min(offset + length, len(self.shadow))
        if offset < end:
            self.shadow[offset:end] = bytes(end - offset)

    def map_write(self):
        offset, length = self.range_in_file()
        data = self.random.randbytes(length)
        with Mapping(self.writer, len(self.shadow)) as mapping:
            mapping.write(offset, data)
        self.shadow[offset : offset + length] = data
        return f"{offset:#x} {length:#x}"

    def map_dirty_tail(self):
        """Writes past the end of the file into its last page. These bytes must never show."""
        size = len(self.shadow)
        tail = -size % PAGE
        with Mapping(self.writer, size + tail) as mapping:
            mapping.write(size, b"\xdd" * tail)
        return f"{size:#x} {tail:#x}"

    def read(self):
        offset, length = self.range_in_file()
        self.compare(os.pread(self.random.choice((self.reader, self.writer)), length, offset), offset, length)
        return f"{offset:#x} {length:#x}"

    def map_read(self):
        offset, length = self.range_in_file()
        with Mapping(self.reader, len(self.shadow), prot=PROT_READ) as mapping:
            self.compare(mapping.read(offset, length), offset, length)
        return f"{offset:#x} {length:#x}"

    def send(self):
        offset, length = self.range_in_file()
        os.ftruncate(self.copy, 0)
        os.lseek(self.copy, 0, os.SEEK_SET)
        sent = 0
        while sent < length:
            step = os.sendfile(self.copy, self.reader, offset + sent, length - sent)
            assert step > 0
            sent += step
        self.compare(os.pread(self.copy, length, 0), offset, length)
        return f"{offset:#x} {length:#x}"

    def copy_range(self):
        offset, length = self.range_in_file()
        length = min(length, self.limit // 2)
        target = self.place(self.limit - length)
        if target < offset + length and offset < target + length:
            return "overlaps"
        done = 0
        while done < length:
            step = os.copy_file_range(self.writer, self.writer, length - done, offset + done, target + done)
            assert step > 0
            done += step
        self.grow_shadow(target + length)
        self.shadow[target : target + length] = self.shadow[offset : offset + length]
        return f"{offset:#x} {length:#x} to {target:#x}"

    def compare(self, found, offset, length):
        at = first_difference(found, bytes(self.shadow[offset : offset + length]))
        assert at is None, f"differs at {offset + at:#x}: {found[at : at + 16].hex(' ')}"

    def compare_all(self):
        size = os.fstat(self.writer).st_size
        assert size == len(self.shadow), f"size {size:#x} instead of {len(self.shadow):#x}"
        self.compare(os.pread(self.reader, size + 1, 0), 0, size)

    def step(self):
        anywhere = [self.write, self.write, self.truncate, self.allocate, self.punch, self.zero_range]
        if self.random.random() < 0.02:
            anywhere = [self.reopen_truncated]
        if len(self.shadow) < self.limit:
            anywhere.append(self.append)
        if self.shadow:
            anywhere += [self.map_write, self.map_write, self.read, self.map_read, self.send, self.copy_range]
            if len(self.shadow) % PAGE:
                anywhere.append(self.map_dirty_tail)
        operation = self.random.choice(anywhere)
        self.log.append(f"{operation.__name__} at size {len(self.shadow):#x}: ")
        self.log[-1] += operation()


def seeds():
    if "DMEMFS_TEST_SEED" in os.environ:
        return [int(os.environ["DMEMFS_TEST_SEED"])]
    return [random.SystemRandom().randrange(1 << 32)] if PROFILE == "long" else [1, 2]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", seeds())
def test_random_operations_match_a_shadow_copy(fs, page_size, seed):
    exerciser = Exerciser(fs, seed, units=40 if page_size == "4K" else 3)
    try:
        for number in range(rounds(OPERATIONS[page_size])):
            exerciser.step()
            if number % 10 == 0:
                exerciser.compare_all()
        exerciser.compare_all()
    except Exception:
        print(f"seed {seed}, {len(exerciser.log)} operations:")
        print("\n".join(exerciser.log))
        raise
    finally:
        exerciser.close()
