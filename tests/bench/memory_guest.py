#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Inside the VM: gives this process SIZE bytes of guest memory by one of the peers, touches them all, and prints what is
left for the rest of the machine, as JSON with sizes in KiB: `memory_guest.py PEER SIZE`. See memory.py.
"""

import ctypes
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from peers_systems import device_dax

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.syscalls import Mapping  # noqa: E402

MIB = 1 << 20
HUGETLBFS = {"hugetlbfs-2M": "2M", "hugetlbfs-1G": "1G"}
WORK = Path("/tmp/memory")


def touch(path, size):
    """Maps the file at an address aligned to 1 GiB, as QEMU does with align=1G, and writes to each 4 KiB of it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if not path.is_char_device():
        os.ftruncate(fd, size)
    mapping = Mapping(fd, size, skew=0)
    memory = memoryview((ctypes.c_char * size).from_address(mapping.address)).cast("B")
    ones = b"\x01" * (MIB // 4096)
    for offset in range(0, size, MIB):
        memory[offset : offset + MIB : 4096] = ones


def mount(kind, options):
    subprocess.run(["mount", "-t", kind, "-o", options, "none", WORK], check=True)


def mount_dmemfs(pages):
    state = Path("/tmp/memory-state")
    state.mkdir()
    config = Path("/tmp/memory.conf")
    config.write_text(f"[daemon]\nmountpoint={WORK}\nstate-dir={state}\nbackend=pfn\npage-size=1G\n"
                      f"[region all]\nstart=auto\npages={pages}\n")
    subprocess.run(["insmod", os.environ["DMEMFS_MODULE"]], check=True)
    subprocess.run([os.environ["DMEMFSD"], "--config", config], check=True)


def field(path, name):
    """KiB of a line "NAME: N kB"."""
    return int(re.search(rf"^{name}:\s+(\d+) kB$", Path(path).read_text(), re.M)[1])


def daemon_status():
    return next(path.parent / "status" for path in Path("/proc").glob("[0-9]*/comm")
                if path.read_text() == "dmemfsd\n")


def parts_of_dmemfs(path):
    return {"module": int(Path("/sys/module/dmemfs/coresize").read_text()) // 1024,
            "daemon": field(daemon_status(), "VmRSS"),
            "page_tables": field("/proc/self/status", "VmPTE"),
            "faults": os.getxattr(path, "dmemfs.faults").decode().replace("\n", ", ")}


def drop_caches():
    """Once the caches of our own start are gone, and the figures have settled."""
    for _ in range(3):
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
        time.sleep(1)


def available():
    drop_caches()
    return field("/proc/meminfo", "MemAvailable")


def main():
    peer, size = sys.argv[1], int(sys.argv[2])
    path = WORK / "guest"
    WORK.mkdir()
    if peer in HUGETLBFS:
        mount("hugetlbfs", f"pagesize={HUGETLBFS[peer]}")
    elif peer.startswith("tmpfs"):
        mount("tmpfs", f"size={size},huge={'always' if peer == 'tmpfs-huge' else 'never'}")
    elif peer == "device-dax":
        with device_dax("1G") as place:
            path = place.path
    elif peer.startswith("dmemfs"):
        mount_dmemfs(peer.partition("-")[2])
    elif peer != "nothing":
        sys.exit(f"no such peer: {peer}")
    if peer != "nothing":
        touch(path, size)
    found = {"available": available(), "total": field("/proc/meminfo", "MemTotal")}
    if peer.startswith("dmemfs"):
        found |= parts_of_dmemfs(path)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
