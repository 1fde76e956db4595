#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Runs inside the VM of ../lab/test_claim.py, whose memmap= extends past the end of RAM by HOLE bytes. Claims ranges that
may not be claimed, hibernates with and without a claimed region, and locks the kernel down. Prints the results as JSON.
"""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from device import Device

MIB = 1 << 20
STATE, TEST = Path("/sys/power/state"), Path("/sys/power/pm_test")
LOCKDOWN = Path("/sys/kernel/security/lockdown")


def outcome(function, *arguments):
    """The error's name, or nothing."""
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return ""


def main():
    subprocess.run(["insmod", os.environ["DMEMFS_MODULE"]], check=True)
    start, size = (int(part, 0) for part in os.environ["DMEMFS_REGION"].split(","))
    end = start + size
    found = {}
    Path("/sys/module/suspend/parameters/pm_test_delay").write_text("1")
    TEST.write_text("freezer")  # freezes all processes, thaws them, and goes no further
    with Device() as device:
        found["hole"] = outcome(device.claim, end, MIB)
        found["memory and hole"] = outcome(device.claim, end - MIB, 2 * MIB)
        found["hibernation, nothing claimed"] = outcome(STATE.write_text, "disk")
        found["memory"] = outcome(device.claim, end - MIB, MIB)
        found["hibernation"] = outcome(STATE.write_text, "disk")
        found["suspend"] = outcome(STATE.write_text, "freeze")
        device.call("REGION_RELEASE", start=end - MIB, length=MIB)
        found["hibernation, released"] = outcome(STATE.write_text, "disk")
        if not LOCKDOWN.exists():
            subprocess.run(["mount", "-t", "securityfs", "none", LOCKDOWN.parent], check=True)
        LOCKDOWN.write_text("integrity")
        found["locked down"] = outcome(device.claim, end - MIB, MIB)
    log = subprocess.run(["dmesg"], check=True, stdout=subprocess.PIPE, text=True).stdout
    found["log"] = [line.partition("dmemfs: ")[2] for line in log.splitlines() if "dmemfs: no hibernation" in line]
    print(json.dumps(found), flush=True)


main()
