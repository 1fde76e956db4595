# SPDX-License-Identifier: GPL-2.0-or-later
"""
The kernel is replaced under a guest, on the host's side: boots the VM that does it (../kexec/phases.py) and judges what it
reports. Then the ways in which it must not work.
"""

import argparse
import json
import subprocess

import pytest

from lab.launch import run_session
from lab.suite import add_suite_options, prepare

NODES = ("--node", "6G:4G")
SECRET_SIZE = 64 << 20  # as in phases.py


def boot(tmp_path, number, *arguments):
    """The reports of the phases that one start of QEMU lives through."""
    logs = tmp_path / f"logs{number}"
    parser = argparse.ArgumentParser()
    add_suite_options(parser)
    options = parser.parse_args([*NODES, "--cpus", "2", "--timeout", "900", "--disk", str(tmp_path / "disk"),
                                 "--logs", str(logs), "--visible", str(tmp_path),
                                 "--env", f"DMEMFS_LAB_INITRAMFS={logs / 'initramfs'}", *arguments])
    machine = prepare(options)
    output = bytearray()
    status = run_session(machine, options, ["/usr/bin/python3", "tests/vm/kexec/phases.py"], lambda message: None,
                         output=output.extend)
    reports = {}
    for line in output.decode(errors="replace").splitlines():
        if line.startswith('{"phase"'):
            report = json.loads(line)
            reports[report["phase"]] = report
    assert status == 0, output.decode(errors="replace") + (logs / "console.log").read_text(errors="replace")[-3000:]
    return reports


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    directory = tmp_path_factory.mktemp("kexec")
    disk = directory / "disk"
    with open(disk, "wb") as file:
        file.truncate(512 << 20)
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)
    found = boot(directory, 0)
    argument = found["fourth"]["argument"]
    return found | boot(directory, 1, "--append", argument)


def test_files_are_as_they_were(reports):
    assert reports["second"]["kept"] and reports["second"]["files_same"]


def test_guest_goes_on(reports):
    """It counts on where it was, in the same boot of its own, and its files are what they were."""
    before, first, last = (reports["second"][name] for name in ("before", "guest_first", "guest_last"))
    assert before["count"] < first["count"] < before["count"] + 10
    assert last["count"] > first["count"]
    assert before["boot"] == first["boot"] == last["boot"]
    assert before["sum"] == first["sum"] == last["sum"]


def test_state_of_the_guest_is_without_its_ram(reports):
    assert reports["first"]["guest_state_bytes"] < 16 << 20


def test_outage_is_told(reports):
    print(reports["second"]["outage"])  # -rP shows it
    assert reports["second"]["outage"]["daemon_ms"] > 0


@pytest.mark.parametrize("phase", ["third", "fourth", "fifth"])
def test_contents_are_lost_otherwise(reports, phase):
    """After a kexec without preparation, with another range reserved, and after power was off: zeroes, and why."""
    assert reports[phase]["lost"]
    assert reports[phase]["clean"] == 0


def test_bad_memory_is_known_in_the_next_kernel(reports):
    """With the contents, and without."""
    assert reports["second"]["poisoned"] == reports["third"]["poisoned"] == 4096


def test_clean_memory_is_known_in_the_next_kernel(reports):
    """All of it but what was in use at the last moment; and nothing dirty is taken for clean."""
    assert reports["second"]["clean"] >= reports["first"]["clean"] - SECRET_SIZE > 0
    assert reports["second"]["secrets"] == 0
