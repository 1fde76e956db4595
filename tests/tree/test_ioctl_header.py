# SPDX-License-Identifier: GPL-2.0-or-later
"""shared/dmemfs_ioctl.h compiles alone and without a warning, with the same layout for each compiler."""

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

HEADER = Path(__file__).parents[2] / "shared" / "dmemfs_ioctl.h"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only")


@pytest.mark.parametrize("compiler, language, standard", [
    ("cc", "c", "c11"), ("cc", "c", "gnu17"), ("c++", "c++", "c++11"), ("c++", "c++", "c++20")])
def test_header_compiles_alone(compiler, language, standard):
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    # Padding would be layout that nobody wrote down.
    padded = ("-Wpadded",) if language == "c" else ()
    subprocess.run([compiler, *WARNINGS, *padded, f"-std={standard}", "-x", language, "-"],
                   input=f'#include "{HEADER}"\n', text=True, check=True)


def test_python_reads_all_of_it():
    reader = HEADER.parents[1] / "tests" / "vm" / "dmemfs_ioctl.py"
    constants = runpy.run_path(str(reader))["CONSTANTS"]
    names = set(re.findall(r"^\s*DMEMFS_(\w+) = ", HEADER.read_text(), re.MULTILINE))
    names |= set(re.findall(r"[{,] DMEMFS_(\w+) = ", HEADER.read_text()))
    assert names <= constants.keys()


def test_last_event_is_the_last():
    """The module has an array with a place for each kind of event, up to EVENT_LAST."""
    reader = HEADER.parents[1] / "tests" / "vm" / "dmemfs_ioctl.py"
    constants = runpy.run_path(str(reader))["CONSTANTS"]
    kinds = re.search(r"enum dmemfs_event_kind \{(.*?)\}", HEADER.read_text(), re.DOTALL)[1]
    numbers = [constants[name] for name in re.findall(r"DMEMFS_(EVENT_\w+) = \d", kinds)]
    assert sorted(numbers) == list(range(1, constants["EVENT_LAST"] + 1))
