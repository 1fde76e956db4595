# SPDX-License-Identifier: GPL-2.0-or-later
"""
Inside the VM: what gives guests their memory, dmemfs and its peers. Each is a context manager that gives a Place while it is
there, and gives the memory back at its end.
"""

import fcntl
import json
import os
import re
import subprocess
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Callable

GIB, MIB, KIB = 1 << 30, 1 << 20, 1 << 10
SIZES = {"1G": GIB, "2M": 2 * MIB, "4K": 4 * KIB}
WORK = Path("/tmp/peers")
STATE = Path("/tmp/peers-state")
CONFIG = Path("/tmp/peers.conf")
RAW = "[region all]\nstart=auto\npages=none\n"
HUGE_PAGES = Path("/sys/kernel/mm/hugepages")
PATIENCE = 120  # seconds


@dataclass(frozen=True)
class Place:
    """Where a system's memory is had. @kind: of touch_client; @settle: to be called before each round."""

    kind: str
    path: Path
    page: int  # bytes; what is to be touched one by one
    settle: Callable = field(default=lambda: None)

    @property
    def skew(self):
        """Of a mapping, so that no larger page fits."""
        return self.page % GIB

    def forget(self):
        """The file, if it is one."""
        if self.kind == "file":
            self.path.unlink(missing_ok=True)


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not so after {PATIENCE} s: {what}")


@contextmanager
def mounted(kind, name, options):
    mountpoint = WORK / name
    mountpoint.mkdir(exist_ok=True)
    run("mount", "-t", kind, "-o", options, "none", mountpoint)
    try:
        yield mountpoint / "guest"
    finally:
        run("umount", mountpoint)


@contextmanager
def daemon(mountpoint, regions=RAW, **settings):
    """A dmemfsd with these keys, and with memory as dirty or clean as the one before has left it."""
    mountpoint.mkdir(exist_ok=True)
    if not Path("/sys/module/dmemfs").exists():
        run("insmod", os.environ["DMEMFS_MODULE"])
    STATE.mkdir(exist_ok=True)
    keys = {"mountpoint": mountpoint, "state-dir": STATE, "backend": "pfn"}
    keys |= {name.replace("_", "-"): value for name, value in settings.items()}
    lines = "".join(f"{name}={value}\n" for name, value in keys.items())
    CONFIG.write_text(f"[daemon]\n{lines}{regions}")
    run(os.environ["DMEMFSD"], "--config", CONFIG)
    try:
        yield
    finally:
        run("fusermount3", "-u", mountpoint)
        with open(STATE / "lock", "rb") as lock:  # the daemon's, until it has ended
            fcntl.flock(lock, fcntl.LOCK_EX)


def reserved():
    """The physical address at which the reserved memory begins."""
    return int(re.search(r"memmap=\d+\$(\w+)", Path("/proc/cmdline").read_text())[1], 0)


def region(pages, start, gib=1):
    """Its lines in the configuration."""
    return f"[region {pages}]\nstart={start}\nsize={gib}G\npages={pages}\n"


def settle(mountpoint, clean):
    """All of removed files' memory is back, and clean if it is to be."""
    control = Path(os.environ["DMEMFSD"]).parent / "dmemfsctl" / "dmemfsctl"

    def is_back():
        said = os.getxattr(mountpoint, "dmemfs.stats").decode().splitlines()
        return {"pending_bytes 0", "pinned_bytes 0"} <= set(said)

    wait_until(is_back, "the memory of removed files is free")
    if clean:
        run(control, "wait-clean", mountpoint)


@contextmanager
def dmemfs(pages, page, clean):
    """
    @pages: of the region, one GiB for each kind. @page: of the mapping. Files have units of 1 GiB: what is mapped with smaller
    pages has lost nothing else by it, and shares the daemon that is there. @clean: before each round; else memory is as dirty as
    it was, so measure that first.
    """
    mountpoint = WORK / "dmemfs"
    regions = "".join(region(kind, reserved() + number * GIB) for number, kind in enumerate(("1G", "2M", "none")))
    own = daemon(mountpoint, regions, page_size="1G", zero_in_advance=str(clean).lower())
    with nullcontext() if os.path.ismount(mountpoint) else own:
        directory = mountpoint / pages
        directory.mkdir(exist_ok=True)
        os.setxattr(directory, "dmemfs.pages", pages.encode())
        yield Place("file", directory / "guest", SIZES[page], lambda: settle(mountpoint, clean))


class NoPages(RuntimeError):
    """The kernel has not as many huge pages as were wanted."""


@contextmanager
def huge_pages(page, count):
    """The kernel has them from its start on if they are large; here they are taken, or taken again, and given back."""
    pool = HUGE_PAGES / f"hugepages-{SIZES[page] // KIB}kB" / "nr_hugepages"
    try:
        pool.write_text(f"{count}\n")
        got = int(pool.read_text())
        if got != count:
            raise NoPages(f"the kernel has {got} huge pages of {page} instead of {count}")
        yield
    finally:
        pool.write_text("0\n")


@contextmanager
def hugetlbfs(page):
    with huge_pages(page, GIB // SIZES[page]), mounted("hugetlbfs", f"hugetlbfs-{page}", f"pagesize={page}") as path:
        yield Place("file", path, SIZES[page])


@contextmanager
def tmpfs(huge):
    with mounted("tmpfs", f"tmpfs-{huge}", f"size=2G,huge={huge}") as path:
        yield Place("file", path, SIZES["4K" if huge == "never" else "2M"])


@contextmanager
def memfd():
    yield Place("memfd", Path("guest"), SIZES["4K"])


@contextmanager
def memfd_hugetlb():
    with huge_pages("2M", GIB // SIZES["2M"]):
        yield Place("memfd-hugetlb", Path("guest"), SIZES["2M"])


@contextmanager
def device_dax(page):
    """On what the kernel's command line has made persistent memory of: memmap=SIZE!START."""
    for module in ("nd_e820", "nd_pmem", "dax_pmem", "device_dax"):
        run("modprobe", module)
    made = json.loads(run("ndctl", "create-namespace", "--force", "--reconfig=namespace0.0", "--mode=devdax",
                          f"--align={page}", "--map=mem"))
    device = Path("/dev") / made["daxregion"]["devices"][0]["chardev"]
    wait_until(device.exists, f"{device} appears")
    yield Place("device", device, SIZES[page])


# Name: compound pages, pages of the mapping.
OWN = {"pages=1G": ("1G", "1G"), "pages=2M": ("2M", "2M"), "pages=none": ("none", "1G"), "pages=none by 2M": ("none", "2M"),
       "pages=none by 4K": ("none", "4K")}
SYSTEMS = {
    "hugetlbfs 1G": lambda: hugetlbfs("1G"),
    "hugetlbfs 2M": lambda: hugetlbfs("2M"),
    "memfd hugetlb 2M": memfd_hugetlb,
    "tmpfs huge=always": lambda: tmpfs("always"),
    "tmpfs 4K": lambda: tmpfs("never"),
    "memfd 4K": memfd,
    **{f"dmemfs {name}, pool {'clean' if clean else 'dirty'}": partial(dmemfs, pages, page, clean)
       for name, (pages, page) in OWN.items() for clean in (False, True)},
    "device-dax 1G": lambda: device_dax("1G"),
    "device-dax 2M": lambda: device_dax("2M"),
}
