# SPDX-License-Identifier: GPL-2.0-or-later
"""/dev/dmemfs as the daemon uses it, for tests without a daemon."""

import ctypes
import fcntl
import os
import select

from dmemfs_ioctl import CONSTANTS, REQUESTS, STRUCTS

PATH = "/dev/dmemfs"
PAGE = 4096
TAKE_TIMEOUT = 300_000  # milliseconds: the VM is slow


class Device:
    """The control device. HELLO is sent unless @hello is false."""

    def __init__(self, hello=True, flags=os.O_RDWR, path=PATH):
        self.fd = os.open(path, flags | os.O_CLOEXEC)
        self.hello = None
        if hello:
            self.hello = self.call("HELLO", abi=CONSTANTS["ABI_VERSION"])

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def call(self, request, **members):
        """Makes the request. Returns its struct as the module left it."""
        number, kind = REQUESTS[request]
        argument = kind(**members)
        fcntl.ioctl(self.fd, number, argument)
        return argument

    def claim(self, start, length, order=0):
        return self.call("REGION_CLAIM", start=start, length=length, order=order)

    def open_object(self, object_id):
        """A descriptor of the object."""
        number, kind = REQUESTS["OBJECT_OPEN"]
        return fcntl.ioctl(self.fd, number, kind(id=object_id))

    def add(self, object_id, offset, start, length):
        """Gives zeroed memory to the object."""
        self.call("OBJECT_ZERO", offset=start, length=length)
        self.call("EXTENT_ADD", id=object_id, offset=offset, start=start, length=length)

    def create(self, object_id, start, size, order=0):
        """Makes an object of @size with the memory at @start, and returns a descriptor."""
        self.call("OBJECT_CREATE", id=object_id)
        if order:
            self.call("OBJECT_MODE", id=object_id, unit=PAGE << order, order=order)
        self.add(object_id, 0, start, size)
        self.call("OBJECT_RESIZE", id=object_id, size=size)
        return self.open_object(object_id)

    def info(self, object_id):
        """struct dmemfs_object_info, or None."""
        return next((found for found in self.objects(object_id) if found.id == object_id), None)

    def _walk(self, request, member, first, following, **fixed):
        while True:
            try:
                found = self.call(request, **{member: first}, **fixed)
            except FileNotFoundError:
                return
            yield found
            first = following(found)

    def objects(self, first=0):
        return self._walk("OBJECT_NEXT", "id", first, lambda found: found.id + 1)

    def regions(self):
        return self._walk("REGION_NEXT", "start", 0, lambda found: found.start + found.length)

    def pinned(self):
        """What is pinned, after another look at all of it."""
        return self._walk("PINNED_NEXT", "start", 0, lambda found: found.start + found.length)

    def poison(self):
        return self._walk("POISON_NEXT", "start", 0, lambda found: found.start + found.length)

    def lend(self, start):
        self.call("REGION_LEND", start=start, length=self.hello.lend_unit)

    def take(self, start, timeout=TAKE_TIMEOUT):
        self.call("REGION_TAKE", start=start, length=self.hello.lend_unit, timeout=timeout)

    def lent(self):
        return self._walk("LENT_NEXT", "start", 0, lambda found: found.start + found.length)

    def events(self, timeout=0):
        """The pending events. Waits up to @timeout seconds for the first one."""
        kind = STRUCTS["event"]
        ready, _, _ = select.select([self.fd], [], [], timeout)
        data = os.read(self.fd, ctypes.sizeof(kind) * 64) if ready else b""
        return [kind.from_buffer_copy(data, at) for at in range(0, len(data), ctypes.sizeof(kind))]

    def extents(self, object_id):
        return self._walk("EXTENT_NEXT", "offset", 0, lambda found: found.offset + found.length, id=object_id)

    def clear(self):
        """Removes all objects and regions, after it took what is lent. No descriptor and no mapping of an object may be left."""
        for found in list(self.lent()):
            self.take(found.start)
        for found in list(self.objects()):
            if found.state == CONSTANTS["OBJECT_NAMED"]:
                self.call("OBJECT_DROP", id=found.id)
            self.call("OBJECT_REAP", id=found.id)
        for found in list(self.regions()):
            self.call("REGION_RELEASE", start=found.start, length=found.length)
