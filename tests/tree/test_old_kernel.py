# SPDX-License-Identifier: GPL-2.0-or-later
"""On a kernel that is too old the newcomer's two commands say so first, before they install or build anything."""

import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


@pytest.mark.parametrize("program", ["quickstart", "run-tests"])
@pytest.mark.parametrize("release", ["6.1.0-49-amd64", "6.8.12", "5.10.0"])
def test_old_kernel_is_named(program, release, tmp_path):
    uname = tmp_path / "uname"
    uname.write_text(f'#!/bin/sh\n[ "$1" = -r ] && echo {release} || echo x86_64\n')
    uname.chmod(0o755)
    done = subprocess.run([TOP / program], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                          env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "DMEMFS_CACHE": str(tmp_path / "cache")})
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Linux {release} has no FUSE passthrough: boot Linux 6.9" in done.stderr and "bookworm-backports" in done.stderr
    assert not (tmp_path / "cache").exists()
