# SPDX-License-Identifier: GPL-2.0-or-later
"""
The ioctls against a model: random requests, valid and invalid, on a few objects with little memory. After each step the
module's lists and the bytes of all files must equal the model's. All memory is in one unit, which may be lent.
"""

import errno
import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from device import TAKE_TIMEOUT
from dmemfs_ioctl import CONSTANTS
from helpers.backends import GIB
from helpers.expect import fails_with
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, fallocate
from lending import EHWPOISON

PAGE = 4096
MEMORY = 24  # pages that there are
SPOILED = (5, 6, 17)  # those of them that may go bad
FILE = 32  # pages that a file can have
NAMED, IDLE = CONSTANTS["OBJECT_NAMED"], CONSTANTS["OBJECT_IDLE"]
DROPPED = CONSTANTS["OBJECT_DROPPED"]

ids = st.integers(1, 3)
memory_pages = st.integers(0, MEMORY - 1)
file_pages = st.integers(0, FILE - 1)
counts = st.integers(1, 8)
sizes = st.integers(0, FILE * PAGE)


class Object:
    """The state of one object in the model."""

    def __init__(self):
        self.state = NAMED
        self.size = 0
        self.pages = {}  # of the file: page of the memory
        self.punched = set()  # those that nobody sees any more
        self.demand, self.unit = False, PAGE
        self.fds = []

    def runs(self):
        """(first page of the file, first page of the memory, pages, punched), in as few runs as possible."""
        runs = []
        for page, memory in sorted(self.pages.items()):
            before = runs[-1] if runs else [0, 0, 0, None]
            if [before[0] + before[2], before[1] + before[2], before[3]] == [page, memory, page in self.punched]:
                before[2] += 1
            else:
                runs.append([page, memory, 1, page in self.punched])
        return [tuple(run) for run in runs]

    def visible(self, page):
        """The page of memory that a reader sees there, or None."""
        return None if page in self.punched else self.pages.get(page)


