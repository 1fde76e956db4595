#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
dmemfs beside what guests get their memory from today, on the same VM: hugetlbfs with and without vmemmap optimisation, tmpfs,
memfd, and device-dax on the very range that dmemfs has in another boot.

Under "icount" what it takes to make 1 GiB of memory and touch it once, its faults, the start of a nested KVM guest, its nested
faults and the pages that KVM maps, the host's part of a guest's disk with cache=none, and to map and unmap 1 GiB for a device by
VFIO; by a VM with two CPUs side by side ("tcg") what a mapping and a guest are good for then, and that disk as the guest sees it.
Each page is touched once; files of dmemfs have units of 1 GiB, and the mapping's place limits its pages. Guests of an
emulated KVM hang now and then under "icount", whatever their memory is, and the VM with them, the more so the less of the
machine it has: so the start of guests of one system (with --quick, of two) has a VM of its own, alone, which is started again
when it takes too long.
"""

import argparse
import json
from dataclasses import dataclass

from laboratory import TIMEOUT, Laboratory, VmHung, side_by_side
from results import add_options, finish, guarded, progress, row

NODE = "8G:3G"  # reserved: one GiB for each kind of region, or one for a file and what device-dax has at its start
NODE_DAX = "8G"
DAX = "memmap=3G!7G"  # where NODE reserves
PAGES = ("hugepagesz=1G", "hugepages=1")
OPTIMISED = "hugetlb_free_vmemmap=on"

START_TIME = 150  # seconds that a VM gets for starting guests, which take a minute
START_TRIES = 3

# In the order of measuring: given back, a page of 1 GiB cannot always be had again; once clean, memory of dmemfs stays so.
HUGETLBFS = ("hugetlbfs 1G", "hugetlbfs 2M")
DEVICES = ("device-dax 1G", "device-dax 2M")
SHARED = ("tmpfs 4K", "tmpfs huge=always")
NAMELESS = ("memfd 4K", "memfd hugetlb 2M")  # no path for programs to open; as tmpfs and hugetlbfs in all but that
CLEAN, DIRTY = (tuple(f"dmemfs pages={name}, pool {state}" for name in ("1G", "2M", "none", "none by 2M", "none by 4K"))
                for state in ("clean", "dirty"))
KINDS = CLEAN[:3]


@dataclass(frozen=True)
class Boot:
    """One VM. @systems: {measure: those who are measured}; @suffix: for their names; @alone: no other VM runs meanwhile; @tries:
    how often it is started, when it hangs; @options: more for tests/vm/boot."""

    clock: str
    systems: dict
    node: str = NODE
    append: tuple = PAGES
    suffix: str = ""
    timeout: int = TIMEOUT
    alone: bool = False
    tries: int = 1
    options: tuple = ()

    def names(self):
        return list(dict.fromkeys(name for systems in self.systems.values() for name in systems))

    def run(self, laboratory, rounds):
        plan = {"turns": self.clock != "icount",
                "rounds": {measure: rounds[measure] for measure in self.systems},
                "systems": {name: [measure for measure, systems in self.systems.items() if name in systems]
                            for name in self.names()}}
        options = ["--icount" if self.clock == "icount" else "--cpus=2", "--node", self.node, *self.options]
        found = self._run(laboratory, json.dumps(plan), options)
        return [row(figure, system + self.suffix, values, unit, self.clock) for figure, system, unit, values in found]

    def _run(self, laboratory, plan, options):
        for left in reversed(range(self.tries)):
            try:
                return laboratory.run("peers_guest.py", laboratory.programs, plan, options=options, append=self.append,
                                      timeout=self.timeout)
            except VmHung:
                if left == 0:
                    raise
                progress(f"VM: {', '.join(self.names())}: hung, once more")


TOUCHED = (*HUGETLBFS, *NAMELESS, *SHARED, *DIRTY, *CLEAN)
STARTED = (*HUGETLBFS, *SHARED, *KINDS)
BEST = (HUGETLBFS[0], CLEAN[0])


def start(*systems, node=NODE, append=PAGES):
    return Boot("icount", {"start": systems}, node, append, timeout=START_TIME, alone=True, tries=START_TRIES)


PINNED = (*HUGETLBFS, *KINDS)
VFIO = Boot("icount", {"direct": PINNED, "vfio": PINNED}, options=("--iommu", "amd", "--device", "edu"))


BOOTS = (
    Boot("icount", {"touch": TOUCHED}),
    VFIO,
    *map(start, STARTED),
    Boot("icount", {"touch": HUGETLBFS}, append=(*PAGES, OPTIMISED), suffix=", vmemmap optimised"),
    Boot("icount", {"touch": DEVICES}, NODE_DAX, (DAX,)),
    start(DEVICES[0], node=NODE_DAX, append=(DAX,)),
    Boot("tcg", {"fio": STARTED, "bound": (*STARTED, CLEAN[-1]), "guest": STARTED}, alone=True),
    Boot("tcg", {"disk": BEST}, alone=True),
    Boot("tcg", {"fio": DEVICES[:1], "bound": DEVICES[:1], "guest": DEVICES[:1]}, NODE_DAX, (DAX,), alone=True),
)
ROUNDS = {"touch": 3, "start": 2, "disk": 3, "direct": 3, "vfio": 3, "fio": 3, "bound": 3, "guest": 2}
QUICK_BOOTS = (
    Boot("icount", {"touch": (*HUGETLBFS, SHARED[1], DIRTY[0], CLEAN[0])}),
    Boot("icount", {"touch": DEVICES[:1]}, NODE_DAX, (DAX,)),
    VFIO,
    start(*BEST),
)
QUICK_ROUNDS = {"touch": 2, "start": 1, "direct": 2, "vfio": 2}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("boot", nargs="*", type=int, help="only these VMs, by number")
    options = parser.parse_args()
    boots, rounds = (QUICK_BOOTS, QUICK_ROUNDS) if options.quick else (BOOTS, ROUNDS)
    laboratory = Laboratory(options.build.resolve())
    chosen = [boot for number, boot in enumerate(boots, 1) if not options.boot or number in options.boot]

    hung = []

    def one(boot):
        progress(f"VM: {boot.clock}: {', '.join(boot.systems)}: {', '.join(boot.names())}")
        try:
            return boot.run(laboratory, rounds)
        except VmHung as error:
            hung.append(str(error))
            return []

    found = side_by_side(one, [boot for boot in chosen if not boot.alone])
    found += [one(boot) for boot in chosen if boot.alone]
    rows = [entry for entries in found for entry in entries]
    finish(options, " ".join(["peers", *map(str, options.boot)]), rows)
    if hung:
        raise RuntimeError("not all was measured:\n" + "\n".join(hung))


if __name__ == "__main__":
    guarded(main)
