# SPDX-License-Identifier: GPL-2.0-or-later
"""
The one format of all figures: rows in one JSON file, to which each part of ./run-bench adds its own.

A row says what was measured (figure), of whom (system), what came out (value in unit: the median of n rounds), from where to
where the rounds went (spread), and by which clock: "icount" counts the instructions of a VM, knows no caches and repeats;
"tcg" is that of a VM which runs its CPUs side by side, emulated; "host" is this machine's, with its caches and its other work.
"""

import json
import os
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

CLOCKS = ("icount", "tcg", "host")


class Row(NamedTuple):
    figure: str
    system: str
    value: float
    unit: str
    spread: tuple  # (least, most)
    clock: str
    n: int


def row(figure, system, values, unit, clock):
    """@values: of each round; a single number where there was one."""
    values = list(values) if isinstance(values, (list, tuple)) else [values]
    if clock not in CLOCKS:
        raise ValueError(f"no such clock: {clock}")
    return Row(figure, system, statistics.median(values), unit, (min(values), max(values)), clock, len(values))


def number(value):
    """As people read it."""
    if value and abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}"


def load(path):
    """The rows of all parts, in the order in which they were measured."""
    found = json.loads(Path(path).read_text())
    return [Row(*(entry[name] for name in Row._fields)) for entry in found["rows"]]


def store(path, part, rows):
    """Replaces the rows of @part; the file is never half-written."""
    path = Path(path)
    kept = json.loads(path.read_text())["rows"] if path.exists() else []
    kept = [entry for entry in kept if entry["part"] != part]
    kept += [{"part": part, **entry._asdict()} for entry in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps({"rows": kept}, indent=1) + "\n")
    new.replace(path)


def add_options(parser):
    """What every part of ./run-bench is given."""
    parser.add_argument("--build", type=Path, required=True, help="Meson's build directory, optimised")
    parser.add_argument("--results", type=Path, help="add the rows to this file, too")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes")


def finish(options, part, rows):
    """Shows the rows of @part, and keeps them if that is wanted."""
    from report import terminal  # pylint: disable=import-outside-toplevel; it needs the rows from here

    if options.results:
        store(options.results, part, rows)
    print(terminal(rows), flush=True)


def progress(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def guarded(main):
    """Ends a part by its main(); an error that the operator can mend is one line."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {error}")