class Model(RuleBasedStateMachine):
    device = start = None
    bad = set()  # pages of the memory; they stay so for all examples

    def __init__(self):
        super().__init__()
        self.objects = {}
        self.lent = False
        self.memory = [bytearray(PAGE) for _ in range(MEMORY)]
        self.zero_memory(0, MEMORY)

    def teardown(self):
        for number, known in self.objects.items():
            for fd in known.fds:
                os.close(fd)
            if known.state == NAMED:
                self.device.call("OBJECT_DROP", id=number)
        self.device.clear()
        self.device.claim(self.start, GIB)

    def call(self, wanted, request, **members):
        """Makes the request. It must fail with the errno @wanted, unless that is 0."""
        if not wanted:
            return self.device.call(request, **members)
        with fails_with(wanted):
            self.device.call(request, **members)
        return None

    def live(self, number):
        known = self.objects.get(number)
        return known if known and known.state != IDLE else None

    def owned(self):
        return {memory for known in self.objects.values() for memory in known.pages.values()}

    def zero_memory(self, first, count):
        self.device.call("OBJECT_ZERO", offset=self.start + first * PAGE, length=count * PAGE)
        for page in self.memory[first : first + count]:
            page[:] = bytes(PAGE)

    def fill(self, known, begin, end, data):
        """Writes @data, or zeroes, where the file has memory. Returns the offset of the first hole."""
        hole = end
        for at in range(begin, end):
            page = known.visible(at // PAGE)
            if page is None:
                hole = min(hole, at)
            else:
                self.memory[page][at % PAGE] = data[at - begin] if data else 0
        return hole

    @rule(number=ids)
    def create(self, number):
        self.call(errno.EEXIST if number in self.objects else 0, "OBJECT_CREATE", id=number)
        self.objects.setdefault(number, Object())

    @rule(number=ids)
    def open(self, number):
        known = self.live(number)
        if known and known.state == NAMED:
            known.fds.append(self.device.open_object(number))
        else:
            with fails_with(errno.ENOENT):
                self.device.open_object(number)

    @rule(number=ids)
    def close(self, number):
        known = self.objects.get(number)
        if not known or not known.fds:
            return
        os.close(known.fds.pop())
        if known.state == DROPPED and not known.fds:
            known.state = IDLE
            assert (CONSTANTS["EVENT_IDLE"], number) in [(event.kind, event.id) for event in self.device.events()]

    @rule(number=ids)
    def drop(self, number):
        known = self.objects.get(number)
        if not known or known.state != NAMED:
            self.call(errno.ENOENT, "OBJECT_DROP", id=number)
            return
        known.state = DROPPED if known.fds else IDLE
        assert self.device.call("OBJECT_DROP", id=number).state == known.state

    @rule(number=ids)
    def reap(self, number):
        known = self.objects.get(number)
        if not known:
            self.call(errno.ENOENT, "OBJECT_REAP", id=number)
        elif known.state != IDLE:
            self.call(errno.EBUSY, "OBJECT_REAP", id=number)
        else:
            self.device.call("OBJECT_REAP", id=number)
            del self.objects[number]

    @rule(number=ids, page=file_pages, memory=memory_pages, count=counts)
    def add(self, number, page, memory, count):
        known = self.live(number)
        taken = self.owned() & set(range(memory, memory + count))
        if memory + count > MEMORY:
            return
        if self.lent:
            taken = True
            self.call(errno.EBUSY, "OBJECT_ZERO", offset=self.start + memory * PAGE, length=count * PAGE)
        elif not taken:
            self.zero_memory(memory, count)
        elif not known:
            pass
        else:
            self.call(errno.EBUSY, "OBJECT_ZERO", offset=self.start + memory * PAGE, length=count * PAGE)
        if not known:
            wanted = errno.ENOENT
        elif taken:
            wanted = errno.EBUSY
        elif known.pages.keys() & set(range(page, page + count)):
            wanted = errno.EEXIST
        else:
            wanted = 0
            known.pages.update((page + i, memory + i) for i in range(count))
        self.call(wanted, "EXTENT_ADD", id=number, offset=page * PAGE, start=self.start + memory * PAGE,
                  length=count * PAGE)

    @rule(number=ids, page=file_pages, count=counts)
    def remove(self, number, page, count):
        known = self.live(number)
        self.call(0 if known else errno.ENOENT, "EXTENT_REMOVE", id=number, offset=page * PAGE, length=count * PAGE)
        for gone in range(page, page + count):
            if known:
                known.pages.pop(gone, None)
                known.punched.discard(gone)

    @rule(number=ids, size=sizes)
    def resize(self, number, size):
        known = self.live(number)
        self.call(0 if known else errno.ENOENT, "OBJECT_RESIZE", id=number, size=size)
        if known:
            self.fill(known, min(size, known.size), FILE * PAGE, None)
            known.size = size

    @rule(number=ids, demand=st.booleans(), unit=st.sampled_from((PAGE, 2 * PAGE, 4 * PAGE, 3 * PAGE, 0)))
    def mode(self, number, demand, unit):
        known = self.live(number)
        wanted = errno.ENOENT if not known else errno.EINVAL if unit in (0, 3 * PAGE) else 0
        self.call(wanted, "OBJECT_MODE", id=number, mode=CONSTANTS["MODE_DEMAND"] if demand else 0, unit=unit)
        if not wanted:
            known.demand, known.unit = demand, unit

    @rule(number=ids, begin=sizes, length=st.integers(1, FILE * PAGE))
    def punch(self, number, begin, length):
        known = self.objects.get(number)
        if not known or not known.fds:
            return
        fallocate(known.fds[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, begin, length)
        end = min(begin + length, known.size)
        first = -(-begin // known.unit) * known.unit
        last = -(-end // known.unit) * known.unit if end == known.size else end // known.unit * known.unit
        if begin >= end:
            return
        if not known.demand or first >= last:
            self.fill(known, begin, end, None)
            return
        self.fill(known, begin, first, None)
        self.fill(known, last, end, None)
        known.punched |= known.pages.keys() & set(range(first // PAGE, last // PAGE))

    @rule(number=ids, page=file_pages, count=counts, error=st.sampled_from((0, errno.ENOSPC, 4096)))
    def answer(self, number, page, count, error):
        """Answers a fault although nothing waits."""
        wanted = errno.ENOENT if not self.live(number) else errno.EINVAL if error == 4096 else 0
        self.call(wanted, "FAULT_ANSWER", id=number, offset=page * PAGE, length=count * PAGE, error=error)

    @rule(number=ids, begin=sizes, length=sizes)
    def zero(self, number, begin, length):
        known = self.live(number)
        self.call(0 if known else errno.ENOENT, "OBJECT_ZERO", id=number, offset=begin, length=length)
        if known:
            self.fill(known, begin, min(begin + length, (FILE + 8) * PAGE), None)

    @rule(page=st.sampled_from(SPOILED), inside=st.integers(0, 9))
    def poison(self, page, inside):
        if inside:
            self.call(0, "POISON_ADD", start=self.start + page * PAGE, length=PAGE)
            self.bad.add(page)
        else:
            self.call(errno.ENXIO, "POISON_ADD", start=self.start + GIB - PAGE, length=2 * PAGE)

    @rule()
    def lend(self):
        wanted = errno.EEXIST if self.lent else errno.EBUSY if self.owned() else EHWPOISON if self.bad else 0
        self.call(wanted, "REGION_LEND", start=self.start, length=GIB)
        self.lent |= not wanted

    @rule()
    def take(self):
        self.call(0 if self.lent else errno.ENOENT, "REGION_TAKE", start=self.start, length=GIB, timeout=TAKE_TIMEOUT)
        if self.lent:
            self.zero_memory(0, MEMORY)
        self.lent = False

    def reach(self, known, begin, end):
        """How far a read or a write from @begin goes before it meets a bad page."""
        return next((at for at in range(begin, end) if known.visible(at // PAGE) in self.bad), end)

    @rule(number=ids, begin=sizes, data=st.binary(min_size=1, max_size=16), times=st.integers(1, 1024))
    def write(self, number, begin, data, times):
        known = self.objects.get(number)
        if not known or not known.fds:
            return
        data *= times
        end = min(begin + len(data), known.size)
        hole = next((at for at in range(begin, end) if known.visible(at // PAGE) is None), end)
        done = min(hole, self.reach(known, begin, end))
        if done <= begin:
            with fails_with(errno.ENOSPC if hole <= begin else errno.EIO):
                os.pwrite(known.fds[0], data, begin)
        else:
            assert os.pwrite(known.fds[0], data, begin) == done - begin
            self.fill(known, begin, done, data)

    @invariant()
    def lists_agree(self):
        found = {info.id: info for info in self.device.objects()}
        assert found.keys() == self.objects.keys()
        for number, known in self.objects.items():
            info = found[number]
            assert (info.state, info.size) == (known.state, known.size)
            assert (info.allocated, info.punched) == (len(known.pages) * PAGE, len(known.punched) * PAGE)
            runs = [(extent.offset // PAGE, (extent.start - self.start) // PAGE, extent.length // PAGE,
                     bool(extent.flags & CONSTANTS["EXTENT_PUNCHED"])) for extent in self.device.extents(number)]
            assert runs == known.runs() and info.extents == len(runs)
        assert next(self.device.regions()).owned == len(self.owned()) * PAGE
        assert [found.start for found in self.device.lent()] == [self.start] * self.lent
        bad = {at for found in self.device.poison() for at in range(found.start, found.start + found.length, PAGE)}
        assert bad == {self.start + page * PAGE for page in self.bad}

    @invariant()
    def bytes_agree(self):
        for known in self.objects.values():
            if known.fds:
                seen = (known.visible(page) for page in range(FILE + 8))
                expected = b"".join(bytes(PAGE) if page is None else bytes(self.memory[page]) for page in seen)
                self.compare(known, expected[: known.size])

    def compare(self, known, expected):
        """Compares all bytes except the bad pages, which cannot be read."""
        at = 0
        while at < len(expected):
            if known.visible(at // PAGE) in self.bad:
                with fails_with(errno.EIO):
                    os.pread(known.fds[0], PAGE, at)
                at = (at // PAGE + 1) * PAGE
                continue
            end = self.reach(known, at, len(expected))
            assert os.pread(known.fds[0], (FILE + 16) * PAGE, at) == expected[at:end]
            at = end
        assert os.pread(known.fds[0], PAGE, len(expected)) == b""


def test_random_requests(forgetful, device, region):
    Model.device, Model.start = device, region.start
    run_state_machine_as_test(Model, settings=settings(
        max_examples=25, stateful_step_count=50, deadline=None, print_blob=True, database=None,
        phases=(Phase.explicit, Phase.generate),  # a failure is shown as it came: to make it shorter takes minutes
        suppress_health_check=list(HealthCheck)))
