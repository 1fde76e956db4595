# SPDX-License-Identifier: GPL-2.0-or-later
"""
A host for a time that the profile sets (helpers/effort.py), with all memory in use: files of guests come and go, whose memory is lent
to the host meanwhile, and so do programs of the host that use this memory in many ways. Nobody is killed, no guest finds other
contents than its own, a file that fits into lend-reserve always gets its memory, and in the end the host has exactly what it had.
DMEMFS_SOAK_SEED repeats a run; the kernel's log has a line for each round.
"""

import errno
import os
import random
import shutil
import time
from collections import Counter

import pytest

from helpers.accounting import read_stats
from helpers.backends import GIB, MIB
from helpers.counting import SIZE as GUEST_SIZE
from helpers.counting import CountingGuest, make_disk
from helpers.effort import SOAK_SECONDS
from helpers.host_memory import meminfo
from helpers.mount import Mount, wait_until
from helpers.syscalls import Mapping
from lending import Load, cache, large_file, swap
from plugins.kernel_log import is_complaint
from test_lending import WAIT, accounts, load_program, set_key  # noqa: F401; fixtures

SEED = int(os.environ.get("DMEMFS_SOAK_SEED", time.time_ns() % 10**6))
NODES = 2
RESERVE = GIB  # of each node
UNIT = 2 * MIB
SMALL, LARGE = (32, 400), (1000, 2500)  # MiB of a file: what may fit into the reserves, and what needs lent memory
GUESTS, LOADS = 3, 4  # at most, at once
KINDS = {"small": 500, "tmpfs": 500, "locked": 200, "uring": 32, "vmsplice": 16, "splice": 16}  # MiB at most
MARGIN = 600 * MIB  # that the host keeps when a program starts
CACHED = 512 * MIB
SWAP = 2048  # MiB
QEMU_ROUNDS = 5  # from one QEMU to the next
PAUSES = (0, 0, 3, 8)  # seconds, with free memory that can be lent
ZERO = bytes(MIB)
TOKEN = 16  # bytes, at the start and the end of each UNIT

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.timeout(SOAK_SECONDS + 900),
              pytest.mark.dmemfs(size=2 * GIB, lend="on", lend_reserve=RESERVE, lend_idle="1", take_timeout="60")]


@pytest.fixture
def own_memory():
    """Of the host, when nothing is lent."""
    return meminfo("MemTotal")


@pytest.fixture
def host(own_memory, daemon, backend, reserved):
    """A mount with a region on each node."""
    keys = daemon.config.read_text().partition("[region ")[0]
    daemon.config.write_text(keys + "".join(f"[region node{number}]\nstart={start}\nsize={size}\npages=none\n"
                                            for number, (start, size) in enumerate(reserved[:NODES])))
    daemon.start()
    mount = Mount(daemon, backend, UNIT, sum(size for _, size in reserved[:NODES]))
    yield mount
    mount.check()


class Guest:
    """A file that is a guest's memory, mapped; it knows what is in there. OSError: there is not enough memory."""

    def __init__(self, path, size, rng):
        self.path, self.size = path, size
        self._tokens = {}
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            os.ftruncate(fd, size)
            self._mapping = Mapping(fd, size)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(fd)
        for offset in range(0, size, MIB):
            assert self._mapping.read(offset, MIB) == ZERO, f"{path}: fresh memory is not zero at {offset:#x}"
        self.write(rng)

    def write(self, rng):
        for start in range(0, self.size, UNIT):
            for offset in (start, start + UNIT - TOKEN):
                self._tokens[offset] = rng.randbytes(TOKEN)
                self._mapping.write(offset, self._tokens[offset])

    def verify(self):
        for offset, token in self._tokens.items():
            found = self._mapping.read(offset, TOKEN)
            assert found == token, f"{self.path} at {offset:#x}: {found.hex()} instead of {token.hex()}"

    def leave(self):
        self.verify()
        self._mapping.unmap()
        self.path.unlink()


