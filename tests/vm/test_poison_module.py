# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory errors as the module alone handles them. The test acts as the daemon."""

import errno
import os
from contextlib import contextmanager

import pytest

from device import Device
from dmemfs_ioctl import CONSTANTS
from helpers.backends import GIB
from helpers.expect import fails_with
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, fallocate
from memory_errors import AO, AR, COMPLAINT, build_victim, inject, victim
from test_module import unloaded

KIB, MIB = 1 << 10, 1 << 20
PAGE = 4 * KIB
SIZE = 8 * MIB
BAD = 5 * MIB + 3 * PAGE  # of the file
POISON = CONSTANTS["EVENT_POISON"]
WAIT = 10

complains = pytest.mark.kernel_log(COMPLAINT)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build_victim(tmp_path_factory.mktemp("poison"))


@contextmanager
def object_at(device, number, start, size=SIZE):
    fd = device.create(number, start, size)
    try:
        yield fd
    finally:
        os.close(fd)


def poisoned(device):
    return [(found.start, found.length) for found in device.poison()]


def wait_poisoned(device):
    """Waits for the event, then returns the list."""
    assert POISON in [event.kind for event in device.events(WAIT)]
    return poisoned(device)


def lost(offset, code=AR):
    return f"SIGBUS {code} {offset} 12"


@complains
@pytest.mark.usefixtures("kvm")
def test_guest_that_touches_it(spoiled, reserved, program):
    """KVM does not know such memory, so the VMM learns no more than that the guest cannot go on."""
    start = reserved[0][0]
    with object_at(spoiled, 1, start) as fd, victim(program, fd, SIZE) as process:
        process.put(BAD)
        assert process.get_by_guest(BAD) == f"done {ord('x')}"
        inject(start + BAD)
        assert wait_poisoned(spoiled) == [(start + BAD, PAGE)]
        assert process.get_by_guest(BAD) == f"failed {errno.EFAULT}"


@complains
def test_who_touches_it_is_told_where_and_others_go_on(spoiled, reserved, program):
    start = reserved[0][0]
    with object_at(spoiled, 1, start) as fd, object_at(spoiled, 2, start + SIZE) as other, \
            victim(program, fd, SIZE) as one, victim(program, fd, SIZE) as two, victim(program, other, SIZE) as three:
        for process in (one, two, three):
            assert process.put(BAD) == "done 0"
        before = spoiled.info(1).faults_2m
        inject(start + BAD + 64)
        assert wait_poisoned(spoiled) == [(start + BAD, PAGE)]
        assert one.get(BAD + 100) == lost(BAD + 100) and one.put(BAD) == lost(BAD)
        # The large page around it is gone, and what was in it is still there.
        for offset in (BAD - 1, BAD + PAGE, 4 * MIB, 6 * MIB - 1):
            assert one.get(offset) == "done 0"
        assert spoiled.info(1).faults_2m == before and spoiled.info(1).faults_4k >= 4
        assert two.get(0) == "done 0" and two.get(BAD) == lost(BAD)
        assert three.get(BAD) == f"done {ord('x')}"
        assert one.told() == "nothing"


@complains
def test_large_pages_around_it_are_not_mapped_before_it_is_touched(spoiled, reserved, program):
    start = reserved[0][0]
    spoiled.call("POISON_ADD", start=start + BAD, length=2 * PAGE)
    with object_at(spoiled, 1, start) as fd, victim(program, fd, SIZE) as process:
        assert process.get(BAD - PAGE) == "done 0" and process.get(0) == "done 0"
        assert process.get(BAD + PAGE) == lost(BAD + PAGE)
        info = spoiled.info(1)
        assert (info.faults_4k, info.faults_2m) == (1, 1)


@complains
def test_a_page_of_a_gigabyte(spoiled, reserved, program):
    start = reserved[0][0]
    with object_at(spoiled, 1, start, GIB) as fd, victim(program, fd, GIB) as process:
        assert process.put(700 * MIB) == "done 0" and spoiled.info(1).faults_1g == 1
        inject(start + BAD)
        wait_poisoned(spoiled)
        assert process.get(BAD) == lost(BAD)
        assert process.get(700 * MIB) == f"done {ord('x')}" and spoiled.info(1).faults_2m == 1


@complains
def test_who_asked_for_it_is_told_at_once(spoiled, reserved, program):
    start = reserved[0][0]
    with object_at(spoiled, 1, start) as fd, object_at(spoiled, 2, start + SIZE) as other, \
            victim(program, fd, SIZE, early=True) as early, victim(program, fd, SIZE) as late, \
            victim(program, other, SIZE, early=True) as foreign:
        inject(start + BAD)
        wait_poisoned(spoiled)
        assert early.told() == lost(BAD, AO)
        assert late.told() == foreign.told() == "nothing"
        assert late.get(BAD) == early.get(BAD) == lost(BAD)


