# SPDX-License-Identifier: GPL-2.0-or-later
"""
Sums up JUnit reports: `results.py FILE...` prints "PASSED FAILED SKIPPED", then a line per test that failed or was
skipped. A report that is missing or cut short counts as nothing: its runner's exit status says more.
"""

import sys
import xml.etree.ElementTree as ElementTree


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


def main(paths):
    count = {"passed": 0, "failed": 0, "skipped": 0}
    lines = []
    for path in paths:
        try:
            root = ElementTree.parse(path).getroot()
        except (OSError, ElementTree.ParseError):
            continue
        for case in root.iter("testcase"):
            result, reason = verdict(case)
            count[result] += 1
            if result != "passed":
                lines.append(f"{result}: {name_of(case)}" + (f": {reason}" if reason else ""))
    print(count["passed"], count["failed"], count["skipped"])
    print(*lines, sep="\n")


main(sys.argv[1:])
