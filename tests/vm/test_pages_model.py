# SPDX-License-Identifier: GPL-2.0-or-later
"""
Memory with struct pages that changes its owner while some of it is held in pipes, against a model. A page that is held
keeps what its last owner wrote until it is released, and its folio cannot get another owner before.
"""

import ctypes
import errno
import mmap
import os
import random

import pytest

from device import PAGE
from helpers.backends import MIB
from helpers.expect import fails_with
from helpers.syscalls import Mapping
from holder import pinned
from test_pages_module import LIBC, IoVec

ORDER = 9
FOLIO = 2 * MIB
MEMORY = 8  # folios that there are
FILE = 6  # folios that a file can have
STEPS = 1500


class Hold:
    """A page of a folio, in a pipe."""

    def __init__(self, mapping, slot):
        self._end, self._begin = os.pipe()
        vector = IoVec(mapping.address + slot * FOLIO, PAGE)
        self.taken = LIBC.vmsplice(self._begin, ctypes.byref(vector), 1, 0)

    def release(self):
        """What is in the page."""
        data = os.read(self._end, PAGE) if self.taken == PAGE else None
        os.close(self._end)
        os.close(self._begin)
        return data


class File:
    def __init__(self, device, number):
        self.device, self.number = device, number
        self.folios = {}  # slot of the file: folio of the memory
        device.call("OBJECT_CREATE", id=number)
        device.call("OBJECT_MODE", id=number, unit=FOLIO, order=ORDER)
        device.call("OBJECT_RESIZE", id=number, size=FILE * FOLIO)
        self.fd = device.open_object(number)
        self.map = None

    def mapping(self):
        """Of all of the file."""
        if self.map is None:
            self.map = Mapping(self.fd, FILE * FOLIO, skew=0)
        return self.map

    def end(self):
        if self.map:
            self.map.unmap()
        os.close(self.fd)
        self.device.call("OBJECT_DROP", id=self.number)
        self.device.call("OBJECT_REAP", id=self.number)


class Model:
    def __init__(self, device, start):
        self.device, self.start = device, start
        self.chance = random.Random(9)
        self.files = [File(device, number) for number in (1, 2)]
        self.content = [bytes(PAGE)] * MEMORY  # of the first page of each folio
        self.holds = []  # (Hold, folio)

    def owned(self):
        return {folio for file in self.files for folio in file.folios.values()}

    def pinned(self):
        return {folio for _, folio in self.holds} - self.owned()

    def some_memory(self):
        """A file, a slot in which it has memory, and the folio; or None."""
        file = self.chance.choice(self.files)
        return (file, *self.chance.choice(list(file.folios.items()))) if file.folios else None

    def add(self):
        file, slot, folio = self.chance.choice(self.files), self.chance.randrange(FILE), self.chance.randrange(MEMORY)
        address = self.start + folio * FOLIO
        if folio in self.owned() | self.pinned():
            wanted = errno.EBUSY
            with fails_with(wanted):
                self.device.call("OBJECT_ZERO", offset=address + self.chance.choice((0, PAGE)), length=PAGE)
        else:
            wanted = errno.EEXIST if slot in file.folios else 0
            self.device.call("OBJECT_ZERO", offset=address, length=FOLIO)
            self.content[folio] = bytes(PAGE)
        members = {"id": file.number, "offset": slot * FOLIO, "start": address, "length": FOLIO}
        if wanted:
            with fails_with(wanted):
                self.device.call("EXTENT_ADD", **members)
        else:
            self.device.call("EXTENT_ADD", **members)
            file.folios[slot] = folio

    def remove(self):
        file, slot = self.chance.choice(self.files), self.chance.randrange(FILE)
        count = self.chance.randint(1, FILE - slot)
        self.device.call("EXTENT_REMOVE", id=file.number, offset=slot * FOLIO, length=count * FOLIO)
        for gone in range(slot, slot + count):
            file.folios.pop(gone, None)

    def write(self):
        if found := self.some_memory():
            file, slot, folio = found
            data = self.chance.randbytes(PAGE)
            if self.chance.randrange(2):
                file.mapping().write(slot * FOLIO, data)
            else:
                os.pwrite(file.fd, data, slot * FOLIO)
            self.content[folio] = data

    def hold(self):
        if len(self.holds) < 12 and (found := self.some_memory()):
            file, slot, folio = found
            hold = Hold(file.mapping(), slot)
            assert hold.taken == PAGE
            self.holds.append((hold, folio))

    def hold_a_hole(self):
        file = self.chance.choice(self.files)
        holes = [slot for slot in range(FILE) if slot not in file.folios]
        if holes:
            hold = Hold(file.mapping(), self.chance.choice(holes))
            assert hold.taken == -1 and ctypes.get_errno() == errno.EFAULT
            hold.release()

    def release(self):
        if self.holds:
            hold, folio = self.holds.pop(self.chance.randrange(len(self.holds)))
            assert hold.release() == self.content[folio]

    def discard(self):
        if found := self.some_memory():
            file, slot, _ = found
            file.mapping().advise(mmap.MADV_DONTNEED, slot * FOLIO, PAGE)

    def anew(self):
        place = self.chance.randrange(len(self.files))
        self.files[place].end()
        self.files[place] = File(self.device, self.files[place].number)

    def check(self):
        found = {at for start, length in pinned(self.device) for at in range(start, start + length, FOLIO)}
        assert found == {self.start + folio * FOLIO for folio in self.pinned()}
        for file in self.files:
            assert self.device.info(file.number).allocated == len(file.folios) * FOLIO
        if seen := self.some_memory():
            file, slot, folio = seen
            assert file.mapping().read(slot * FOLIO, PAGE) == self.content[folio]
            assert os.pread(file.fd, PAGE, slot * FOLIO) == self.content[folio]

    def end(self):
        while self.holds:
            self.release()
        for file in self.files:
            file.end()
        assert not pinned(self.device)


@pytest.fixture
def order():
    return ORDER


def test_random_holds(device, region):
    model = Model(device, region.start)
    steps = [model.add] * 6 + [model.write] * 4 + [model.hold] * 4 + [model.release] * 3 + [model.remove] * 3 + [
        model.discard, model.hold_a_hole, model.anew]
    for _ in range(STEPS):
        model.chance.choice(steps)()
        model.check()
    model.end()
