# SPDX-License-Identifier: GPL-2.0-or-later
"""What both boots of the host know about it, and how an operator runs commands there."""

import os
import subprocess
from pathlib import Path

BOOT = Path("/boot")
CONFIG = Path("/etc/dmemfs/dmemfsd.conf")
DROP_IN = Path("/etc/default/grub.d/dmemfs.cfg")
ROOT = Path("/mnt/dmemfs")
SIZE = "4G"  # what the operator reserves
SCALE = float(os.environ.get("DMEMFS_TEST_SCALE", "1"))
FOUND = 3  # exit status of dmemfsctl doctor: there are problems


def run(*command, status=0):
    """The output of the command."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout
