# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's part of demand allocation, for tests that have only the module."""

import threading

from dmemfs_ioctl import CONSTANTS

FAULT, PUNCHED = CONSTANTS["EVENT_FAULT"], CONSTANTS["EVENT_PUNCHED"]


class Giver:
    """A thread that answers faults with memory from [start, start + size), and takes back what is punched."""

    def __init__(self, device, start, size, unit):
        self.device, self.unit = device, unit
        self.free = list(range(start, start + size, unit))
        self.asked, self.returned = [], 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.is_set():
            for event in self.device.events(0.1):
                if event.kind == FAULT:
                    self._give(event)
                elif event.kind == PUNCHED:
                    self.take_punched(event.id)

    def _give(self, event):
        self.asked.append(event.offset)
        self.take_punched(event.id)
        if any(found.offset <= event.offset < found.offset + found.length for found in self.device.extents(event.id)):
            self.answer(event, 0)  # it is there by now
        elif self.free:
            self.device.add(event.id, event.offset, self.free.pop(0), self.unit)
        else:
            self.answer(event, 28)

    def answer(self, event, error):
        self.device.call("FAULT_ANSWER", id=event.id, offset=event.offset, length=event.length, error=error)

    def take_punched(self, object_id):
        for found in list(self.device.extents(object_id)):
            if found.flags & CONSTANTS["EXTENT_PUNCHED"]:
                self.device.call("EXTENT_REMOVE", id=object_id, offset=found.offset, length=found.length)
                self.free += range(found.start, found.start + found.length, self.unit)
                self.returned += found.length
