# SPDX-License-Identifier: GPL-2.0-or-later
"""Which ranges the module refuses to claim, and what the machine cannot do while a region is claimed."""

import argparse
import json

from lab.launch import run_session
from lab.layout import GIB, HIGH_START
from lab.suite import add_suite_options, prepare

SCRIPT = "tests/vm/claim/claims.py"
END_OF_RAM = HIGH_START + GIB


def test_claims(tmp_path):
    parser = argparse.ArgumentParser()
    add_suite_options(parser)
    options = parser.parse_args(["--node", "3G:1G", "--append", f"memmap=64M${END_OF_RAM:#x}", "--timeout", "300",
                                 "--logs", str(tmp_path)])
    machine = prepare(options)
    output = bytearray()
    status = run_session(machine, options, ["/usr/bin/python3", SCRIPT], lambda message: None, output=output.extend)
    assert status == 0, output.decode(errors="replace") + (tmp_path / "console.log").read_text(errors="replace")[-3000:]
    found = json.loads(output.splitlines()[-1])
    refused = found.pop("log")
    assert refused and all("unload the module first" in line for line in refused)
    assert found == {
        "hole": "EADDRNOTAVAIL", "memory and hole": "EADDRNOTAVAIL", "memory": "",
        "hibernation, nothing claimed": "", "hibernation": "EBUSY", "suspend": "", "hibernation, released": "",
        "locked down": "EPERM"}
