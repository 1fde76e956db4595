# SPDX-License-Identifier: GPL-2.0-or-later
"""ioctls with random bytes: whatever the number, the struct and the address, the result is an error or an answer."""

import ctypes
import errno
import mmap
import os
import random

import pytest

from dmemfs_ioctl import REQUESTS

PAGE = 4096
CALLS = 5000
PROT_NONE = 0  # not in Python's mmap
WORDS = 12  # of 8 bytes: the largest struct
# Regions stay claimed and bad pages bad, for the tests that follow.
NUMBERS = [number for name, (number, _) in REQUESTS.items() if name not in ("REGION_CLAIM", "POISON_ADD")]


class Edge:
    """A page that can be read and written, followed by one that cannot."""

    def __init__(self):
        self._map = mmap.mmap(-1, 2 * PAGE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.libc = ctypes.CDLL(None, use_errno=True)
        assert self.libc.mprotect(ctypes.c_void_p(self.address + PAGE), PAGE, PROT_NONE) == 0

    def put(self, words):
        self._map[0 : 8 * len(words)] = b"".join(word.to_bytes(8, "little") for word in words)

    def ioctl(self, fd, number, address):
        """0, a descriptor, or a negative errno."""
        result = self.libc.ioctl(fd, ctypes.c_ulong(number), ctypes.c_void_p(address))
        return result if result >= 0 else -ctypes.get_errno()


@pytest.mark.parametrize("order", [0, 9, 18], ids=["raw", "pages=2M", "pages=1G"])
def test_random_bytes(device, region, order):
    chance = random.Random(7)
    edge = Edge()
    values = [0, 1, 2, 7, PAGE - 1, PAGE, PAGE + 1, 2 << 20, 16 << 20, 1 << 30, region.start, region.start + PAGE,
              region.start + region.length, (1 << 63) - 1, (1 << 63) - PAGE, 1 << 63, (1 << 64) - PAGE, (1 << 64) - 1,
              order << 32]
    addresses = [edge.address] * 12 + [0, edge.address + PAGE - 8, edge.address + PAGE, (1 << 64) - 8, 1 << 47]
    seen = set()
    for _ in range(CALLS):
        number = chance.choice(NUMBERS)
        if not chance.randrange(8):
            number ^= 1 << chance.randrange(32)
        edge.put([chance.choice(values) if chance.randrange(3) else 0 for _ in range(WORDS)])
        result = edge.ioctl(device.fd, number, chance.choice(addresses))
        if result > 0:
            os.close(result)
        seen.add(min(result, 0))
    assert {0, -errno.EINVAL, -errno.ENOENT, -errno.EFAULT, -errno.ENOTTY} <= seen
    assert device.call("REGION_NEXT", start=region.start).length == region.length
