# SPDX-License-Identifier: GPL-2.0-or-later
"""What all boots of the host know about it, and how an operator runs commands there."""

import json
import os
import subprocess
from pathlib import Path

# The tests of each boot, which are files here.
BOOTS = {"bare": ("bare",), "running": ("running", "confined", "drop_in", "nova"), "crashed": ("crashed",)}
BOOT = Path("/boot")
CONFIG = Path("/etc/dmemfs/dmemfsd.conf")
DROP_IN = Path("/etc/default/grub.d/dmemfs.cfg")
ROOT = Path("/mnt/dmemfs")
SIZE = "4G"  # what the operator reserves
SCALE = float(os.environ.get("DMEMFS_TEST_SCALE", "1"))
TIMEOUT = 20 * SCALE
FOUND = 3  # exit status of dmemfsctl doctor: there are problems


def run(*command, status=0):
    """The output of the command."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def control(*arguments, status=0):
    """What dmemfsctl prints with --json."""
    return json.loads(run("dmemfsctl", *arguments, "--json", status=status))


def free():
    """The free memory of the mount, in bytes."""
    return control("status")["mounts"][0]["free_bytes"]


def denials():
    """The lines of the log, since the boot, in which AppArmor refused something."""
    return sorted({line.partition("apparmor=")[2] for line in run("journalctl", "--boot", "--output=cat").splitlines()
                   if 'apparmor="DENIED"' in line})


def set_next_boot(name):
    """The host runs the tests of that boot when it starts the next time. Must be called before the disk is synchronized."""
    here = Path(__file__).parent
    (BOOT / "tests").write_text(" ".join(str(here / f"{file}.py") for file in BOOTS[name]))
