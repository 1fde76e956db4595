# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of dmemfsctl: help, version, unknown commands, and JSON for every result."""

import json
import re
import subprocess

import pytest

from helpers.control import DONE, FAILED, USAGE
from helpers.machine import two_nodes


def commands_of(ctl):
    return re.findall(r"^  ([a-z][a-z-]+)  +\S", ctl.text("--help").split("Options:")[0], re.MULTILINE)


def test_help_names_every_command_and_each_has_its_own(ctl):
    commands = commands_of(ctl)
    assert "fsck" in commands and len(set(commands)) == len(commands)
    assert ctl.text("-h") == ctl.text("--help")
    for command in commands:
        text = ctl.text(command, "--help")
        assert text.startswith(f"Usage:\n  dmemfsctl {command} ")
        assert "--json" in text and "Exit status: 0 " in text
        assert ctl.text(command, "-h", "--json") == text
        assert max(map(len, text.splitlines())) <= 120


def test_version_is_one_line(ctl):
    assert re.fullmatch(r"dmemfsctl \d+\.\d+\.\d+\n", ctl.text("--version"))


@pytest.mark.parametrize(("arguments", "says"), [
    ([], ["no command is given", "--help"]),
    (["frobnicate"], ['unknown command "frobnicate"', "--help"]),
    ([""], ['unknown command ""']),
    (["--frobnicate"], ['unknown command "--frobnicate"']),
    (["stat"], ['unknown command "stat", did you mean "status"?', "--help"]),
    (["docter"], ['unknown command "docter", did you mean "doctor"?', "--help"]),
    (["plan", "--sise=4G"], ["Unknown option --sise=4G, did you mean --size?", "dmemfsctl plan --help"]),
    (["plan", "--jsn"], ["Unknown option --jsn, did you mean --json?"]),
    (["plan", "-x4G"], ["Unknown option -x", "dmemfsctl plan --help"]),
    (["fsck", "--frobnicate"], ["--frobnicate", "dmemfsctl fsck --help"]),
    (["fsck", "a", "b"], ['surplus argument "b"', "dmemfsctl fsck --help"]),
    (["fsck", "--config"], ["--config", "dmemfsctl fsck --help"]),
    (["fsck", "--config=a", "b"], ["both --config and the directory"]),
    (["fsck", "--force", "b"], ["--force is given without --move-aside"]),
])
def test_wrong_command_line(ctl, arguments, says):
    ctl.fails(*arguments, status=USAGE, says=says)


def test_values_attached_to_short_options(ctl, work):
    machine = two_nodes(work / "root")
    plan = ctl.json("plan", "--root", machine.root, "--size", "4G")
    assert ctl.json("plan", "--root", machine.root, "-s4G") == plan
    assert ctl.json("plan", "-s4G", "--root", machine.root) == plan
    ctl.fails("fsck", "-c/nonexistent/dmemfsd.conf", says=["/nonexistent/dmemfsd.conf: cannot open"])
    ctl.fails("fsck", "--", "-c/nonexistent", says=["/-c/nonexistent: No such file"])
    ctl.fails("fsck", "--config", "-c/nonexistent", says=["-c/nonexistent: cannot open"])


def test_errors_before_the_command_are_json_too(ctl):
    done = ctl.run("--json")
    assert done.returncode == USAGE and json.loads(done.stdout)["exit_status"] == USAGE


def test_operands_that_look_like_options(ctl):
    """All arguments after "--" are operands, --json included."""
    done = ctl.run("fsck", "--", "--json")
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert "/--json: No such file" in done.stderr


@pytest.mark.parametrize("argument", [b"\xff", b"--\xff"])
def test_arguments_that_are_no_text(ctl, argument):
    for arguments in ([argument], ["fsck", argument], ["fsck", argument, "--json"]):
        done = subprocess.run([ctl.program, *arguments], capture_output=True, timeout=20, check=False, cwd=ctl.work)
        assert done.returncode in (FAILED, USAGE)
        if "--json" in arguments:
            json.loads(done.stdout)
        else:
            assert re.fullmatch(rb"dmemfsctl: error: [^\n]+\n", done.stderr)


def test_full_disk_is_noticed(ctl):
    with open("/dev/full", "wb") as full:
        done = ctl.run("--help", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == FAILED
    assert done.stderr.startswith("dmemfsctl: error: stdout: ")
    assert ctl.run("--help").returncode == DONE
