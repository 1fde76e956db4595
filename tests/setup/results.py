# SPDX-License-Identifier: GPL-2.0-or-later
"""
Sums up JUnit reports: `results.py FILE...` prints "PASSED FAILED SKIPPED", then a line per test that failed or was
skipped. A report that is missing or cut short counts as nothing: its runner's exit status says more.
`results.py --slowest N FILE...` prints the tests that took longest, "SECONDS s  NAME" a line.
"""

import sys
import xml.etree.ElementTree as ElementTree
from contextlib import suppress


def verdict(case):
    """("failed", "skipped" or "passed", reason)"""
    for tag, name in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        found = case.find(tag)
        if found is not None:
            lines = (found.get("message") or found.text or "").strip().splitlines()
            return name, lines[0] if lines else ""
    return "passed", ""


def name_of(case):
    return "::".join(filter(None, (case.get("classname"), case.get("name"))))


def cases_of(paths):
    for path in paths:
        with suppress(OSError, ElementTree.ParseError):
            yield from ElementTree.parse(path).getroot().iter("testcase")


def show_verdicts(paths):
    count = {"passed": 0, "failed": 0, "skipped": 0}
    lines = []
    for case in cases_of(paths):
        result, reason = verdict(case)
        count[result] += 1
        if result != "passed":
            lines.append(f"{result}: {name_of(case)}" + (f": {reason}" if reason else ""))
    print(count["passed"], count["failed"], count["skipped"])
    print(*lines, sep="\n")


def show_slowest(number, paths):
    taken = sorted(((float(case.get("time") or 0), name_of(case)) for case in cases_of(paths)), reverse=True)
    for seconds, name in taken[:number]:
        print(f"{seconds:.1f} s  {name}")


if sys.argv[1:2] == ["--slowest"]:
    show_slowest(int(sys.argv[2]), sys.argv[3:])
else:
    show_verdicts(sys.argv[1:])
