#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What happens in the VM of ../lab/test_kdump.py: `crash.py PAGES OPTION [lent]`. The host puts a pattern into each kind of memory, loads
a crash kernel with this option of kexec, and crashes. With "lent", the reserved memory is lent to the host when a crash kernel is
loaded, and taken back before the pattern is put there and the crash kernel is loaded again, as kdump-tools do when memory blocks
change. The crash kernel looks for the patterns in the dump. Each prints a JSON object.
"""

import errno
import hashlib
import json
import mmap
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from device import Device
from lending import bring_online
from helpers.daemon import Daemon

VMCORE = Path("/proc/vmcore")
WORK = Path("/run/crash-test")
MIB, GIB, PAGE = 1 << 20, 1 << 30, 4096
MAP_HUGETLB = 0x40000
WINDOW = 32 * MIB
LENGTH = 64
PT_LOAD = 1
HEADER, PROGRAM = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")
KINDS = ("file", "hugetlbfs", "memory")


def pattern(kind):
    """The bytes one by one: whoever writes them like this leaves no copy in other memory."""
    return (hashlib.sha256(f"{kind} {number}".encode()).digest()[0] for number in range(LENGTH))


def put(memory, offset, kind):
    for number, byte in enumerate(pattern(kind)):
        memory[offset + number] = byte


def fill_file(root):
    """As a guest does: through a mapping."""
    with open(root / "vm1", "wb") as file:
        file.truncate(GIB)
    fd = os.open(root / "vm1", os.O_RDWR)
    memory = mmap.mmap(fd, GIB)
    for offset in (0, GIB // 2, GIB - PAGE):
        put(memory, offset, "file")
    return memory


def fill_memory(length, flags=0):
    memory = mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | flags)
    put(memory, 0, "hugetlbfs" if flags else "memory")
    return memory


def region():
    return (int(part, 0) for part in os.environ["DMEMFS_REGION"].split(","))


def load_crash_kernel(option):
    line = [word for word in Path("/proc/cmdline").read_text().split() if not word.startswith("crashkernel=")]
    subprocess.run(["kexec", option, "-p", os.environ["DMEMFS_GUEST_KERNEL"], f"--initrd={os.environ['DMEMFS_LAB_INITRAMFS']}",
                    f"--command-line={' '.join((*line, 'reset_devices', 'nr_cpus=1'))}"], check=True)


def load_while_lent(option):
    start, size = region()
    with Device() as device:
        device.claim(start, size)
        device.lend(start)
        bring_online(start, size)
        load_crash_kernel(option)
        device.clear()


def crash(pages, option, *lent):
    WORK.mkdir()
    subprocess.run(["insmod", os.environ["DMEMFS_MODULE"]], check=True)
    if lent:
        load_while_lent(option)
    daemon = Daemon(os.environ["DMEMFSD"], WORK, {"backend": "pfn", "page-size": "1G"},
                    f"\n[region all]\nstart=auto\nsize=auto\npages={pages}\n", ready_timeout=120)
    daemon.start()
    Path("/proc/sys/vm/nr_hugepages").write_text("1")
    filled = [fill_file(daemon.mountpoint), fill_memory(2 * MIB, MAP_HUGETLB), fill_memory(PAGE)]
    load_crash_kernel(option)
    print(json.dumps({"loaded": Path("/sys/kernel/kexec_crash_loaded").read_text().strip(), "filled": len(filled)}), flush=True)
    Path("/proc/sysrq-trigger").write_text("c")


def segments(file):
    """(type, offset in the file, physical address, length) of each program header."""
    header = HEADER.unpack(file.read(HEADER.size))
    file.seek(header[5])
    for _ in range(header[10]):
        kind, _, offset, _, physical, size, _, _ = PROGRAM.unpack(file.read(PROGRAM.size))
        yield kind, offset, physical, size


def count(file, end):
    """How often each pattern is in the file. In /proc/vmcore a pattern begins at the start of a page, so no window cuts one."""
    found = dict.fromkeys(KINDS, 0)
    wanted = {kind: bytes(pattern(kind)) for kind in KINDS}
    for start in range(0, end, WINDOW):
        with mmap.mmap(file.fileno(), min(WINDOW, end - start), mmap.MAP_SHARED, mmap.PROT_READ, offset=start) as window:
            data = window[:]
            for kind, token in wanted.items():
                found[kind] += data.count(token)
    return found


def filtered(*options):
    """The dump that makedumpfile makes of the host's memory without free, cached, zeroed and user pages."""
    path = WORK / "dump"
    started = time.monotonic()
    done = subprocess.run(["makedumpfile", "-d", "31", *options, VMCORE, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    facts = {"status": done.returncode, "seconds": round(time.monotonic() - started), "said": done.stdout[-2000:],
             "bytes": path.stat().st_size if path.exists() else 0}
    return path, facts


def claim():
    """Whether a daemon in the crash kernel could take the memory: the error."""
    subprocess.run(["insmod", os.environ["DMEMFS_MODULE"]], check=True)
    with Device() as device:
        try:
            device.claim(*region())
        except OSError as error:
            return errno.errorcode[error.errno]
    return ""


def look():
    WORK.mkdir()
    with open(VMCORE, "rb", buffering=0) as file:
        parts = list(segments(file))
        facts = {"segments": [[physical, size] for kind, _, physical, size in parts if kind == PT_LOAD],
                 "found": count(file, VMCORE.stat().st_size // PAGE * PAGE)}
    path, facts["compressed"] = filtered("-c")
    path.unlink(missing_ok=True)
    path, facts["elf"] = filtered("-E")
    if path.exists():
        with open(path, "rb") as file:
            facts["found_filtered"] = count(file, path.stat().st_size)
    facts["claim"] = claim()
    print(json.dumps(facts), flush=True)


if VMCORE.exists():
    look()
else:
    crash(*sys.argv[1:])
