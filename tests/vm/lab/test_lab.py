# SPDX-License-Identifier: GPL-2.0-or-later
"""The laboratory itself, on the host: whatever goes wrong in a VM is told for what it is, and never as a success."""

import subprocess
from pathlib import Path

import pytest

from lab import module
from lab.kernel import Kernel
from lab.progress import Progress

BOOT = Path(__file__).parents[1] / "boot"
SMALL = ("--node", "2G", "--cpus", "1", "--timeout", "300")


@pytest.fixture
def boot(tmp_path):
    """boot(COMMAND, OPTION...): exit status, output, errors. The logs are in tmp_path / "logs"."""

    def run(command, *options):
        done = subprocess.run([BOOT, *SMALL, *options, "--logs", tmp_path / "logs", "--", "sh", "-c", command],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture(scope="session")
def faults(tmp_path_factory):
    """The module that makes the kernel fail."""
    directory = tmp_path_factory.mktemp("faults")
    return module.build(Kernel.find(), directory, "faults", ("tests/vm/faults",))


def test_command_runs_and_its_output_comes_back(boot):
    status, output, errors = boot("pwd; cat /proc/cmdline; echo to stderr >&2; test ! -e /dev/dmemfs")
    assert status == 0, errors
    lines = output.splitlines()
    assert lines[0] == str(Path.cwd())
    assert "panic_on_warn=1" in lines[1]
    assert lines[2] == "to stderr"


def test_kernel_has_no_instruction_that_the_emulator_breaks(boot):
    """CMPXCHG16B: see machine.py. By chance and seldom, a VM's kernel panicked."""
    status, output, errors = boot("grep -cw cx8 /proc/cpuinfo; grep -cw cx16 /proc/cpuinfo")
    assert status == 1 and output.split() == ["1", "0"], errors


def test_status_of_the_command_comes_back(boot):
    assert boot("exit 3")[0] == 3


def test_root_is_writable_and_the_host_is_not(boot, tmp_path):
    """What the VM writes next to this file is gone with it."""
    stray = Path(__file__).with_name("written-by-the-vm")
    status, _, errors = boot(f"touch {stray} && test -e {stray} && test -d {tmp_path}", "--visible", str(tmp_path))
    assert status == 0, errors
    assert not stray.exists()


def test_nodes_and_reserved_ranges(boot):
    status, output, errors = boot("ls -d /sys/devices/system/node/node[0-9]; grep -i 'reserved' /proc/iomem; nproc",
                                  "--node", "3G:1G", "--node", "2G:1G", "--cpus", "2")
    assert status == 0, errors
    assert "node0" in output and "node1" in output
    assert "180000000-1bfffffff : Reserved" in output  # the last gigabyte of node 1, which ends at 4 + 1 + 2 GiB
    assert output.splitlines()[-1] == "2"


@pytest.mark.parametrize("command, said", [
    ("echo c >/proc/sysrq-trigger; sleep 600", "sysrq triggered crash"),
    ("insmod {faults} kind=warn; exit 0", "WARNING: "),
    ("insmod {faults} kind=oops; exit 0", "NULL pointer"),
], ids=["panic", "warning", "oops"])
def test_crash_is_no_success(boot, faults, command, said):
    status, _, errors = boot(command.format(faults=faults), "--visible", str(faults.parent))
    assert status == 120
    assert "the VM's kernel crashed: " in errors and said in errors


def test_machine_that_switches_itself_off_is_no_success(boot):
    status, _, errors = boot("echo o >/proc/sysrq-trigger; sleep 600")
    assert status == 125 and "without a result" in errors


def test_hang_names_the_test_and_what_is_blocked(boot, tmp_path):
    command = """echo '{"begin": "test_of_patience"}' >$DMEMFS_LAB_RESULT; sleep 600"""
    status, _, errors = boot(command, "--silence", "3")
    assert status == 124
    assert "no progress for 3 s, in test_of_patience" in errors
    console = (tmp_path / "logs" / "console.log").read_text(errors="replace")
    assert "sysrq: Show Blocked State" in console


def test_hang_of_the_kernel_is_found(boot, faults, tmp_path):
    """The only CPU spins with interrupts off: an NMI gets through."""
    status, _, _ = boot(f"insmod {faults} kind=lockup", "--silence", "5", "--visible", str(faults.parent))
    assert status == 124
    console = (tmp_path / "logs" / "console.log").read_text(errors="replace")
    assert "faults_init" in console


def test_wrong_layout_is_refused(boot):
    status, _, errors = boot("true", "--node", "2G:3G")
    assert status == 2 and "cannot reserve all its memory" in errors


def test_qemu_that_does_not_start_is_named(boot, monkeypatch):
    monkeypatch.setenv("DMEMFS_QEMU_ACCEL", "no-such-accelerator")
    status, _, errors = boot("true")
    assert status == 125 and "no-such-accelerator" in errors


def test_progress_is_counted():
    progress = Progress()
    for outcome in ("passed", "failed", "passed", "skipped"):
        progress.message({"end": "a", "outcome": outcome, "seconds": 1})
    assert progress.summary() == "2 passed, 1 failed, 1 skipped"


def test_tests_that_a_crash_interrupts_have_failed(capsys):
    progress = Progress()
    progress.message({"collected": 4})
    progress.message({"begin": "a"})
    progress.message({"end": "a", "outcome": "failed", "seconds": 1, "reason": "assert 1 == 2"})
    progress.message({"begin": "b"})
    progress.finish()
    assert progress.summary() == "0 passed, 2 failed, 2 not run"
    said = capsys.readouterr().out
    assert "FAILED a (1.0 s) assert 1 == 2\n" in said and "FAILED b: its VM ended\n" in said
