# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that hold memory of an object as a device does, and the wait until they have released it."""

import subprocess
import time
from pathlib import Path

from programs import compile_program

DISK = "/dev/ram0"
DISK_SIZE = 64 << 20
WAIT = 30


def prepare_disk():
    """A RAM disk of 64 MiB, which transfers from and to the pages of the caller."""
    subprocess.run(["modprobe", "brd", "rd_nr=1", f"rd_size={DISK_SIZE >> 10}"], check=True)
    deadline = time.monotonic() + WAIT
    while not Path(DISK).exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def build_holder(directory):
    return compile_program(directory, Path(__file__).parent / "pages" / "holder.c")


class Holder:
    """The program pages/holder.c; see there."""

    def __init__(self, program, fd, length, offset, size):
        self._process = subprocess.Popen([program, str(fd), str(length), str(offset), str(size)], pass_fds=[fd],
                                         text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._answer() == "holds"

    def _answer(self):
        return self._process.stdout.readline().strip()

    def ask(self, command):
        self._process.stdin.write(f"{command}\n")
        return self._answer()

    def kill(self):
        self._process.kill()
        self._process.wait()


def pinned(device):
    return [(found.start, found.length) for found in device.pinned()]


def wait_unpinned(device):
    """Waits until nothing is pinned: io_uring releases buffers some time after it was told to."""
    deadline = time.monotonic() + WAIT
    while pinned(device) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not pinned(device)
