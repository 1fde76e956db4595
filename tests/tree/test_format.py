# SPDX-License-Identifier: GPL-2.0-or-later
"""All C files are formatted by clang-format of Debian 12. Other versions format differently."""

import subprocess

import pytest
from test_files import TOP, files

VERSION = "version 14."


def has_that_version():
    try:
        return VERSION in subprocess.run(["clang-format", "--version"], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not has_that_version(), reason="not clang-format 14, Debian 12's")
def test_c_files_are_formatted():
    sources = sorted(path for path in files() if path.suffix in {".c", ".h"})
    result = subprocess.run(["clang-format", "--dry-run", "--Werror", "--ferror-limit=1", *sources], cwd=TOP,
                            capture_output=True, text=True)
    assert result.returncode == 0, f"run clang-format -i on the files of these lines:\n{result.stderr}"
