# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the tools of an operator show of a guest's memory, compared with how much it is; and the table of dmemfs-guests(7), section
MONITORING, which says so.
"""

import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

from helpers.children import Child
from helpers.host_memory import meminfo
from helpers.syscalls import Mapping, opened

PAGE = 4096
MANUAL = Path(__file__).parents[2] / "fuse-daemon" / "man" / "dmemfs-guests.7.scd"
CGROUPS = ((Path("/sys/fs/cgroup"), "memory.current"), (Path("/sys/fs/cgroup/memory"), "memory.usage_in_bytes"))
PARTS = {"Rss": ("Rss",), "Pss": ("Pss",), "Shared, Private": ("Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty"),
         "Hugetlb": ("Shared_Hugetlb", "Private_Hugetlb")}  # of smaps
AVAILABLE, GUESTS_CGROUP, DAEMONS_CGROUP = "MemAvailable", "memory.current of the guest", "memory.current of dmemfsd"


def promised(column):
    """The column of the table that has it: {tool: word}. A row begins with the tool, an explanation in parentheses may follow."""
    section = MANUAL.read_text(encoding="utf-8").partition("\n# MONITORING\n")[2].partition("\n# ")[0]
    tables = [part.partition("\n\n")[0] for part in section.split("[[")[1:]]
    read = [[[re.sub(r"(?<!\\)[*]|\\", "", cell).strip() for cell in re.split(r"\n:[\[ ]?", row)] for row in re.split(r"\n\|", table)]
            for table in tables]
    head, *rows = next(table for table in read if column in table[0])
    at = head.index(column)
    return {name: row[at] for row in rows for name in expand(row[0].partition(" (")[0])}


def expand(name):
    """Each file of a row for two."""
    files, _, rest = name.partition(": ")
    return [f"{file} {rest}" for file in files.split(", ")] if rest else [name]


class Cgroup:
    """A cgroup of version 1 or 2 that counts memory."""

    def __init__(self, name):
        top, self._file = next((top, file) for top, file in CGROUPS if (top / "cgroup.procs").exists())
        if top == CGROUPS[0][0]:
            (top / "cgroup.subtree_control").write_text("+memory")
        self._top, self._path = top, top / f"dmemfs-test-{os.getpid()}-{name}"
        self._path.mkdir()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for pid in (self._path / "cgroup.procs").read_text().split():
            (self._top / "cgroup.procs").write_text(pid)
        self._path.rmdir()

    def take(self, pid):
        (self._path / "cgroup.procs").write_text(str(pid))

    def bytes(self):
        return int((self._path / self._file).read_text())


def has_cgroups():
    return any((top / "cgroup.procs").exists() for top, _ in CGROUPS)


def sum_of(text, name):
    """In bytes, of a file of /proc with lines "NAME: NUMBER kB"."""
    return sum(int(number) << 10 for number in re.findall(rf"^{name}: *(\d+) kB", text, re.MULTILINE))


def numa_maps(pid):
    total = 0
    for line in Path(f"/proc/{pid}/numa_maps").read_text().splitlines():
        pages = sum(int(number) for number in re.findall(r" N\d+=(\d+)", line))
        total += pages * int((re.search(r" kernelpagesize_kB=(\d+)", line) or [0, "0"])[1]) << 10
    return total


def oom_score(pid):
    """In bytes: two thirds of 1000 are all memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE
    return int(Path(f"/proc/{pid}/oom_score").read_text()) * memory * 3 // 2000


def look(pid):
    """{tool: bytes}"""
    # First what only reads a counter: to read the page tables may change them.
    said = {"oom_score": oom_score(pid), "ps": int(subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], check=True,
                                                                  capture_output=True, text=True).stdout) << 10,
            AVAILABLE: meminfo(AVAILABLE)}
    said["numa_maps"] = numa_maps(pid)
    for file in ("smaps", "smaps_rollup"):
        text = Path(f"/proc/{pid}/{file}").read_text()
        for name, parts in PARTS.items():
            said[f"{file} {name}"] = sum(sum_of(text, part) for part in parts)
    return said


@contextmanager
def using(make, size, step=PAGE, cgroup=None):
    """
    A process that has mapped the file of @size bytes that make() returns, and has touched all of its pages of @step bytes. Yields it,
    and what the tools showed before. It touches the memory again on touch(child).
    """
    def work(pipe):
        with opened(pipe.recv()) as fd, Mapping(fd, size, skew=0) as mapping:
            while True:
                for at in range(0, size, step):
                    mapping.write(at, b"x")
                pipe.send("touched")
                pipe.recv()

    with Child(work, with_pipe=True) as child:
        if cgroup:
            cgroup.take(child.pid)
        before = look(child.pid)
        child.pipe.send(make())
        child.receive()
        yield child, before


def touch(child):
    child.pipe.send("again")
    child.receive()


def word(difference, size):
    share = difference / size
    return "all" if 0.75 < share < 1.25 else "nothing" if -0.25 < share < 0.25 else f"{share:.2f} of it"


def words(before, after, size):
    """{tool: "all", "nothing" or the share of the memory by which the tool's figure grew}"""
    grown = {tool: after[tool] - before[tool] for tool in before}
    grown[AVAILABLE] = -grown[AVAILABLE]
    return {tool: word(difference, size) for tool, difference in grown.items()}