class Soak:
    def __init__(self, host, program, large, reserved):
        self._host, self._program, self._large = host, program, large
        self._range = reserved[0][0], reserved[NODES - 1][0] + reserved[NODES - 1][1] - reserved[0][0]
        self._rng = random.Random(SEED)
        self._guests, self._loads = [], []
        self.counts = Counter()

    def _used(self):
        return sum(guest.size for guest in self._guests)

    def _fits(self, size):
        """The reserves have room for it, whatever is lent."""
        return self._used() + size <= NODES * RESERVE

    def _wait_free(self):
        """Until the memory of removed files is back."""
        free = self._host.capacity - self._used()
        assert self._host.wait_free(free) == free

    def add_guest(self, mib):
        size = mib * MIB // UNIT * UNIT
        lent = self._host.stats()["lent_bytes"]
        self.counts["guests"] += 1
        try:
            self._guests.append(Guest(self._host / f"vm{self.counts['guests']}", size, self._rng))
        except OSError as error:
            assert error.errno == errno.ENOSPC
            assert not self._fits(size), f"{mib} MiB are refused, {self._used() // MIB} MiB are in use: {self._host.stats()}"
            self.counts["refused"] += 1
            return
        self.counts["on memory that was lent"] += self._used() > self._host.capacity - lent

    def remove_guest(self):
        guest = self._guests.pop(self._rng.randrange(len(self._guests)))
        guest.leave()
        self._wait_free()
        time.sleep(self._rng.choice(PAUSES))

    def _start_load(self):
        """Every second one uses most of what the host has left."""
        room = (meminfo("MemAvailable") - MARGIN) // MIB
        if room < max(KINDS.values()):
            self.counts["full hosts"] += 1
            return
        kind, most = self._rng.choice([("huge", room), self._rng.choice(list(KINDS.items()))])
        load = Load(self._program, kind, self._rng.randint((most + 1) // 2, most), *self._range)
        self._loads.append(load)
        self.counts[kind] += 1
        self.counts["MiB of lent memory used"] += load.inside * 4096 // MIB

    def end_load(self):
        load = self._loads.pop(self._rng.randrange(len(self._loads)))
        assert load.process.poll() is None and load.check()[1] == 0
        assert load.end() == 0

    def press(self):
        """The host's programs change, and it reads a large file."""
        if len(self._loads) == LOADS or (self._loads and self._rng.random() < 0.4):
            self.end_load()
        else:
            self._start_load()
        cache(self._large, self._rng.randrange(CACHED))

    def boot(self, disk):
        if self._fits(GUEST_SIZE):
            path = self._host / "qemu"
            with CountingGuest(disk.parent, path, "-drive", f"file={disk},format=raw,if=ide,snapshot=on") as guest:
                guest.wait_for(3)
            path.unlink()
            self._wait_free()
            self.counts["QEMU"] += 1

    def round(self):
        self.press()
        if len(self._guests) == GUESTS or (self._guests and self._rng.random() < 0.4):
            self.remove_guest()
        else:
            self.add_guest(self._rng.randint(*self._rng.choice((SMALL, LARGE))))
        for guest in self._guests:
            guest.verify()
            guest.write(self._rng)
        self.counts["rounds"] += 1
        self._say()

    def _say(self):
        """To the kernel's log, which is there when the VM has died."""
        lent = read_stats(self._host.root)["lent_bytes"] // MIB
        self.counts["rounds with lent memory"] += lent > 0
        line = ", ".join(f"{number} {what}" for what, number in self.counts.items())
        with open("/dev/kmsg", "w", encoding="ascii") as log:
            log.write(f"<6>soak: {line}; {lent} MiB are lent\n")

    def end(self):
        while self._guests:
            self.remove_guest()
        while self._loads:
            self.end_load()

    def kill(self):
        for load in self._loads:
            load.process.kill()


def test_guests_come_and_go_on_a_host_without_free_memory(own_memory, host, daemon, reserved, load_program, work, kernel_log,
                                                          record_property):
    record_property("seed", SEED)
    print(f"seed {SEED}")
    disk = make_disk(work / "disk") if shutil.which("qemu-system-x86_64") else None
    most = host.capacity - NODES * RESERVE
    wait_until(lambda: meminfo("MemTotal") == own_memory + most, "all is lent but the reserves", WAIT)
    with large_file(work, CACHED) as large, swap(SWAP):
        soak = Soak(host, load_program, large, reserved)
        try:
            cache(large, CACHED)
            soak.add_guest((most + RESERVE) // MIB)
            soak.remove_guest()
            until = time.monotonic() + SOAK_SECONDS
            while time.monotonic() < until:
                soak.round()
                complaints = [text for level, text in kernel_log.read() if is_complaint(level, text)]  # a log of hours overflows
                assert not complaints
                if disk and soak.counts["rounds"] % QEMU_ROUNDS == 1:
                    soak.boot(disk)
            soak.end()
        finally:
            soak.kill()
    print(dict(soak.counts))
    assert soak.counts["on memory that was lent"] > 0
    daemon.kill()
    set_key(daemon, "lend", "off")
    daemon.next()
    wait_until(lambda: host.stats()["lent_bytes"] == 0, "all is taken back", WAIT)
    assert meminfo("MemTotal") == own_memory
