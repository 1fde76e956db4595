#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Draws what ./run-bench has measured: a table for the terminal or in Markdown, whether the goals are met, plots.

Each figure shows the value of dmemfs first, and everybody else's as a multiple of that.
"""

import argparse
from pathlib import Path

import goals
import results
from names import (BOUND_CHASE, BOUND_STREAM, CLAIM, CLEARING, COST, COST_GROWS, DIRECT, DISK, FAULTS, FIO, GROWTH,
                   GUEST_CHASE, GUEST_STREAM, HUGE, READING, RESTART_WAIT, START, TOUCH, TOUCH_FAULTS, VFIO, ZEROING)
from results import number

OWN = "dmemfs"
# The panels of the figure in the README: their titles, and the systems that are in each, all or these.
SUMMARY = {
    COST: ("memory cost of a GiB", None),
    TOUCH: ("create, size, touch 1 GiB", ("dmemfs pages=1G, pool clean", "dmemfs pages=1G, pool dirty", "hugetlbfs 1G",
                                          "hugetlbfs 2M", "tmpfs huge=always", "device-dax 1G")),
    START: ("start of a guest, CPU time", None),
    RESTART_WAIT: ("wait for the next daemon", None),
}
# The other plots: a file for each group, with the figures whose names begin so.
GROUPS = {
    "memory": (COST, COST_GROWS, GROWTH, CLAIM, "claim of 1,000 GiB"),
    "touch": (TOUCH, TOUCH_FAULTS),
    "guests": (START, FAULTS, DISK.partition("{}")[0], DIRECT.partition("{}")[0], VFIO.partition("{}")[0]),
    "demand": ("first touch of 2 MiB",),
    "lending": ("guest of 2 GiB", "lent GiB"),
    "metadata": ("time of ",),
    "zeroing": (ZEROING, CLEARING, READING.partition("{}")[0]),
    "restart": ("restart of a killed daemon", RESTART_WAIT),
    "many-guests": ("guests of 6 GiB",),
    "many-files": ("many files",),
    "many-extents": ("many extents in a file",),
    "many-clients": ("clients at once",),
    "allocator": ("extents in units of", "free memory in whole GiB", "requests refused", "pieces of a file", "CPU time of an operation"),
}
# In no plot, but in the tables. Noise: under TCG, the rounds of one system differ by as much as systems do. Repetition: the pages
# that KVM maps follow from the faults, and nearly all of a start is computing.
NOISE = (FIO.partition("{}")[0], BOUND_CHASE, BOUND_STREAM, GUEST_CHASE, GUEST_STREAM)
REPETITION = (HUGE.partition("{}")[0], "computed meanwhile", "guests of 6 GiB on 12 TiB: computed", "many files: computed",
              "many extents in a file: computed")
SUMMARY_WIDTH, SUMMARY_POINTS = 4.4, 9  # of a panel, in inches, and of its text: to be read at the width of a page


def by_figure(rows):
    """((figure, unit, clock), rows), dmemfs first, as it is meant to be used: the rows of a figure may come from more than one VM."""
    figures = dict.fromkeys((row.figure, row.unit, row.clock) for row in rows)
    for figure in figures:
        group = [row for row in rows if (row.figure, row.unit, row.clock) == figure]
        yield figure, sorted(group, key=lambda row: (not row.system.startswith(OWN), row.system.endswith("dirty")))


def ratio(row, base):
    return f"x{number(row.value / base.value)}" if base.value > 0 else "-"  # a difference may be less than nothing


def spread(row):
    return f"{number(row.spread[0])}..{number(row.spread[1])}" if row.n > 1 else "-"


def alone(rows):
    """None of these is a peer's: dmemfs with few and with many of something."""
    return all(row.system.startswith(OWN) for row in rows)


def series(name, group):
    """One line for a figure that has no peers in it."""
    base, cells = group[0], []
    for row in group:
        who = "" if len(group) == 1 else f"{row.system.removeprefix(OWN + ', ')}: "
        times = "" if row is base else f" ({ratio(row, base)})"
        cells.append(f"{who}{number(row.value)}{times}{f' {spread(row)}' if row.n > 1 else ''}")
    return f"{name}  " + "; ".join(cells)


def terminal(rows):
    lines = []
    for (figure, unit, clock), group in by_figure(rows):
        base = group[0]
        if alone(group):
            lines.append(series(f"{figure} [{unit}, {clock}]", group))
            continue
        lines.append(f"{figure} [{unit}, {clock}]")
        for row in group:
            lines.append(f"  {row.system:40}{number(row.value):>12}{ratio(row, base):>10}{spread(row):>22}  n={row.n}")
    return "\n".join(lines)


def markdown(rows):
    lines = ["| figure | system | value | times dmemfs | spread | clock, rounds |", "| --- | --- | ---: | ---: | --- | --- |"]
    for (figure, unit, clock), group in by_figure(rows):
        base = group[0]
        for place, row in enumerate(group):
            lines.append(f"| {'' if place else f'{figure}, {unit}'} | {row.system} | {number(row.value)} | "
                         f"{ratio(row, base)[1:] or '-'} | {spread(row)} | {clock}, {row.n} |")
    return "\n".join(lines)


def summary(rows):
    """The panels of SUMMARY, or none if a figure is missing."""
    figures = {figure: (unit, clock, group) for (figure, unit, clock), group in by_figure(rows) if figure in SUMMARY}
    if figures.keys() != SUMMARY.keys():
        return []
    panels = []
    for figure, (title, systems) in SUMMARY.items():
        unit, clock, group = figures[figure]
        panels.append(((title, unit, clock), [row for row in group if not systems or row.system in systems]))
    return panels


def plotted(rows):
    """{group: ((figure, unit, clock), rows) of each panel}, of figures that compare something."""
    found = {}
    for figure, group in by_figure(rows):
        if len(group) < 2 or figure[0].startswith(NOISE + REPETITION):
            continue
        for name, beginnings in GROUPS.items():
            if figure[0].startswith(beginnings):
                found.setdefault(name, []).append((figure, group))
    return found


def draw(rows, directory):
    """An SVG and a PNG of the README's figure, and of each group."""
    import plots  # pylint: disable=import-outside-toplevel; matplotlib takes a second

    panels = summary(rows)
    if panels:
        yield from plots.draw(panels, directory / "summary", SUMMARY_WIDTH, SUMMARY_POINTS)
    for name, figures in plotted(rows).items():
        yield from plots.draw(figures, directory / name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the JSON file of ./run-bench")
    parser.add_argument("--figure", help="only figures with this in their name", default="")
    parser.add_argument("--markdown", action="store_true", help="a table in Markdown")
    parser.add_argument("--goals", action="store_true", help="the goals alone")
    parser.add_argument("--plots", type=Path, metavar="DIRECTORY", help="draw SVG and PNG there instead")
    options = parser.parse_args()
    rows = [row for row in results.load(options.results) if options.figure in row.figure]
    if options.plots:
        print("\n".join(map(str, draw(rows, options.plots))))
    elif options.goals:
        print("\n".join(goals.lines(rows)))
    else:
        print(markdown(rows) if options.markdown else terminal(rows))


if __name__ == "__main__":
    results.guarded(main)
