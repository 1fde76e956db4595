# SPDX-License-Identifier: GPL-2.0-or-later
"""What dmemfs has promised of its figures, and whether these rows keep it."""

from dataclasses import dataclass

from names import COST, DISK, FAULTS, GROWTH, METADATA, START, TOUCH, VFIO, ZEROING

OURS = "dmemfs pages=1G, pool clean"
HUGETLBFS = "hugetlbfs 1G"
OPTIMISED = "hugetlbfs 1G, vmemmap optimised"


@dataclass(frozen=True)
class Goal:
    """value of @ours <= @factor * value of @theirs, by @clock if it says one; with no @theirs, value >= @factor, or <= if @most."""

    text: str
    figure: str
    ours: str
    theirs: str | None
    factor: float
    clock: str | None = None
    most: bool = False

    def judge(self, rows):
        """The line that says how it is, or None when these rows do not tell."""
        rows = [row for row in rows if row.figure == self.figure and self.clock in (None, row.clock)]
        ours = _find(rows, self.ours)
        theirs = self.theirs and _find(rows, self.theirs)
        if ours is None or (self.theirs and theirs is None):
            return None
        if theirs is None:
            holds, bound = (ours.value <= self.factor, "most") if self.most else (ours.value >= self.factor, "least")
            return self._line(_verdict(holds), f"{ours.value:.2f}", f"at {bound} {self.factor:g}")
        if min(ours.value, theirs.value) < 0:
            return self._line("cannot be told", f"{ours.value:.3g} to {theirs.value:.3g}, less than nothing", f"at most {self.factor:g}")
        ratio = ours.value / theirs.value if theirs.value else float("inf") if ours.value else 1.0
        # The rounds of the peer are what it is by itself: no worse than the worst of them is not known to be worse.
        verdict = _verdict(ours.value <= self.factor * theirs.value, ours.value <= self.factor * theirs.spread[1])
        return self._line(verdict, f"{ratio:.4g} times {self.theirs}", f"at most {self.factor:g}")

    def _line(self, verdict, found, wanted):
        return f"goal: {self.text}: {found}, {wanted} wanted: {verdict}"


def _verdict(holds, undecided=False):
    return "holds" if holds else "within the spread of the peer's rounds" if undecided else "does not hold"


GOALS = (
    Goal("memory of a region and its mapping, KiB a GiB", GROWTH, "dmemfs pages=1G, 10 GiB", None, 48, most=True),
    *(goal for pages in ("pages=1G", "pages=none") for goal in (
        Goal(f"memory cost, {pages}", COST, f"dmemfs {pages}", OPTIMISED, 1.0),
        Goal(f"create, size and first touch, {pages}, clean pool", TOUCH, f"dmemfs {pages}, pool clean", HUGETLBFS, 0.01),
        Goal(f"create, size and first touch, {pages}, dirty pool", TOUCH, f"dmemfs {pages}, pool dirty", HUGETLBFS, 1.1),
        Goal(f"start of a nested guest, {pages}", START, f"dmemfs {pages}, pool clean", HUGETLBFS, 1.0),
        Goal(f"nested page faults of its start, {pages}", FAULTS, f"dmemfs {pages}, pool clean", HUGETLBFS, 1.0))),
    *(Goal(f"a guest's disk with cache=none, time of {way}", DISK.format(way), OURS, HUGETLBFS, 1 / 0.98)
      for way in ("reading", "writing")),
    *(Goal(f"VFIO, {way} of memory", VFIO.format(way), OURS, HUGETLBFS, 1.0) for way in ("mapping", "unmapping")),
    Goal("zeroing in advance, of memset's rate", ZEROING, "dmemfs, in advance, one thread", None, 0.9),
    Goal("the same by CPU time", ZEROING, "dmemfs, in advance, of the CPU time", None, 0.9),
    *(Goal(f"{METADATA.format(operation)}, {clock}", METADATA.format(operation), "dmemfs", None, 0.3, clock)
      for clock in ("icount", "host") for operation in ("create", "stat", "rename", "unlink", "a file's life")),
)


def _find(rows, system):
    return next((row for row in rows if row.system == system), None)


def lines(rows):
    return [line for line in (goal.judge(rows) for goal in GOALS) if line]
