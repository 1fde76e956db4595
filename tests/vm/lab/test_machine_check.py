# SPDX-License-Identifier: GPL-2.0-or-later
"""A CPU comes across a memory error by itself, before anything else has found it: QEMU's monitor has it do so."""

import argparse
import json

from lab.launch import run_session
from lab.suite import add_suite_options, prepare

SCRIPT = "tests/vm/poison/consumed.py"
BAD, PAGE = 0x503000, 4096  # as in the script
# The kernel goes on after such an error on Intel's CPUs, and on AMD's if they say so, which QEMU's do not.
CPU = "vendor=GenuineIntel"


def test_only_who_touches_the_page_is_told(tmp_path):
    """
    The page is unmapped and the others go on. The kernel, which does not know such memory, kills the one that came across it by
    a SIGBUS that says nothing.
    """
    parser = argparse.ArgumentParser()
    add_suite_options(parser)
    options = parser.parse_args(["--node", "3G:1G", "--node", "1G", "--cpu", CPU, "--timeout", "300", "--logs", str(tmp_path)])
    machine = prepare(options)
    output = bytearray()
    status = run_session(machine, options, ["/usr/bin/python3", SCRIPT], lambda message: None, output=output.extend)
    assert status == 0, output.decode(errors="replace") + (tmp_path / "console.log").read_text(errors="replace")[-3000:]
    found = json.loads(output.splitlines()[-1])
    assert found["reader"].startswith("SIGBUS other "), found
    assert found["other"] == "nothing" and found["other_elsewhere"] == "done 0"
    assert found["other_there"] == f"SIGBUS MCEERR_AR {BAD} 12"
    assert found["poisoned"] == [[BAD, PAGE]]
