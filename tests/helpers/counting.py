# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest of 512 bytes that counts, in a real QEMU: see mount/guest/count.S."""

import os
import re
import struct
import subprocess
import time
from pathlib import Path

from helpers.qmp import Qmp

SIZE = 16 << 20
WORD = 0x8000  # where it counts
SOURCE = Path(__file__).parents[1] / "mount" / "guest" / "count.S"
SCALE = float(os.environ.get("DMEMFS_TEST_SCALE", "1"))
TIMEOUT = 20 * SCALE


def make_disk(path):
    """The guest's disk, at @path."""
    subprocess.run(["gcc", "-m32", "-nostdlib", "-ffreestanding", "-no-pie", "-o", path,
                    "-Wl,--oformat=binary,-Ttext=0x7c00,--build-id=none", SOURCE], check=True)
    os.truncate(path, 1 << 20)
    return path


def numbers_in(text):
    return [int(line, 16) for line in re.findall(r"^([0-9a-f]{8})\n", text, re.MULTILINE)]


def in_order(numbers):
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def goes_on(before, after):
    """
    The numbers that both guests print have no gap. A number whose line was being printed when the guest moved may
    be split over both consoles.
    """
    numbers = numbers_in(before.said + after.said)
    return in_order(after.counted) and numbers == sorted(numbers) and in_order(sorted(set(numbers)))


class CountingGuest:
    """
    Runs within a `with` block. @memory: the file that is its RAM, of @size bytes, at an address that is a multiple of @align. @boot:
    QEMU's arguments for its disk; names of sockets are relative to @work. @before: a command that executes its last arguments.
    """

    def __init__(self, work, memory, *boot, accel=os.environ.get("DMEMFS_QEMU_ACCEL", "tcg"), size=SIZE, align="2M",
                 before=()):
        number = len(list(work.glob("guest*.console")))
        self._console = work / f"guest{number}.console"
        self._monitor = work / f"guest{number}.monitor"
        self._console.touch()
        self._command = [
            *before, "qemu-system-x86_64", "-accel", accel, "-machine", "pc,memory-backend=ram",
            "-m", f"{size >> 20}M", "-object", f"memory-backend-file,id=ram,size={size},share=on,mem-path={memory},align={align}",
            "-nodefaults", "-display", "none", "-serial", f"file:{self._console}",
            "-qmp", f"unix:{self._monitor.name},server=on,wait=off", *boot]
        self.process = None
        self.qmp = None

    def __enter__(self):
        self.process = subprocess.Popen(self._command, cwd=self._monitor.parent)
        self.qmp = Qmp(self._monitor, self.process, TIMEOUT)
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()

    @property
    def said(self):
        """All output of the guest, an incomplete last line included."""
        return self._console.read_text("ascii")

    @property
    def counted(self):
        """The numbers that it has printed."""
        return numbers_in(self.said)

    def wait_for(self, lines):
        """Waits until the guest has printed @lines numbers. Returns all of them."""
        deadline = time.monotonic() + TIMEOUT
        while len(self.counted) < lines:
            assert self.process.poll() is None, "QEMU ended"
            assert time.monotonic() < deadline, f"the guest has counted {self.counted}"
            time.sleep(0.02)
        return self.counted


def word_in(path):
    """The number that the guest has reached, read from the file that is its RAM."""
    with open(path, "rb", buffering=0) as file:
        return struct.unpack("<I", os.pread(file.fileno(), 4, WORD))[0]
