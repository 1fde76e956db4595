# SPDX-License-Identifier: GPL-2.0-or-later
"""Simulated uncorrected memory errors, and processes that access the bad memory."""

import os
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

from programs import compile_program

DEBUG = Path("/sys/kernel/debug")
BANK = 4  # the northbridge's, of CPUs like the laboratory's, AMD's before MCA was scalable
# Uncorrected, with an address, and the extended code of a DRAM error (MCi_STATUS, AMD64 manual volume 2, chapter 9).
STATUS = 1 << 63 | 1 << 61 | 1 << 60 | 1 << 58 | 0x8 << 16
AR, AO = "MCEERR_AR", "MCEERR_AO"
# What the kernel and the module say of errors.
COMPLAINT = (r"\[Hardware Error\]|memory error at|due to hardware memory corruption|Machine check events logged|"
             r"mce_notify_irq: \d+ callbacks suppressed")


def inject(address):
    """Reports an uncorrected error at the physical address: mce-inject enters it as a machine check."""
    subprocess.run(["modprobe", "mce-inject"], check=True)
    directory = DEBUG / "mce-inject"
    if not directory.exists():
        subprocess.run(["mount", "-t", "debugfs", "none", DEBUG], check=True)
    for name, value in (("flags", "sw"), ("cpu", 0), ("status", STATUS), ("misc", 0), ("addr", address), ("bank", BANK)):
        (directory / name).write_text(f"{value}\n")


class Victim:
    """Runs poison/victim.c, which maps the descriptor. That file lists its answers."""

    def __init__(self, program, fd, length, early=False):
        self._process = subprocess.Popen([program, str(fd), str(length), *(["early"] if early else [])], pass_fds=[fd],
                                         text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.answer() == "ready"

    def answer(self):
        return self._process.stdout.readline().strip()

    def ask(self, command):
        self._process.stdin.write(f"{command}\n")
        return self.answer()

    @property
    def pid(self):
        return self._process.pid

    def address(self, fd):
        """The address at which it maps the file."""
        maps = Path(f"/proc/{self.pid}/maps").read_text().splitlines()
        return next(int(line.partition("-")[0], 16) for line in maps if int(line.split()[4]) == os.fstat(fd).st_ino
                    and " rw-s " in line)

    def get(self, offset):
        return self.ask(f"get {offset}")

    def put(self, offset):
        return self.ask(f"put {offset}")

    def get_by_guest(self, offset):
        return self.ask(f"guest {offset}")

    def told(self):
        return self.ask("told")

    def end(self):
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        return self._process.wait(30)


@contextmanager
def victim(program, fd, length, early=False):
    process = Victim(program, fd, length, early)
    try:
        yield process
    finally:
        process.end()


def build_victim(directory):
    return compile_program(directory, Path(__file__).parent / "poison" / "victim.c")
