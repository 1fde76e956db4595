# SPDX-License-Identifier: GPL-2.0-or-later
"""What monitoring sees of a guest's memory with each kind of compound pages and on hugetlbfs: the table of dmemfs-guests(7)."""

import os
import re
from pathlib import Path

import pytest

from helpers.backends import GIB, MIB
from helpers.monitoring import DAEMONS_CGROUP, GUESTS_CGROUP, Cgroup, look, promised, touch, using, word, words
from places import ALL, HUGETLBFS, RAW, capacity, kinds, page_size, pages, place  # noqa: F401 fixtures

SIZE = GIB
LATER = "Linux 7.3"
SERIES = "Linux " + ".".join(os.uname().release.split(".")[:2])
STEP = 2 * MIB  # no kind has smaller pages here
FAULTS = "guest faults after a look at smaps or numa_maps"


def column(kind):
    return f"{kind}, {LATER}" if SERIES == LATER and kind in ("pages=1G", "pages=2M") else kind


def maker(place, name="vm1"):
    def make():
        path = place / name
        path.touch()
        os.truncate(path, SIZE)
        return path

    return make


def faults(path):
    return sum(int(count) for count in re.findall(r" (\d+)$", os.getxattr(path, "dmemfs.faults").decode(), re.MULTILINE))


def check_tools(place, make):
    expected = promised(column(place.kind))
    with using(make, SIZE, STEP) as (child, before):
        shown = words(before, look(child.pid), SIZE)
    assert shown == {tool: expected[tool] for tool in shown}


@kinds(*ALL)
def test_tools(place):
    check_tools(place, maker(place))


@kinds(RAW)
def test_tools_where_files_discard(place):
    check_tools(place, lambda: place.make("vm1", SIZE))


@kinds(*ALL)
def test_cgroups(request, place):
    expected = promised(column(place.kind))
    with Cgroup("guest") as guests, Cgroup("daemon") as daemons:
        if place.kind != HUGETLBFS:
            daemons.take(request.getfixturevalue("fs").daemon.pid)
        before = guests.bytes(), daemons.bytes()
        with using(maker(place), SIZE, STEP, guests):
            assert word(guests.bytes() - before[0], SIZE) == expected[GUESTS_CGROUP]
            assert place.kind == HUGETLBFS or word(daemons.bytes() - before[1], SIZE) == expected[DAEMONS_CGROUP]


@kinds(*(kind for kind in ALL if kind != HUGETLBFS))
def test_what_a_look_costs(place, record_property):
    """The kernel cannot walk an entry of 1 GiB: it drops the entry, and the guest faults once when it goes on."""
    path, cost = place / "vm1", {}
    with using(maker(place), SIZE, STEP) as (child, _):
        before = faults(path)
        for tool in ("status", "stat", "statm", "oom_score", "smaps", "smaps_rollup", "numa_maps"):
            Path(f"/proc/{child.pid}/{tool}").read_text()
            touch(child)
            cost[tool] = faults(path) - before
            before += cost[tool]
    record_property("faults", f"{before} in all, by a look at {cost}")
    costs = {tool: cost.pop(tool) for tool in ("smaps", "smaps_rollup", "numa_maps")}
    assert not any(cost.values()), "a look at a counter costs nothing"
    assert {str(count) for count in costs.values()} == {promised(column(place.kind))[FAULTS].partition(" ")[0]}, costs
