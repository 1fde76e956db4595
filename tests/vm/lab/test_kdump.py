# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's kernel crashes while files are in use, and a crash kernel looks into the dump (../kexec/crash.py)."""

import argparse
import json

import pytest

from lab.launch import run_session
from lab.layout import GIB, HIGH_START
from lab.suite import add_suite_options, prepare

NODES = ("--node", "3G:1G", "--node", "1G")  # the host has memory below and above what is reserved
RESERVED = (HIGH_START, HIGH_START + GIB)


CASES = (("1G", "-s"), ("none", "-c"), ("1G", "-s", "lent"), ("none", "-c", "lent"))


@pytest.fixture(scope="module", params=CASES, ids=lambda param: f"pages={'-'.join((param[0], *param[2:]))}")
def found(request, tmp_path_factory):
    """What the crash kernel found. The kernel makes the dump's headers in one case (-s), kexec in the other."""
    logs = tmp_path_factory.mktemp("kdump")
    parser = argparse.ArgumentParser()
    add_suite_options(parser)
    options = parser.parse_args([*NODES, "--append", "crashkernel=768M", "--timeout", "900", "--logs", str(logs), "--visible",
                                 str(logs), "--env", f"DMEMFS_LAB_INITRAMFS={logs / 'initramfs'}"])
    machine = prepare(options)
    output = bytearray()
    status = run_session(machine, options, ["/usr/bin/python3", "tests/vm/kexec/crash.py", *request.param], lambda message: None,
                         output=output.extend)
    assert status == 0, output.decode(errors="replace") + (logs / "console.log").read_text(errors="replace")[-3000:]
    return json.loads(output.splitlines()[-1])


def test_dump_covers_the_memory_that_is_not_reserved(found):
    start, end = RESERVED
    assert all(first + size <= start or first >= end for first, size in found["segments"])
    assert [end, GIB] in found["segments"]
    assert sum(size for first, size in found["segments"] if first < start) > GIB


def test_memory_of_guests_is_not_in_the_dump(found):
    """The same search finds what is not in reserved memory, memory of hugetlbfs among it. The kernel leaves a copy where it moves a page."""
    assert found["found"]["file"] == 0
    assert found["found"]["hugetlbfs"] >= 1 and found["found"]["memory"] >= 1


def test_makedumpfile_makes_a_dump(found):
    """As kdump-tools have it do, and without the guests' memory."""
    assert found["compressed"]["status"] == found["elf"]["status"] == 0, found
    assert found["found_filtered"]["file"] == 0


def test_crash_kernel_cannot_claim_the_memory(found):
    assert found["claim"] == "EADDRNOTAVAIL"
