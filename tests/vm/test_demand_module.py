# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory on demand as the module alone serves it. The test acts as the daemon."""

import ctypes
import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from device import Device
from dmemfs_ioctl import CONSTANTS
from giver import FAULT, PUNCHED, Giver
from helpers.backends import GIB
from helpers.children import Child
from helpers.expect import fails_with
from helpers.syscalls import (FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, MADV_DONTNEED, MADV_REMOVE, Mapping, fallocate,
                              getdents_into)

KIB, MIB = 1 << 10, 1 << 20
DEMAND, DISCARD = CONSTANTS["MODE_DEMAND"], CONSTANTS["MODE_DISCARD"]
PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
WAIT = 20


@pytest.fixture
def demanding(device, region):
    """Makes object 1 with a size, a unit and memory on demand, and returns a descriptor."""
    opened = []

    def make(size, unit, mode=DEMAND):
        device.call("OBJECT_CREATE", id=1)
        device.call("OBJECT_MODE", id=1, mode=mode, unit=unit)
        device.call("OBJECT_RESIZE", id=1, size=size)
        opened.append(device.open_object(1))
        return opened[0]

    yield make
    for fd in opened:
        os.close(fd)


def run(program, *arguments, fd):
    return subprocess.Popen([program, *map(str, arguments)], pass_fds=[fd], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def write_byte(fd, length, offset, value=b"x"):
    with Mapping(fd, length) as mapping:
        mapping.write(offset, value)
        return mapping.read(offset, 1)


def write_byte_when_told(pipe, fd, length, offset):
    """Writes on request, in a process that exists already, so that the write comes without delay."""
    with Mapping(fd, length) as mapping:
        pipe.send("ready")
        pipe.recv()
        mapping.write(offset, b"x")


def wait_asked(device, count):
    deadline = time.monotonic() + WAIT
    while device.info(1).asked != count:
        assert time.monotonic() < deadline, f"faults wait for {device.info(1).asked} units, not {count}"
        time.sleep(0.01)


def next_fault(device):
    """The next FAULT event. Events about mappings may come before it."""
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        for event in device.events(WAIT):
            if event.kind == FAULT:
                return event
    raise AssertionError("no FAULT event came")


def is_asked(device):
    """Whether a FAULT event is pending. Events about mappings may come at any time."""
    return any(event.kind == FAULT for event in device.events())


@pytest.mark.parametrize("unit, faults", [(4 * KIB, "4k"), (2 * MIB, "2m"), (GIB, "1g")])
def test_touching_a_hole_brings_a_unit(device, region, demanding, toucher, unit, faults):
    fd = demanding(GIB, unit)
    step = max(unit, GIB // 64)
    with Giver(device, region.start, GIB, unit) as giver:
        done = run(toucher, "touch", f"/proc/self/fd/{fd}", step, 1, fd=fd)
        said, errors = done.communicate()
    assert (done.returncode, errors) == (0, "")
    assert said.startswith(f"touched {GIB // step} refused 0 ")
    info = device.info(1)
    assert info.allocated == GIB // step * unit and len(giver.asked) == GIB // step
    # The first entry may be for reading.
    assert GIB // step <= getattr(info, f"faults_{faults}") <= 2 * GIB // step


@pytest.mark.parametrize("threads", [2, 64, 200])
def test_many_threads(device, region, demanding, toucher, threads):
    """There are more threads than units that may be requested at a time."""
    fd = demanding(100 * MIB, 256 * KIB)
    with Giver(device, region.start, GIB, 256 * KIB) as giver:
        done = run(toucher, "touch", f"/proc/self/fd/{fd}", 256 * KIB, threads, fd=fd)
        said, errors = done.communicate()
    assert (errors, done.returncode) == ("", 0) and said.startswith("touched 400 refused 0 ")
    assert sorted(set(giver.asked)) == list(range(0, 100 * MIB, 256 * KIB))
    assert device.info(1).allocated == 100 * MIB and device.info(1).asked == 0


def test_those_who_touch_the_same_unit_wait_together(device, region, demanding):
    fd = demanding(4 * MIB, 2 * MIB)
    children = [Child(write_byte, fd, 4 * MIB, offset) for offset in (0, 5 * KIB, 2 * MIB - 1)]
    event = next_fault(device)
    assert (event.id, event.offset, event.length) == (1, 0, 2 * MIB)
    assert event.pid in [child.pid for child in children]
    assert event.node in (0, 1) and (event.policy, event.nodes) == (0, 0)
    time.sleep(0.3)
    assert not is_asked(device) and device.info(1).asked == 1
    device.add(1, 0, region.start, 2 * MIB)
    assert [child.wait() for child in children] == [b"x"] * 3
    assert device.info(1).asked == 0


def test_the_next_daemon_is_asked_again(device, region, demanding):
    """
    The first daemon never reads the event, the second one dies after it has read it, and the third one gives
    memory.
    """
    fd = demanding(4 * MIB, 4 * KIB)

    def touch():
        device.close()
        return write_byte(fd, 4 * MIB, 8 * KIB)

    with Child(touch) as child:
        wait_asked(device, 1)
        device.close()
        with Device() as second:
            assert next_fault(second).offset == 8 * KIB
        with Device() as third:
            assert next_fault(third).offset == 8 * KIB
            third.add(1, 8 * KIB, region.start, 4 * KIB)
            assert child.wait() == b"x"


def test_refused(device, demanding):
    fd = demanding(4 * MIB, 4 * KIB)
    with Child(write_byte_when_told, fd, 4 * MIB, 0, with_pipe=True) as second:
        assert second.receive() == "ready"
        with Child(write_byte, fd, 4 * MIB, 0) as first:
            event = next_fault(device)
            device.call("FAULT_ANSWER", id=1, offset=event.offset, length=event.length, error=errno.ENOSPC)
            # For a while nobody is asked; then again.
            second.pipe.send("go on")
            assert first.wait_status() == second.wait_status() == -signal.SIGBUS and not is_asked(device)
    time.sleep(1.5)
    with Child(write_byte, fd, 4 * MIB, 0) as child:
        assert next_fault(device).offset == 0
    wait_asked(device, 0)


def test_looking_again(device, demanding):
    fd = demanding(4 * MIB, 4 * KIB)
    with Child(write_byte, fd, 4 * MIB, 0):
        for _ in range(3):
            assert next_fault(device).offset == 0
            device.call("FAULT_ANSWER", id=1, offset=0, length=4 * KIB, error=0)


def test_a_waiting_process_can_be_killed(device, demanding):
    fd = demanding(4 * MIB, 4 * KIB)
    with Child(write_byte, fd, 4 * MIB, 0) as child:
        wait_asked(device, 1)
        child.kill()
    wait_asked(device, 0)
    assert not is_asked(device)


def catch_alarms(fd):
    caught = []
    signal.signal(signal.SIGALRM, lambda *_: caught.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
    with Mapping(fd, 4 * MIB) as mapping:
        mapping.write(0, b"x")
    signal.setitimer(signal.ITIMER_REAL, 0)
    return len(caught)


def test_signals_are_handled_meanwhile(device, region, demanding):
    """
    Python's handler runs only when the write has returned. The test shows that the write is tried again after each
    signal.
    """
    fd = demanding(4 * MIB, 4 * KIB)
    with Child(catch_alarms, fd) as child:
        time.sleep(1.5)
        assert device.info(1).asked == 1
        device.add(1, 0, region.start, 4 * KIB)
        assert child.wait() >= 1


def write_bound(fd, mode, nodes):
    with Mapping(fd, 4 * MIB) as mapping:
        mapping.bind(mode, nodes)
        mapping.write(0, b"x")


@pytest.mark.parametrize("mode, nodes, policy", [
    (2, 0b10, "ONLY"), (1, 0b01, "PREFER"), (3, 0b11, "SPREAD"),
], ids=["bind", "preferred", "interleave"])
def test_the_policy_of_the_mapping_is_told(device, region, demanding, mode, nodes, policy):
    fd = demanding(4 * MIB, 2 * MIB)
    with Child(write_bound, fd, mode, nodes) as child:
        event = next_fault(device)
        assert (event.policy, event.nodes) == (CONSTANTS[f"POLICY_{policy}"], nodes)
        device.add(1, 0, region.start, 2 * MIB)
        child.wait()


def test_resize_ends_the_wait(device, demanding):
    fd = demanding(4 * MIB, 2 * MIB)
    with Child(write_byte, fd, 4 * MIB, 2 * MIB) as child:
        wait_asked(device, 1)
        device.call("OBJECT_RESIZE", id=1, size=2 * MIB)
        assert child.wait_status() == -signal.SIGBUS
    assert device.info(1).asked == 0


def test_no_more_demand_ends_the_wait(device, demanding):
    fd = demanding(4 * MIB, 2 * MIB)
    with Child(write_byte, fd, 4 * MIB, 2 * MIB) as child:
        wait_asked(device, 1)
        device.call("OBJECT_MODE", id=1, mode=0, unit=2 * MIB)
        assert child.wait_status() == -signal.SIGBUS


@pytest.mark.parametrize("mode, unit", [(4, 4096), (DEMAND, 0), (DEMAND, 2048), (DEMAND, 12 * KIB), (DEMAND, 2 * GIB)])
def test_modes_that_are_none(device, region, mode, unit):
    device.call("OBJECT_CREATE", id=1)
    with fails_with(errno.EINVAL):
        device.call("OBJECT_MODE", id=1, mode=mode, unit=unit)


def test_reading_takes_no_memory(device, demanding):
    fd = demanding(4 * MIB, 4 * KIB)
    assert os.pread(fd, 8 * MIB, 0) == bytes(4 * MIB)
    with Mapping(fd, 4 * MIB) as mapping, open("/proc/self/mem", "rb", buffering=0) as memory:
        memory.seek(mapping.address + 5000)
        assert memory.read(100) == bytes(100)
    assert device.info(1).allocated == 0 and not is_asked(device)
    with fails_with(errno.ENOSPC):
        os.pwrite(fd, b"x", 0)


def test_punched_units_come_back(device, region, demanding):
    fd = demanding(8 * MIB, 2 * MIB)
    device.add(1, 0, region.start, 8 * MIB)
    with Mapping(fd, 8 * MIB) as mapping:
        for at in range(0, 8 * MIB, MIB):
            mapping.write(at, b"secret")
        mapping.advise(MADV_REMOVE, MIB, 4 * MIB)  # half of the first unit, the next one, half of the third
        assert [mapping.read(at, 6) for at in (0, MIB, 5 * MIB)] == [b"secret", bytes(6), b"secret"]
        assert os.pread(fd, 8 * MIB, 0).count(b"secret") == 4
        info = device.info(1)
        assert (info.punched, info.allocated) == (2 * MIB, 8 * MIB)
        runs = [(found.offset, found.length, found.flags) for found in device.extents(1)]
        assert runs == [(0, 2 * MIB, 0), (2 * MIB, 2 * MIB, 1), (4 * MIB, 4 * MIB, 0)]
        event, = [event for event in device.events() if event.kind == PUNCHED]
        assert (event.kind, event.id, event.offset, event.length) == (PUNCHED, 1, 2 * MIB, 2 * MIB)
        # Still the object's: neither another one nor the same can have it before it is taken away.
        with fails_with(errno.EEXIST):
            device.call("EXTENT_ADD", id=1, offset=2 * MIB, start=region.start + 16 * MIB, length=2 * MIB)
        with fails_with(errno.EBUSY):
            device.call("OBJECT_ZERO", offset=region.start + 2 * MIB, length=4 * KIB)
        device.call("EXTENT_REMOVE", id=1, offset=2 * MIB, length=2 * MIB)
        assert device.info(1).punched == 0
        device.add(1, 2 * MIB, region.start + 2 * MIB, 2 * MIB)
        assert mapping.read(2 * MIB, 2 * MIB) == bytes(2 * MIB)


def test_punching_to_the_end_takes_the_last_unit(device, region, demanding):
    fd = demanding(3 * MIB + 5, 2 * MIB)
    device.add(1, 0, region.start, 4 * MIB)
    os.pwrite(fd, b"x" * MIB, 2 * MIB)
    fallocate(fd, PUNCH, 2 * MIB, 2 * GIB)
    assert device.info(1).punched == 2 * MIB
    assert os.pread(fd, 4 * MIB, 0) == bytes(3 * MIB + 5)


def test_touching_what_was_punched_waits(device, region, demanding):
    fd = demanding(4 * MIB, 2 * MIB)
    device.add(1, 0, region.start, 4 * MIB)
    fallocate(fd, PUNCH, 0, 2 * MIB)
    with Child(write_byte, fd, 4 * MIB, 0) as child:
        wait_asked(device, 1)
        device.call("EXTENT_REMOVE", id=1, offset=0, length=2 * MIB)
        device.add(1, 0, region.start + 8 * MIB, 2 * MIB)
        assert child.wait() == b"x"


def test_an_object_with_punched_extents_is_reaped(device, region, demanding):
    device.call("OBJECT_CREATE", id=2)
    device.call("OBJECT_MODE", id=2, mode=DEMAND, unit=4 * KIB)
    device.call("OBJECT_RESIZE", id=2, size=MIB)
    device.add(2, 0, region.start, MIB)
    fd = device.open_object(2)
    fallocate(fd, PUNCH, 4 * KIB, 8 * KIB)
    os.close(fd)
    device.call("OBJECT_DROP", id=2)
    device.call("OBJECT_REAP", id=2)
    assert next(device.regions()).owned == 0


def test_punching_under_load_shows_no_old_byte(device, region, demanding, toucher):
    fd = demanding(16 * MIB, 2 * MIB)
    with Giver(device, region.start, 64 * MIB, 2 * MIB) as giver:
        done = run(toucher, "punch", f"/proc/self/fd/{fd}", 2 * MIB, 10, fd=fd)
        said, errors = done.communicate()
        giver.take_punched(1)
    assert (errors, done.returncode) == ("", 0)
    assert int(said) > 8 and giver.returned >= int(said) // 2 * 2 * MIB // 2


def test_discard_mappings(device, region, demanding):
    fd = demanding(4 * MIB, 2 * MIB, mode=DISCARD)
    device.add(1, 0, region.start, 4 * MIB)
    with Mapping(fd, 4 * MIB) as mapping:
        mapping.write(0, b"x" * 4 * MIB)
        mapping.advise(MADV_DONTNEED, 0, 4 * MIB)
        assert mapping.read(0, 4 * MIB) == b"x" * 4 * MIB
    info = device.info(1)
    assert info.mode == DISCARD and info.faults_1g == 0
    assert device.hello.discard_page_sizes & 2 * MIB or info.faults_2m == 0
    device.call("OBJECT_MODE", id=1, mode=0, unit=4 * KIB)
    with Mapping(fd, 4 * MIB) as mapping, fails_with(errno.EINVAL):
        mapping.advise(MADV_DONTNEED, 0, 4 * MIB)


@pytest.fixture
def short_patience():
    """Shortens the time that the kernel's own accesses wait, in seconds."""
    parameter = Path("/sys/module/dmemfs/parameters/kernel_wait_seconds")
    default = parameter.read_text()
    parameter.write_text("3\n")
    yield 3
    parameter.write_text(default)


def list_into(fd, directory):
    """
    Calls getdents64(2) with the buffer in a hole, so that the kernel writes to it while it holds the directory's
    lock.
    """
    listed = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    with Mapping(fd, 4 * MIB) as mapping:
        return getdents_into(listed, mapping.address, 4096)


def read_into(fd, path):
    with Mapping(fd, 4 * MIB) as mapping, open(path, "rb", buffering=0) as file:
        return file.readinto((ctypes.c_char * 4096).from_address(mapping.address))


@pytest.mark.parametrize("stopped", [False, True], ids=["no daemon", "a daemon that does nothing"])
@pytest.mark.parametrize("access", [list_into, read_into])
def test_the_kernel_does_not_wait_for_ever(device, demanding, public, short_patience, access, stopped):
    """
    A process that may only read root's directory holds its lock for a while at most: then the call fails with
    EFAULT.
    """
    fd = demanding(4 * MIB, 2 * MIB)
    (public / "file").write_bytes(b"x" * 4096)

    def attack():
        device.close()
        return access(fd, public if access is list_into else public / "file")

    begun = time.monotonic()
    with Child(attack, uid=65534) as child:
        wait_asked(device, 1)
        if not stopped:
            device.close()
        with Child(os.mkdir, public / "new") as root:
            root.wait()
        with fails_with(errno.EFAULT):
            child.wait()
    assert short_patience <= time.monotonic() - begun < short_patience + WAIT
    if stopped:
        assert device.info(1).asked == 0


def test_the_kernel_waits_for_a_daemon_that_comes(device, region, demanding, public, short_patience):
    fd = demanding(4 * MIB, 2 * MIB)
    (public / "file").write_bytes(b"x" * 4096)
    with Child(read_into, fd, public / "file") as child:
        wait_asked(device, 1)
        device.add(1, 0, region.start, 2 * MIB)
        assert child.wait() == 4096


def test_user_space_and_guests_wait_longer(device, region, demanding, vcpu, kvm, short_patience):
    """They wait as long as it takes, because they hold no lock."""
    fd = demanding(4 * MIB, 4 * KIB)
    device.add(1, 0, region.start, 4 * KIB)
    os.pwrite(fd, bytes.fromhex("a00020f4"), 0)  # mov al, [0x2000]; hlt
    guest = run(vcpu, f"/proc/self/fd/{fd}", fd=fd)
    with Child(write_byte, fd, 4 * MIB, 3 * 4 * KIB) as child:
        wait_asked(device, 2)
        time.sleep(2 * short_patience)
        assert device.info(1).asked == 2 and guest.poll() is None
        device.add(1, 2 * 4 * KIB, region.start + 2 * MIB, 8 * KIB)
        assert child.wait() == b"x"
    assert guest.communicate() == ("", "") and guest.returncode == 0


def test_suspend_does_not_wait_for_memory(device, demanding, public):
    """A process that waits for memory can be frozen, also when the access is one of the kernel's."""
    fd = demanding(4 * MIB, 2 * MIB)
    test = Path("/sys/power/pm_test")
    with Child(list_into, fd, public), Child(write_byte, fd, 4 * MIB, 2 * MIB):
        wait_asked(device, 2)
        test.write_text("freezer\n")
        try:
            Path("/sys/power/state").write_text("freeze\n")
        finally:
            test.write_text("none\n")
        assert device.info(1).asked == 2
