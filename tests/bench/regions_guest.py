#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Inside the VM: claims regions and maps them, as the daemon and a guest would, and counts what is free meanwhile: `regions_guest.py
ROUNDS PAGES:GIB...`. Prints [[PAGES, GIB, [[ms, KiB], ...]], ...] as JSON: the time of each claim, the memory that is gone.
`regions_guest.py --speed ROUNDS BLOCK...` prints [[PAGES, [[ms, ms...], ...]], ...]: the CPU time to zero a GiB, and to read one in blocks.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

from device import Device
from helpers.syscalls import Mapping
from memory_guest import drop_caches
from names import PROGRESS
from peers_systems import GIB, MIB, reserved, run

ORDERS = {"1G": 18, "2M": 9, "none": 0}
READ = 256 * MIB  # of a GiB


def free():
    """KiB of the host's own memory, with what is on the lists of CPUs; what is lent to it is all there is in the zone Movable."""
    drop_caches()
    Path("/proc/sys/vm/stat_refresh").read_text()
    zones = re.split(r"^Node \d+, zone +", Path("/proc/zoneinfo").read_text(), flags=re.M)
    return 4 * sum(int(pages) for zone in zones if not zone.startswith("Movable")
                   for pages in re.findall(r"^ +(?:nr_free_pages|count:) +(\d+)", zone, re.M))


def claim(pages, size):
    """Nobody else uses the memory, so nobody zeroes it: the module does not know whether the daemon did."""
    with Device() as device:
        before = free()
        began = time.monotonic()
        device.claim(reserved(), size, ORDERS[pages])
        spent = time.monotonic() - began
        device.call("OBJECT_CREATE", id=1)
        device.call("OBJECT_MODE", id=1, unit=GIB, order=ORDERS[pages])
        device.call("EXTENT_ADD", id=1, start=reserved(), length=size)
        device.call("OBJECT_RESIZE", id=1, size=size)
        fd = device.open_object(1)
        with Mapping(fd, size, skew=0) as mapping:
            for offset in range(0, size, 2 * MIB if pages == "2M" else GIB):
                mapping.write(offset, b"\x01")
            taken = before - free()
        os.close(fd)
        device.clear()
    return spent * 1000, taken


def cpu_time():
    """ms, of this process and of those that have ended: the clock leaps when a VM that counts instructions has nothing to do."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage) * 1000


def ms(function, *arguments, **options):
    began = cpu_time()
    function(*arguments, **options)
    return cpu_time() - began


def speed(pages, blocks):
    """By dd, which adds little to each read; that of the memory is the same for all."""
    with Device() as device:
        device.claim(reserved(), GIB, ORDERS[pages])
        values = [ms(device.call, "OBJECT_ZERO", offset=reserved(), length=GIB)]
        fd = device.create(1, reserved(), GIB, ORDERS[pages])
        for block in blocks:
            command = ["dd", f"if=/proc/self/fd/{fd}", "of=/dev/null", f"bs={block}", f"count={READ}", "iflag=count_bytes"]
            spent = ms(subprocess.run, command, check=True, pass_fds=[fd], stderr=subprocess.DEVNULL)
            values.append(spent * GIB / READ)
        os.close(fd)
        device.clear()
    return values


def measure_speed(rounds, *blocks):
    for pages in ("1G", "none"):
        print(PROGRESS, "zeroing and reads:", pages, flush=True)
        yield [pages, [speed(pages, blocks) for _ in range(int(rounds))]]


def main():
    run("insmod", os.environ["DMEMFS_MODULE"])
    if sys.argv[1] == "--speed":
        print(json.dumps(list(measure_speed(*sys.argv[2:]))), flush=True)
        return
    rounds, found = int(sys.argv[1]), []
    for pages, gib in (argument.split(":") for argument in sys.argv[2:]):
        print(PROGRESS, "claim:", pages, gib, flush=True)
        values = [claim(pages, int(gib) * GIB) for _ in range(rounds + 1)]
        found.append([pages, int(gib), values[1:]])  # the first takes memory for good: caches of the kernel
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
