#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What guest memory costs the rest of the host, all in, with dmemfs and with its peers.

Each figure is one life of a VM that has SIZE more RAM than the reference and a process that has mapped and touched SIZE
bytes of guest memory. What MemAvailable then misses against the reference is the cost: struct page, page tables, module,
daemon. Two sizes tell what grows with the memory from what does not.
"""

import argparse
from statistics import median

from laboratory import Laboratory, side_by_side
from names import COST, COST_GROWS, COST_PARTS
from results import add_options, finish, guarded, progress, row

HOST_GIB = 4
DAX_GIB = HOST_GIB + 2  # where the additional RAM begins: the hole below 4 GiB takes 2
SIZES = (2, 4)  # GiB of guest memory
ROUNDS = 2
OWN = "dmemfs pages=1G"
REFERENCE = "a host without that memory"
OPTIMISED = "hugetlb_free_vmemmap=on"
PARTS = {"daemon": "daemon", "module": "module", "page_tables": "page tables of the process"}
QUICK = (OWN, "hugetlbfs 1G", "hugetlbfs 1G, vmemmap optimised")


def hugetlb(page, optimised=False):
    """Arguments for the kernel, as a function of the guest's GiB."""
    per_gib = {"2M": 512, "1G": 1}[page]
    return lambda gib: [f"default_hugepagesz={page}", f"hugepagesz={page}", f"hugepages={gib * per_gib}",
                        *([OPTIMISED] if optimised else [])]


# Name: what memory_guest.py does, arguments for the kernel.
PEERS = {
    REFERENCE: ("nothing", lambda gib: []),
    **{f"dmemfs pages={pages}": (f"dmemfs-{pages}", lambda gib: []) for pages in ("1G", "2M", "none")},
    "hugetlbfs 1G": ("hugetlbfs-1G", hugetlb("1G")),
    "hugetlbfs 1G, vmemmap optimised": ("hugetlbfs-1G", hugetlb("1G", True)),
    "hugetlbfs 2M": ("hugetlbfs-2M", hugetlb("2M")),
    "hugetlbfs 2M, vmemmap optimised": ("hugetlbfs-2M", hugetlb("2M", True)),
    "tmpfs 4K": ("tmpfs", lambda gib: []),
    "tmpfs huge=always": ("tmpfs-huge", lambda gib: []),
    "device-dax 1G": ("device-dax", lambda gib: [f"memmap={gib + 1}G!{DAX_GIB}G"]),
}


def measure(laboratory, what, node, gib, arguments=()):
    """What memory_guest.py says of @gib GiB of guest memory in a VM with one @node."""
    return laboratory.run("memory_guest.py", what, gib << 30, options=("--cpus", 1, "--node", node), append=arguments)


def node(what, gib):
    """The RAM of a VM, as tests/vm/boot takes it: @gib more than the reference has."""
    if what == "device-dax":
        return f"{HOST_GIB + gib + 1}G"  # it wants a page for itself
    return f"{HOST_GIB + gib}G" + (f":{gib}G" if what.startswith("dmemfs") else "")


def measure_all(laboratory, names, sizes, rounds):
    """MiB of each round by peer and size, and what dmemfs says of its parts."""
    def one(job):
        name, gib = job
        progress(f"VM: {name}, {gib} GiB")
        what, arguments = PEERS[name]
        return measure(laboratory, what, node(what, gib), gib, arguments(gib))

    jobs = [(REFERENCE, 0), *((name, gib) for name in names for gib in sizes)]
    found = {job: [] for job in jobs}
    for job, figures in zip(jobs * rounds, side_by_side(one, jobs * rounds)):
        found[job].append(figures)
    reference = median(figures["available"] for figures in found[REFERENCE, 0])
    costs = {name: {gib: [(reference - figures["available"]) / 1024 for figures in found[name, gib]] for gib in sizes}
             for name in names}
    return costs, found.get((OWN, sizes[-1]), [{}])[0]


def rows_of(costs, parts):
    rows = []
    for name, cost in costs.items():
        largest = max(cost)
        rows.append(row(COST, name, [mib / largest for mib in cost[largest]], "MiB", "tcg"))
    for name, cost in costs.items():
        if len(cost) == 2:
            (small, least), (large, most) = sorted(cost.items())
            rows.append(row(COST_GROWS, name, [(b - a) / (large - small) for a, b in zip(least, most)], "MiB", "tcg"))
    rows += [row(COST_PARTS.format(part), OWN, parts[name], "KiB", "tcg") for name, part in PARTS.items() if parts]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("peer", nargs="*", help="part of a name: only these", default=[""])
    options = parser.parse_args()
    names = [name for name in (QUICK if options.quick else PEERS)
             if name != REFERENCE and any(part in name for part in options.peer)]
    plan = (SIZES[:1], 1) if options.quick else (SIZES, ROUNDS)
    laboratory = Laboratory(options.build.resolve())
    finish(options, "memory", rows_of(*measure_all(laboratory, names, *plan)))


if __name__ == "__main__":
    guarded(main)
