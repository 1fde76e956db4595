# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest as the host sees it: a process that maps a file and knows the contents of each page, while the file grows,
shrinks and gives ranges back. Other contents than those it wrote are an error.
"""

import errno
import os
import random

from helpers.backends import PAGE_SIZES
from helpers.children import Child
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, Mapping, fallocate

PAGE = 4096
UNITS = {PAGE_SIZES["4K"]: 512, PAGE_SIZES["2M"]: 6}  # of a guest at most
NO_ROOM = (errno.EDQUOT, errno.ENOSPC)
ZERO = bytes(16)


class Guest:
    """Runs in a process of its own from its start to leave(). The checks pause it by pause() and go_on()."""

    def __init__(self, path, seed):
        self.path = path
        self._child = Child(_run, path, seed, with_pipe=True)
        self.has_memory = self._child.receive() == "runs"
        if not self.has_memory:
            self._child.wait()

    def ask_to_pause(self):
        self._child.pipe.send("pause")

    def paused(self):
        """Returns once it has read all of its memory: {what it did: how often} since the last time."""
        return self._child.receive(timeout=120)

    def go_on(self):
        self._child.pipe.send("go on")

    def leave(self):
        """It ends. Before, its file loses its name, and the memory stays until the end."""
        self._child.pipe.send("leave")
        self._child.wait(120)

    def kill(self):
        self._child.kill()


def _run(pipe, path, seed):
    memory = _Memory(path, random.Random(seed))
    if not memory.start():
        os.unlink(path)
        pipe.send("no room")
        return
    pipe.send("runs")
    while True:
        while not pipe.poll():
            memory.step()
        assert pipe.recv() == "pause"
        memory.verify()
        pipe.send(memory.counts)
        memory.counts = {}
        if pipe.recv() == "leave":
            break
    os.unlink(path)
    for _ in range(100):
        memory.write()
    memory.verify()


class _Memory:
    def __init__(self, path, rng):
        self._rng = rng
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self._unit = PAGE_SIZES[os.getxattr(self._fd, "dmemfs.page_size").decode()]
        self._size = 0
        self._mapping = None
        self._pages = {}  # number: what is at its start; zero elsewhere
        self.counts = {}

    def start(self):
        return self._resize(self._units() * self._unit)

    def _units(self):
        return self._rng.randint(1, UNITS[self._unit])

    def _count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def _resize(self, size):
        """False when there is not enough memory; nothing has changed then."""
        if self._mapping:
            self._mapping.unmap()
        try:
            os.ftruncate(self._fd, size)
            self._size = size
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._count(errno.errorcode[error.errno])
        assert os.fstat(self._fd).st_size == self._size
        self._pages = {page: token for page, token in self._pages.items() if page < self._size // PAGE}
        self._mapping = Mapping(self._fd, self._size) if self._size else None
        return self._size == size

    def step(self):
        action = self._rng.choices((self.write, self.look, self.resize, self.discard), (200, 200, 4, 4))[0]
        action()
        self._count(action.__name__)

    def _page(self):
        return self._rng.randrange(self._size // PAGE)

    def write(self):
        page = self._page()
        self._pages[page] = self._rng.randbytes(len(ZERO))
        self._mapping.write(page * PAGE, self._pages[page])

    def look(self, page=None):
        if page is None:
            page = self._page()
        expected = self._pages.get(page, ZERO)
        found = self._mapping.read(page * PAGE, 2 * len(ZERO))
        assert found == expected + ZERO, f"page {page}: {found.hex()} instead of {expected.hex()}"

    def resize(self):
        self._resize(self._units() * self._unit)

    def discard(self):
        first = self._page()
        count = self._rng.randint(1, self._size // PAGE - first)
        fallocate(self._fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first * PAGE, count * PAGE)
        for page in range(first, first + count):
            self._pages.pop(page, None)

    def verify(self):
        for page in range(self._size // PAGE):
            self.look(page)
