# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds for every file of the source tree."""

import os
import re
from pathlib import Path

TOP = Path(__file__).parents[2]
LINES_MAX = 600
CODE = {".c", ".h", ".py", ".sh"}
COMMENTED = CODE | {".build", ".conf", ".ini", ".service", ".rules"}
NOT_OURS = {".git", "subprojects", "__pycache__", ".pytest_cache", ".hypothesis"}


def files():
    for directory, names, entries in os.walk(TOP):
        names[:] = [name for name in names if name not in NOT_OURS and not name.startswith("build")]
        for entry in entries:
            path = Path(directory, entry)
            if path.is_file() and not path.is_symlink() and not entry.endswith(".mod.c"):
                yield path


def is_script(path):
    with open(path, "rb") as file:
        return file.read(2) == b"#!"


def is_code(path):
    return path.suffix in CODE or is_script(path)


def offenders(predicate):
    return sorted(str(path.relative_to(TOP)) for path in files() if predicate(path))


def test_no_file_is_too_long():
    def too_long(path):
        return is_code(path) and len(path.read_text().splitlines()) > LINES_MAX

    assert offenders(too_long) == [], f"longer than {LINES_MAX} lines: split by concern"


def test_every_file_names_its_licence():
    def unlicensed(path):
        if not (path.suffix in COMMENTED or is_code(path)):
            return False
        return not any("SPDX-License-Identifier: " in line for line in path.read_text().splitlines()[:2])

    assert offenders(unlicensed) == [], "no SPDX-License-Identifier in the first lines"


def test_test_modules_have_names_of_their_own():
    """One pytest runs all of these in the laboratory. It takes two modules of the same name for one."""
    together = [path.name for suite in ("mount", "posix", "ctl", "vm") for path in (TOP / "tests" / suite).glob("*.py")
                if path.name != "conftest.py"]
    assert sorted(together) == sorted(set(together))


def test_nothing_is_imported_from_a_conftest():
    """
    Each suite may have a conftest, and pytest loads each as "conftest": which of them an import finds is a matter
    of order.
    """
    imports = re.compile(r"^\s*(from conftest import|import conftest)\b", re.MULTILINE)
    assert offenders(lambda path: path.suffix == ".py" and imports.search(path.read_text())) == []
