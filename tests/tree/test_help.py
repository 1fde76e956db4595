# SPDX-License-Identifier: GPL-2.0-or-later
"""Every program of this tree that a person runs explains itself with --help, and does nothing else then."""

import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PLACES = ("run-*", "quickstart", "tests/setup/*", "tests/*/run", "tests/vm/arm64/run", "tests/vm/run-on", "tests/vm/boot",
          "tests/vm/shell")
PROGRAMS = sorted(str(path.relative_to(TOP)) for place in PLACES for path in TOP.glob(place)
                  if path.is_file() and os.access(path, os.X_OK))


@pytest.mark.parametrize("program", PROGRAMS)
def test_help(program, tmp_path):
    done = subprocess.run([TOP / program, "--help"], capture_output=True, text=True, check=False, cwd=tmp_path,
                          stdin=subprocess.DEVNULL, env={**os.environ, "DMEMFS_CACHE": str(tmp_path / "cache")})
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(program).name in done.stdout or len(done.stdout.splitlines()) > 2
    assert not list(tmp_path.iterdir())
