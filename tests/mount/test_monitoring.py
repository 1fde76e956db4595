# SPDX-License-Identifier: GPL-2.0-or-later
"""What ps, smaps, free, cgroups and the OOM killer see of a guest's memory: the table of dmemfs-guests(7)."""

import subprocess
from contextlib import suppress
from pathlib import Path
from statistics import median

import pytest

from helpers.backends import MIB
from helpers.counting import CountingGuest, make_disk
from helpers.host_memory import kept_by_cpus, meminfo
from helpers.mount import wait_until
from helpers.monitoring import (AVAILABLE, DAEMONS_CGROUP, GUESTS_CGROUP, Cgroup, has_cgroups, look, promised, using,
                                word, words)
from helpers.syscalls import Mapping, opened

SIZE = 512 * MIB
COLUMN = {"memory": "memory", "pfn": "pages=none"}

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.dmemfs(size=SIZE)]


def test_tools(fs, backend):
    expected = promised(COLUMN[backend.name])
    with using(lambda: fs.make_file("vm1", size=SIZE), SIZE) as (child, before):
        shown = words(before, look(child.pid), SIZE)
    shown.pop(AVAILABLE)
    assert shown == {tool: expected[tool] for tool in shown}


def available():
    """MemAvailable, and the free pages that each CPU keeps for itself: a file gets those that another has just given back."""
    return meminfo(AVAILABLE) + kept_by_cpus()


@pytest.mark.timeout(150)
def test_free(fs, backend):
    """
    Other programs use and give back memory meanwhile. The mean of what a file takes and what it gives back is free of what they take
    steadily; the median of several files is free of what happened during one.
    """
    expected = promised(COLUMN[backend.name])[AVAILABLE]
    differences = []

    def is_as_promised():
        before = available()
        path = fs.make_file("vm1", size=SIZE)
        with opened(path) as fd, Mapping(fd, SIZE) as mapping:
            for at in range(0, SIZE, 2 * MIB):
                mapping.write(at, b"x")
            during, shared = available(), meminfo("Shmem")
        path.unlink()
        fs.wait_free(SIZE)
        # The kernel frees the pages of a tmpfs file some time after its last user has gone. Others may take as many meanwhile.
        with suppress(AssertionError):
            wait_until(lambda: expected == "nothing" or meminfo("Shmem") < shared - 0.95 * SIZE, "tmpfs has given it back", 2)
        differences.append((before + available()) / 2 - during)
        print(differences)  # shown when the test fails
        return len(differences) >= 3 and word(median(differences), SIZE) == expected

    wait_until(is_as_promised, f"MemAvailable loses {expected}", 120)


@pytest.mark.skipif(not has_cgroups(), reason="no cgroup counts memory here")
def test_cgroups(fs, backend):
    expected = promised(COLUMN[backend.name])
    with Cgroup("guest") as guests, Cgroup("daemon") as daemons:
        daemons.take(fs.daemon.pid)
        before = guests.bytes(), daemons.bytes()
        with using(lambda: fs.make_file("vm1", size=SIZE), SIZE, cgroup=guests):
            assert word(guests.bytes() - before[0], SIZE) == expected[GUESTS_CGROUP]
            assert word(daemons.bytes() - before[1], SIZE) == expected[DAEMONS_CGROUP]


@pytest.mark.memory_only("reserved memory is in no cgroup")
@pytest.mark.dmemfs(size=SIZE, populate="false")
@pytest.mark.skipif(not has_cgroups(), reason="no cgroup counts memory here")
def test_cgroups_where_the_guest_takes_the_memory(fs):
    with Cgroup("guest") as guests, Cgroup("daemon") as daemons:
        daemons.take(fs.daemon.pid)
        before = guests.bytes(), daemons.bytes()
        with using(lambda: fs.make_file("vm1", size=SIZE), SIZE, cgroup=guests):
            assert word(guests.bytes() - before[0], SIZE) == "all"
            assert word(daemons.bytes() - before[1], SIZE) == "nothing"


def oom_score(pid):
    return int(Path(f"/proc/{pid}/oom_score").read_text())


def test_guest_is_protected_from_the_oom_killer(fs, work):
    """To end it would free nothing: its file keeps the memory."""
    protect = "choom", "-n", "-500", "--"
    if subprocess.run([*protect, "true"], check=False).returncode:
        pytest.skip("nothing may be protected here: no CAP_SYS_RESOURCE")
    disk = "-drive", f"file={make_disk(work / 'disk')},format=raw,if=ide,snapshot=on"
    with CountingGuest(work, fs / "vm1", *disk) as plain:
        plain.wait_for(1)
        unprotected, free = oom_score(plain.process.pid), fs.free()
    assert fs.wait_free(free) == free
    with CountingGuest(work, fs / "vm1", *disk, before=protect) as guest:
        guest.wait_for(1)
        assert oom_score(guest.process.pid) < unprotected - 300
