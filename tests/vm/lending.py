# SPDX-License-Identifier: GPL-2.0-or-later
"""Lent memory as the host sees it: its memory blocks, how much memory there is, programs that use it."""

import os
import re
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from helpers.host_memory import kept_by_cpus, meminfo
from programs import compile_program

EHWPOISON = 133  # not in Python's errno
BLOCKS = Path("/sys/devices/system/memory")
KSM = Path("/sys/kernel/mm/ksm")
HUGE_PAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
STEP = 128 << 10  # bytes that the kernel reads ahead at once, whatever the device
WAIT = 300
BLOCK = int((BLOCKS / "block_size_bytes").read_text(), 16) if BLOCKS.exists() else 0


def vmstat(name):
    return int(re.search(rf"^{name} (\d+)$", Path("/proc/vmstat").read_text(), re.M)[1])


def free_memory():
    """Bytes, without caches."""
    Path("/proc/sys/vm/drop_caches").write_text("3")
    return meminfo("MemFree") + kept_by_cpus()


def blocks(start, length):
    """The file "state" of each memory block of the range."""
    return [BLOCKS / f"memory{address // BLOCK}" / "state" for address in range(start, start + length, BLOCK)]


def states(start, length):
    return [path.read_text().strip() if path.exists() else None for path in blocks(start, length)]


def bring_online(start, length):
    for path in blocks(start, length):
        with suppress(OSError):  # it is online already
            path.write_text("online_movable")
    assert states(start, length) == ["online"] * (length // BLOCK)


def build_load(directory):
    return compile_program(directory, Path(__file__).parent / "lend" / "load.c")


class Load:
    """The program lend/load.c, on the first CPU; see there."""

    def __init__(self, program, kind, mib, start, length, *files):
        self.process = subprocess.Popen(
            [program, kind, str(mib), str(start), str(start + length), *map(str, files)], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, {0}))
        self.inside = int(self.process.stdout.readline())

    def check(self):
        """(pages of it that are in the range, pages with a wrong content)."""
        self.process.stdin.write("\n")
        return tuple(map(int, self.process.stdout.readline().split()))

    def end(self):
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(60)


@contextmanager
def pool(pages):
    """So many huge pages of 2 MiB."""
    if pages:
        HUGE_PAGES.write_text(str(pages))
        assert int(HUGE_PAGES.read_text()) == pages
    yield
    HUGE_PAGES.write_text("0")


def set_merging(pages, pause):
    """So many pages are looked at, then there is a pause (ms)."""
    (KSM / "pages_to_scan").write_text(str(pages))
    (KSM / "sleep_millisecs").write_text(str(pause))


@contextmanager
def merging(on):
    if on:
        set_merging(100_000, 0)
        (KSM / "run").write_text("1")
    yield
    if on:
        (KSM / "run").write_text("2")


def wait_merged(mib):
    """Until the pages of a Load of this kind and size are merged; from then on at the kernel's own pace."""
    deadline = time.monotonic() + WAIT
    while int((KSM / "pages_sharing").read_text()) < mib * 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    set_merging(100, 20)


@contextmanager
def settings_for(kind, mib):
    """What the host must be set to while there is a Load of this kind and size."""
    with pool(mib // 2 + 20 if kind == "hugetlb" else 0), merging(kind == "ksm"):
        yield


@contextmanager
def swap(mib):
    """To compressed memory."""
    subprocess.run(["modprobe", "zram"], check=True)
    Path("/sys/block/zram0/disksize").write_text(f"{mib}M")
    subprocess.run(["mkswap", "/dev/zram0"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["swapon", "/dev/zram0"], check=True)
    try:
        yield
    finally:
        subprocess.run(["swapoff", "/dev/zram0"], check=True)
        subprocess.run(["rmmod", "zram"], check=True)


@contextmanager
def large_file(directory, size):
    """A file that takes next to no room where it is, but all of its size in the page cache; see cache()."""
    subprocess.run(["modprobe", "loop"], check=True)
    image, volume = directory / "image", directory / "volume"
    image.touch()
    os.truncate(image, 64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-b", "4096", "-O", "^has_journal", image], check=True)
    volume.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, volume], check=True)
    try:
        path = volume / "large"
        path.touch()
        os.truncate(path, size)
        yield path
    finally:
        subprocess.run(["umount", volume], check=True)
        image.unlink()


def cache(path, size):
    """Has the kernel read the first @size bytes of the file."""
    fd = os.open(path, os.O_RDONLY)
    for offset in range(0, size, STEP):
        os.posix_fadvise(fd, offset, STEP, os.POSIX_FADV_WILLNEED)
    os.close(fd)
