#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Inside the VM: measures systems of peers_systems.py, and prints [[figure, system, unit, values], ...] as JSON: `peers_guest.py
PROGRAMS PLAN`. PROGRAMS is where touch_client is; PLAN is JSON: {"turns": whether systems take turns, "rounds": {MEASURE: N},
"systems": {SYSTEM: [MEASURE, ...]}}.
"""

import ctypes
import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import holder
import kvm_guest
from helpers.syscalls import Mapping, opened
from names import (BOUND_CHASE, BOUND_STREAM, DIRECT, DISK, FAULTS, FIO, GUEST_CHASE, GUEST_STREAM, HUGE, PROGRESS, START, TOUCH,
                   TOUCH_FAULTS, VFIO)
from peers_systems import GIB, MIB, SIZES, SYSTEMS, WORK, run
from vfio import Edu

PROGRAMS, PLAN = Path(sys.argv[1]), json.loads(sys.argv[2])
GUEST_SIZE = GIB
KVM = Path("/sys/kernel/debug/kvm")
KVM_CREATE_VM = 0xAE01
FIO_TIME = 2  # seconds
DISK_GIB = 2  # that a guest reads, and writes, in each round
DISK_ROUNDS = 3
PIECE = 128 << 10  # bytes, of one request of a disk
# Seconds of the VM's clock that a guest gets for all it does. That which counts instructions jumps ahead: there the VM has a limit.
GUEST_TIME = 120 if PLAN["turns"] else float("inf")
ATTEMPTS = 3


class GuestLost(Exception):
    """It hung or ended: guests of an emulated KVM do, now and then, whatever their memory is."""


def say(text):
    """To who waits for the VM."""
    print(PROGRESS, text, flush=True)


def touch(place, _work):
    place.settle()
    stride = min(place.page, SIZES["2M"])
    said = run(PROGRAMS / "touch_client", place.kind, place.path, GIB, place.skew, stride).split()
    place.forget()
    making, touching, faults = map(int, said)
    yield TOUCH, "ms", (making + touching) / 1e6
    yield TOUCH_FAULTS, "faults", faults


def sized(place):
    """A file of 1 GiB that nobody has touched."""
    place.settle()
    if place.kind == "file":
        place.path.touch()
        os.truncate(place.path, GIB)


def fio(place, work):
    """Random reads and writes of 4 KiB through a mapping, in its first quarter: a device is mapped by whole pages of its own."""
    sized(place)
    engine = ["--ioengine=dev-dax", "--create_on_open=1"] if place.kind == "device" else ["--ioengine=mmap"]
    for kind, part in (("randwrite", "write"), ("randread", "read")):
        report = work / "fio.json"
        run("fio", "--name=bench", "--thread", *engine, f"--filename={place.path}", f"--size={GIB}", f"--rw={kind}",
            "--random_distribution=zoned:100/25:0/75", "--bs=4k", "--norandommap", "--fallocate=none", "--randrepeat=1",
            "--time_based", f"--runtime={FIO_TIME}", f"--ramp_time={FIO_TIME / 2}", "--output-format=json",
            f"--output={report}")
        text = report.read_text()
        job = json.loads(text[text.index("{") :])["jobs"][0]
        yield FIO.format(part), "MiB/s", job[part]["bw_bytes"] / MIB
    place.forget()


def numbers(lines):
    return {name: float(value) for name, value in (line.split() for line in lines)}


def bound(place, _work):
    sized(place)
    said = numbers(run(PROGRAMS / "memory_bound", place.path, place.skew).splitlines())
    place.forget()
    yield BOUND_CHASE, "ns", said["chase-ns"]
    yield BOUND_STREAM, "MB/s", said["stream-mbs"]


def end_if_lost(qemu, ended):
    until = time.monotonic() + GUEST_TIME
    while not ended.wait(1):
        if qemu.poll() is None and time.monotonic() > until:
            qemu.kill()


def time_at_work():
    """
    Seconds that the VM's CPUs were not idle (proc_uptime(5)): the clock that counts instructions jumps ahead, by any length,
    when they are and the VM waits for the host.
    """
    up, idle = map(float, Path("/proc/uptime").read_text().split())
    return up * os.cpu_count() - idle


@contextmanager
def started(place, task, options=()):
    """(QEMU, seconds of work to the guest's first process): from nothing, the file included."""
    place.settle()
    align = "1G" if place.page == GIB else "2M"
    memory = f"mem-path={place.path},align={align}"
    command = kvm_guest.command(memory, GUEST_SIZE, "stdio", task, options)
    began = time_at_work()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as qemu:
        ended = threading.Event()
        threading.Thread(target=end_if_lost, args=(qemu, ended)).start()
        try:
            if not any(line.startswith("first-process") for line in qemu.stdout):
                raise GuestLost("before its first process")
            yield qemu, time_at_work() - began
        finally:
            ended.set()
            qemu.kill()
            qemu.wait()
            place.forget()


def start(place, _work):
    """The guest stands still when its first process has spoken, and KVM's books are read."""
    with started(place, "bench") as (_, seconds):
        books = {name: int((KVM / name).read_text()) for name in ("pf_taken", "pages_4k", "pages_2m", "pages_1g")}
    yield START, "s", seconds
    yield FAULTS, "faults", books["pf_taken"]
    for size in ("4k", "2m", "1g"):
        yield HUGE.format(size.upper()), "pages", books[f"pages_{size}"]


def disk(place, _work):
    """The kernel moves bytes between the disk, which is one of RAM, and the guest's memory itself."""
    holder.prepare_disk()
    drive = f"file={holder.DISK},format=raw,if=virtio,cache=none,aio=native"
    with started(place, "disk", ["-drive", drive]) as (qemu, _):
        for way, arguments in (("writing", "/dev/zero /dev/vda oflag"), ("reading", "/dev/vda /dev/null iflag")) * DISK_ROUNDS:
            began = time_at_work()
            qemu.stdin.write(f"{DISK_GIB * GIB // holder.DISK_SIZE} {arguments}\n")
            qemu.stdin.flush()
            if not any(line.startswith("disk-done") for line in qemu.stdout):
                raise GuestLost(f"{way} its disk")
            yield DISK.format(way), "ms", (time_at_work() - began) * 1000 / DISK_GIB


def milliseconds(function, *arguments):
    began = time.monotonic()
    function(*arguments)
    return (time.monotonic() - began) * 1000


@contextmanager
def touched(place):
    """A mapping of a new file, with memory."""
    sized(place)
    with opened(place.path) as fd, Mapping(fd, GIB, skew=place.skew) as mapping:
        for offset in range(0, GIB, min(place.page, SIZES["2M"])):
            mapping.write(offset, b"\x01")
        yield mapping
    place.forget()


def transfer_all(transfer, disk, mapping):
    for offset in range(0, GIB, PIECE):
        piece = (ctypes.c_char * PIECE).from_address(mapping.address + offset)
        if transfer(disk, [piece], offset % holder.DISK_SIZE) != PIECE:
            raise RuntimeError(f"{holder.DISK}: a request was cut short")


def direct(place, _work):
    """The host's part of a guest's disk with cache=none: all of the memory is the buffer, a request after the other."""
    holder.prepare_disk()
    with touched(place) as mapping, opened(holder.DISK, os.O_RDWR | os.O_DIRECT) as disk:
        try:
            for way, transfer in (("writing", os.pwritev), ("reading", os.preadv)):
                yield DIRECT.format(way), "ms", milliseconds(transfer_all, transfer, disk, mapping)
        except OSError as error:
            if error.errno != errno.EFAULT:
                raise
            say("direct: refused")


def vfio(place, _work):
    """A device gets all of the memory, touched before, at once."""
    with touched(place) as mapping, Edu() as device:
        try:
            yield VFIO.format("mapping"), "ms", milliseconds(device.map, mapping, GIB)
            yield VFIO.format("unmapping"), "ms", milliseconds(device.unmap, GIB, GIB)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            say("vfio: refused")


def guest(place, _work):
    """The memory-bound program, as a guest's process."""
    with started(place, "bench") as (qemu, _):
        qemu.stdin.write("\n")
        qemu.stdin.flush()
        said = {}
        for line in qemu.stdout:
            if line.startswith(("chase-ns", "stream-mbs")):
                said |= numbers([line])
            if len(said) == 2:
                break
        else:
            raise GuestLost("before its program has ended")
    yield GUEST_CHASE, "ns", said["chase-ns"]
    yield GUEST_STREAM, "MB/s", said["stream-mbs"]


MEASURES = {"touch": touch, "fio": fio, "bound": bound, "start": start, "guest": guest, "disk": disk, "direct": direct, "vfio": vfio}
NESTED = {"start", "guest", "disk"}


@contextmanager
def kvm():
    """An empty guest that stays: the first one to come and the last one to go have the kernel patch itself."""
    run("modprobe", "kvm-amd")
    with open("/dev/kvm", "rb", buffering=0) as device:
        held = fcntl.ioctl(device, KVM_CREATE_VM, 0)
        yield
        os.close(held)


class Figures:
    """What was found: {(figure, system, unit): values}."""

    def __init__(self):
        self.values = {}
        self._warm = set()

    def add(self, system, place, measure):
        """One round. The very first is not counted: what programs are made of comes from the host, at their first start."""
        if measure not in self._warm:
            self._warm.add(measure)
            self.add("nobody", place, measure)
        say(f"{measure}: {system}")
        for figure, unit, value in self._round(system, place, measure):
            self.values.setdefault((figure, system, unit), []).append(value)

    @staticmethod
    def _round(system, place, measure):
        """Nothing when its guests are lost all: the other rounds, and systems, are still figures."""
        for _ in range(ATTEMPTS):
            try:
                return list(MEASURES[measure](place, Path("/tmp")))
            except GuestLost as lost:
                say(f"{measure}: {system}: a guest was lost {lost}")
        say(f"{measure}: {system}: this round has no figures")
        return []


def one_by_one(plan, figures):
    """Where the clock sees nothing of what the machine does otherwise."""
    for system, measures in plan["systems"].items():
        with SYSTEMS[system]() as place:
            for measure in measures:
                for _ in range(plan["rounds"][measure]):
                    figures.add(system, place, measure)


def by_turns(plan, figures):
    """All of them are there at once and take turns, so that whatever else the machine does falls on all."""
    with ExitStack() as stack:
        places = {system: stack.enter_context(SYSTEMS[system]()) for system in plan["systems"]}
        for measure, rounds in plan["rounds"].items():
            for _ in range(rounds):
                for system, measures in plan["systems"].items():
                    if measure in measures:
                        figures.add(system, places[system], measure)


def main():
    figures = Figures()
    WORK.mkdir()
    with ExitStack() as stack:
        if NESTED & set(PLAN["rounds"]):
            stack.enter_context(kvm())
        (by_turns if PLAN["turns"] else one_by_one)(PLAN, figures)
    print(json.dumps([[*key, values] for key, values in figures.values.items() if key[1] != "nobody"]), flush=True)


if __name__ == "__main__":
    main()
