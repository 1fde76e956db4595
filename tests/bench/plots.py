# SPDX-License-Identifier: GPL-2.0-or-later
"""A panel for each figure, as SVG and PNG: bars from zero on, or points on a logarithmic scale where they are far apart."""

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "dmemfs"  # equal figures make equal files
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text: small files
from matplotlib import pyplot  # noqa: E402

from results import number  # noqa: E402

COLUMNS = 2
WIDTH = 5.5  # inches, of a panel
POINTS = 7  # of the text
BAR = 0.17 / POINTS  # inches of height for each point
FAR = 30  # times the least: too far for a common scale from zero on
OWN, OTHER = "#b5452c", "#7f8fa6"


def _panel(axes, figure, rows):
    name, unit, clock = figure
    rows = rows[::-1]
    values = [row.value for row in rows]
    most = max(row.spread[1] for row in rows) or 1
    least = min((value for value in values if value > 0), default=1)
    colours = [OWN if row.system.startswith("dmemfs") else OTHER for row in rows]
    errors = [[row.value - row.spread[0] for row in rows], [row.spread[1] - row.value for row in rows]]
    places = range(len(rows))
    if most > FAR * least:
        axes.set_xscale("log")
        axes.set_xlim(least / 2, most * 5)
        axes.scatter([max(value, least / 2) for value in values], places, color=colours, s=18, zorder=2, clip_on=False)
    else:
        axes.set_xlim(0, most * 1.15)
        axes.barh(places, values, color=colours, height=0.7)
    axes.errorbar(values, places, xerr=errors, fmt="none", ecolor="black", elinewidth=0.8)
    for place, row in zip(places, rows):
        axes.annotate(number(row.value), (max(row.value, row.spread[1], least / 2), place), (5, 0),
                      textcoords="offset points", va="center", fontsize="small")
    axes.minorticks_off()
    axes.set_yticks(places, [row.system for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_title(f"{name} [{unit}, {clock}]", fontsize="medium", loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def _draw(figures, stem, width, points):
    lines = -(-len(figures) // COLUMNS)
    heights = [max(len(rows) for _, rows in figures[at * COLUMNS : (at + 1) * COLUMNS]) + 3 for at in range(lines)]
    picture, panels = pyplot.subplots(lines, COLUMNS, figsize=(width * COLUMNS, BAR * points * sum(heights) + 0.4),
                                      squeeze=False, height_ratios=heights, layout="constrained")
    for axes in panels.flat[len(figures) :]:
        axes.set_visible(False)
    for axes, (figure, rows) in zip(panels.flat, figures):
        _panel(axes, figure, rows)
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".svg", ".png"):
        path = stem.with_suffix(suffix)
        picture.savefig(path, dpi=130, bbox_inches="tight", metadata={"Date": None} if suffix == ".svg" else None)
        yield path
    pyplot.close(picture)


def draw(figures, stem, width=WIDTH, points=POINTS):
    """
    @figures: ((name, unit, clock), rows) of each panel. The paths of STEM.svg and STEM.png, as they are written. @width: inches of
    a panel, @points: size of the text.
    """
    with matplotlib.rc_context({"font.size": points}):
        yield from _draw(figures, stem, width, points)
