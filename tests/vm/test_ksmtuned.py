# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmtuned has the kernel merge equal pages (KSM) beside a guest."""

import mmap
import os
import re
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.backends import MIB
from helpers.children import Child
from helpers.counting import SCALE, TIMEOUT, CountingGuest, make_disk, word_in
from helpers.mount import wait_until
from places import RAW, capacity, kinds, mapped, page_size, pages, place  # noqa: F401 fixtures

KSM = Path("/sys/kernel/mm/ksm")
MARK, PATTERN = 12 * MIB, bytes(range(256)) * 16  # where the guest has nothing

pytestmark = [pytest.mark.timeout(90), pytest.mark.skipif(not shutil.which("ksmtuned"), reason="needs ksmtuned")]
RESERVED = kinds("pages=1G", "pages=2M", RAW)


@contextmanager
def counting_guest(work, place, *options):
    """A CountingGuest with a pattern in its memory. The block must change neither that nor where the memory is."""
    size = place.whole(16 * MIB)
    path = place.make("vm1", size)
    disk = "-drive", f"file={make_disk(work / 'disk')},format=raw,if=ide,snapshot=on"
    with CountingGuest(work, path, *disk, *options, size=size, align=place.align) as guest, mapped(path) as memory:
        for at in range(MARK, MARK + MIB, len(PATTERN)):
            memory.write(at, PATTERN)
        guest.wait_for(1)
        runs = os.getxattr(path, "dmemfs.extents")
        yield guest
        seen = word_in(path)
        wait_until(lambda: word_in(path) != seen, "the guest counts on", TIMEOUT)
        assert all(memory.read(at, len(PATTERN)) == PATTERN for at in range(MARK, MARK + MIB, len(PATTERN)))
        assert os.getxattr(path, "dmemfs.extents") == runs


@contextmanager
def ksmtuned(work, log):
    """The daemon, with thresholds that let it start the merging at once."""
    environment = {**os.environ, "KSM_MONITOR_INTERVAL": "1", "KSM_THRES_COEF": "100", "KSM_SLEEP_MSEC": "10", "KSM_NPAGES_MIN": "20000",
                   "KSM_NPAGES_MAX": "20000", "DEBUG": "1", "LOGFILE": str(log), "PIDFILE": str(work / "ksmtuned.pid")}
    process = subprocess.Popen(["ksmtuned"], env=environment, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        (KSM / "run").write_text("2")  # merged pages become separate again


def equal_pages(pipe):
    """A process that has ordinary memory of equal pages, for KSM to merge."""
    with mmap.mmap(-1, MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_MERGEABLE)
        memory[:] = PATTERN * (MIB // len(PATTERN))
        pipe.send("ready")
        pipe.recv()
        assert memory[:] == PATTERN * (MIB // len(PATTERN))


def flags_of(pid, path):
    """Of each mapping of the file: proc_pid_smaps(5), VmFlags."""
    text = Path(f"/proc/{pid}/smaps").read_text()
    return [flags.split() for flags in re.findall(rf" {re.escape(str(path))}\n(?:\w+:.*\n)*?VmFlags: (.*)", text)]


@RESERVED
def test_ksm_merges_ordinary_memory_only(work, place):
    """ksmtuned finds QEMU by its name and -enable-kvm, and starts the merging. QEMU advises the kernel to merge the guest's memory."""
    log = work / "ksmtuned.txt"
    with counting_guest(work, place, "-name", "-enable-kvm") as guest, Child(equal_pages, with_pipe=True) as child:
        child.receive()
        with ksmtuned(work, log):
            wait_until(lambda: log.exists() and "start ksm" in log.read_text(), "ksmtuned has started the merging", TIMEOUT)
            wait_until(lambda: int((KSM / "pages_sharing").read_text()) > 200, "equal pages are merged", TIMEOUT)
            scans = int((KSM / "full_scans").read_text())
            wait_until(lambda: int((KSM / "full_scans").read_text()) > scans + 2, "KSM has looked at all memory twice", 30 * SCALE)
            flags = flags_of(guest.process.pid, place / "vm1")
            assert flags and not any("mg" in found for found in flags)
        child.pipe.send("end")
        child.wait()
