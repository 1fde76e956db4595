#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Inside the VM of ../lab/test_machine_check.py: a process reads a page, and the CPU comes across an error in it. Prints what became
of that process and of another that maps the page as well, as JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from device import Device
from dmemfs_ioctl import CONSTANTS
from memory_errors import build_victim, victim

POISON = CONSTANTS["EVENT_POISON"]
WAIT = 30  # seconds

MIB = 1 << 20
SIZE = 8 * MIB
BAD = 5 * MIB + 0x3000
BANK = 1
# An uncorrected error of data that an instruction of this CPU was to load, at an address that is a page's (Intel SDM volume 3,
# "Machine-check architecture"): VAL, UC, EN, MISCV, ADDRV, S, AR. It is this CPU's alone (LMCES), and it can go on.
STATUS = sum(1 << bit for bit in (63, 61, 60, 59, 58, 56, 55)) | 0x134
GLOBAL_STATUS, MISC = 0xF, 2 << 6 | 12


def machine_check(cpu, address):
    """While a process has that CPU: in the kernel, such an error is its end."""
    with open(os.environ["DMEMFS_LAB_RESULT"], "w", encoding="ascii") as lab:
        command = f"mce {cpu} {BANK} {STATUS:#x} {GLOBAL_STATUS:#x} {address:#x} {MISC:#x}"
        lab.write(json.dumps({"monitor": command, "cpu": cpu}) + "\n")


def main():
    subprocess.run(["insmod", os.environ["DMEMFS_MODULE"]], check=True)
    start = int(os.environ["DMEMFS_REGION"].partition(",")[0], 16)
    program = build_victim(Path(tempfile.mkdtemp()))
    os.sched_setaffinity(0, {1})
    with Device() as device:
        device.claim(start, 1 << 30)
        fd = device.create(1, start, SIZE)
        with victim(program, fd, SIZE) as reader, victim(program, fd, SIZE) as other:
            os.sched_setaffinity(reader.pid, {0})
            assert other.put(BAD) == "done 0"
            assert reader.ask(f"spin {BAD}") == "spinning"
            machine_check(0, start + BAD)
            told = reader.answer()
            # The module has it from the kernel's log of machine checks, which is read a moment later; then it is unmapped.
            assert POISON in [event.kind for event in device.events(WAIT)]
            found = {"reader": told, "other": other.told(), "other_elsewhere": other.get(0),
                     "other_there": other.get(BAD), "poisoned": [[bad.start - start, bad.length] for bad in device.poison()]}
        os.close(fd)
    print(json.dumps(found), flush=True)


main()