def test_reading_and_writing(spoiled, reserved):
    start = reserved[0][0]
    with object_at(spoiled, 1, start) as fd:
        os.pwrite(fd, b"before", BAD - 6)
        spoiled.call("POISON_ADD", start=start + BAD, length=PAGE)
        assert os.pread(fd, 64, BAD - 6) == b"before"
        assert os.pwrite(fd, b"x" * 64, BAD - 8) == 8
        for offset in (BAD, BAD + PAGE - 1):
            with fails_with(errno.EIO):
                os.pread(fd, 1, offset)
            with fails_with(errno.EIO):
                os.pwrite(fd, b"x", offset)
        assert os.pwrite(fd, b"after", BAD + PAGE) == 5 and os.pread(fd, 5, BAD + PAGE) == b"after"


def test_debugger(spoiled, reserved, program):
    """/proc/PID/mem, which reads by the operation ->access."""
    start = reserved[0][0]
    with object_at(spoiled, 1, start) as fd, victim(program, fd, SIZE) as process:
        spoiled.call("POISON_ADD", start=start + BAD, length=PAGE)
        at = process.address(fd)
        with open(f"/proc/{process.pid}/mem", "rb", buffering=0) as memory:
            assert os.pread(memory.fileno(), 8, at + BAD - 8) == bytes(8)
            with fails_with(errno.EIO, errno.EFAULT):
                os.pread(memory.fileno(), 8, at + BAD)


def test_zeroing_leaves_it_out(spoiled, reserved):
    start = reserved[0][0]
    spoiled.call("POISON_ADD", start=start + BAD, length=PAGE)
    with object_at(spoiled, 1, start) as fd:
        for at in (BAD - PAGE, BAD + PAGE):
            os.pwrite(fd, b"x" * PAGE, at)
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BAD - 8, PAGE + 16)
        assert os.pread(fd, 16, BAD - 16) == b"x" * 8 + bytes(8) and os.pread(fd, 16, BAD + PAGE) == bytes(8) + b"x" * 8
        spoiled.call("OBJECT_RESIZE", id=1, size=BAD - 1)
        spoiled.call("OBJECT_RESIZE", id=1, size=SIZE)
        assert os.pread(fd, PAGE, BAD + PAGE) == bytes(PAGE)


@complains
def test_it_stays_so_for_the_next_owner_and_the_next_daemon(spoiled, reserved, program):
    start = reserved[0][0]
    spoiled.call("POISON_ADD", start=start + BAD, length=PAGE)
    assert wait_poisoned(spoiled) == [(start + BAD, PAGE)] and spoiled.events() == []
    with object_at(spoiled, 1, start) as fd, victim(program, fd, SIZE) as process:
        assert process.get(BAD) == lost(BAD)
    spoiled.clear()
    spoiled.close()
    with Device() as again:
        assert wait_poisoned(again) == [(start + BAD, PAGE)]
        again.claim(start, GIB)
        with object_at(again, 7, start) as fd, victim(program, fd, SIZE) as process:
            assert process.get(BAD) == lost(BAD)
        again.clear()
    with unloaded():
        pass
    spoiled.__init__()
    assert poisoned(spoiled) == []


def test_requests(spoiled, reserved):
    start = reserved[0][0]
    for wrong in ((start + 1, PAGE), (start, 0), (start, 1), (start, (1 << 64) - PAGE)):
        with fails_with(errno.EINVAL):
            spoiled.call("POISON_ADD", start=wrong[0], length=wrong[1])
    for outside in ((0, PAGE), (start + GIB - PAGE, 2 * PAGE)):
        with fails_with(errno.ENXIO):
            spoiled.call("POISON_ADD", start=outside[0], length=outside[1])
    assert poisoned(spoiled) == []
    for page in (7, 1, 3, 2, 2):
        spoiled.call("POISON_ADD", start=start + page * PAGE, length=PAGE)
    assert poisoned(spoiled) == [(start + PAGE, 3 * PAGE), (start + 7 * PAGE, PAGE)]
    assert spoiled.call("POISON_NEXT", start=start + PAGE + 1).start == start + 2 * PAGE
    with fails_with(errno.ENOENT):
        spoiled.call("POISON_NEXT", start=(1 << 64) - 1)


@complains
def test_there_is_a_limit(spoiled, reserved):
    start, most = reserved[0][0], CONSTANTS["POISON_MAX"] * PAGE
    with fails_with(errno.ENOSPC):
        spoiled.call("POISON_ADD", start=start, length=most + PAGE)
    assert poisoned(spoiled) == [(start, most)]
    inject(start + most)
    spoiled.events(WAIT)
    assert poisoned(spoiled) == [(start, most)]


@complains
def test_errors_elsewhere_are_not_ours(spoiled, reserved):
    inject(reserved[0][0] + GIB)
    assert spoiled.events(1) == [] and poisoned(spoiled) == []
