#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Inside the VM, for lending.py: `lending_uses_guest.py ROUNDS` lends a GiB as the daemon would, has the host use it in one way, and takes
it back. Prints {"lent": [[cost in bytes, growth of MemTotal in bytes, s], ...], "taken": {USE: [[error or "", s, bytes used], ...]}} as
JSON. Each try has a lent GiB of its own.
"""

import errno
import json
import os
import sys
import time
from contextlib import contextmanager, nullcontext
from functools import partial

from device import Device
from helpers.host_memory import meminfo
from lending_guest import say, unused
from peers_systems import GIB, KIB, MIB, WORK, reserved, run
from regions_guest import free
from vm.lending import Load, bring_online, build_load, cache, large_file, settings_for, wait_merged  # not of lending.py beside this file

FULL, LITTLE = 1000, 16  # MiB of a load
SPARE = 200 * MIB  # of the host's memory, when it is full
EVERYWHERE = None  # MiB of a load that leaves no more than that
# Name: kind of vm/lend/load.c, MiB.
LOADS = {
    "anonymous memory, 4 KiB": ("small", FULL),
    "anonymous memory, 2 MiB": ("huge", FULL),
    "mlock": ("locked", FULL),
    "KSM": ("ksm", FULL),
    "tmpfs": ("tmpfs", FULL),
    "hugetlb 2M, 20 pages free": ("hugetlb", FULL),
    "io_uring's fixed buffers": ("uring", FULL),
    "1 MiB in a pipe, vmsplice": ("vmsplice", LITTLE),
    "1 MiB in a pipe, splice": ("splice", LITTLE),
    "anonymous memory, host full": ("huge", EVERYWHERE),
}


@contextmanager
def page_cache():
    with large_file(WORK, GIB + GIB // 8) as file:
        cache(file, GIB)
        yield


@contextmanager
def load(program, kind, mib):
    mib = mib or (meminfo("MemAvailable") - SPARE) // MIB
    with settings_for(kind, mib):
        process = Load(program, kind, mib, reserved(), GIB)
        try:
            if kind == "ksm":
                wait_merged(mib)
            yield
        finally:
            process.end()


def lend(device):
    """What it costs the host, what that gains, and seconds."""
    own, total = free(), meminfo("MemTotal")
    began = time.monotonic()
    device.lend(reserved())
    bring_online(reserved(), GIB)
    spent = time.monotonic() - began
    return (own - free()) * KIB, meminfo("MemTotal") - total, spent


def take(device):
    """The error's name, if there is one, and seconds."""
    began, error = time.monotonic(), ""
    try:
        device.take(reserved())
    except OSError as refused:
        error = errno.errorcode[refused.errno]
    return error, time.monotonic() - began


def attempt(device, use):
    lent = lend(device)
    with use:
        used = GIB - unused()
        taken = take(device)
    if taken[0]:
        device.take(reserved())
    return lent, (*taken, used)


def measure(rounds):
    program = build_load(WORK)
    uses = {"nothing": nullcontext, "page cache": page_cache,
            **{name: partial(load, program, *arguments) for name, arguments in LOADS.items()}}
    lents, takes = [], {use: [] for use in uses}
    with Device() as device:
        device.claim(reserved(), GIB)
        attempt(device, nullcontext())  # the first takes memory for good: caches of the kernel
        for number in range(rounds):
            for name, use in uses.items():
                lent, taken = attempt(device, use())
                lents.append(lent)
                takes[name].append(taken)
                say(f"{number + 1} of {rounds}: {name}: {taken[2] // MIB} MiB, {taken[0] or 'back'} in {taken[1]:.2f} s")
        device.clear()
    return {"lent": lents, "taken": takes}


def main():
    WORK.mkdir()
    run("insmod", os.environ["DMEMFS_MODULE"])
    print(json.dumps(measure(int(sys.argv[1]))), flush=True)


if __name__ == "__main__":
    main()
