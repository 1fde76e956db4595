# SPDX-License-Identifier: GPL-2.0-or-later
"""--help, the man page and the completion agree."""

import re
import subprocess
from pathlib import Path

TOP = Path(__file__).parents[2]
PAGE = TOP / "fuse-daemon" / "man" / "dmemfsctl.8.scd"
COMPLETION = TOP / "fuse-daemon" / "dmemfsctl" / "completion.bash"
COMMON = {"--json", "--help"}


def commands_of(ctl):
    return re.findall(r"^  ([a-z][a-z-]+)  +\S", ctl.text("--help").split("Options:")[0], re.MULTILINE)


def help_of(ctl, command):
    """{option: short form or ""}, and the operands."""
    text = ctl.text(command, "--help")
    options = {name: short for short, name in re.findall(r"^  (?:-(\w), )?(--[a-z-]+)", text, re.MULTILINE)}
    operands = re.match(rf"Usage:\n  dmemfsctl {command} \[OPTION\S*\] ?(.*)\n", text).group(1)
    return options, operands


def sections():
    """{command: (operands, text)} of the man page, in its order."""
    body = PAGE.read_text().split("# COMMANDS\n")[1].split("\n# EXIT STATUS")[0]
    parts = re.split(r"^## ([a-z-]+)(?: (.*))?$", body, flags=re.MULTILINE)[1:]
    return {name: ((operands or "").replace("\\", ""), text)
            for name, operands, text in zip(parts[::3], parts[1::3], parts[2::3])}


def completions(*words, directory=None):
    """What bash offers for the last word."""
    script = f"""
. {COMPLETION}
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_dmemfsctl
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-euc", script, "bash", *words], capture_output=True, text=True, check=True,
                          cwd=directory)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_commands(ctl):
    commands = commands_of(ctl)
    assert list(sections()) == commands
    assert completions("dmemfsctl", "") == {*commands, "--help", "--version"}
    assert completions("dmemfsctl", "st") == {"status"}


def test_options_and_operands(ctl):
    for command, (operands, text) in sections().items():
        options, usage = help_of(ctl, command)
        assert COMMON <= options.keys()
        assert operands == usage, command
        documented = {name: short for short, name in
                      re.findall(r"^(?:\*-(\w)\*, )?\*(--[a-z-]+)\*", text, re.MULTILINE)}
        assert documented == {name: short for name, short in options.items() if name not in COMMON}, command
        assert completions("dmemfsctl", command, "-") == options.keys(), command


def test_completion_of_values(work):
    (work / "file one").write_text("")
    assert completions("dmemfsctl", "guest-args", "--vmm", "") == {"qemu", "cloud-hypervisor", "libvirt"}
    assert completions("dmemfsctl", "guest-args", "--vmm", "=", "l") == {"libvirt"}
    assert completions("dmemfsctl", "map", "--color", "=") == {"auto", "always", "never"}
    assert completions("dmemfsctl", "plan", "--size", "") == set()
    assert completions("dmemfsctl", "extents", "file", directory=work) == {"file", "one"}


def test_exit_statuses(ctl):
    page = PAGE.read_text().split("# EXIT STATUS")[1].split("# FILES")[0]
    assert re.findall(r"^\*(\d)\*$", page, re.MULTILINE) == re.findall(
        r"\b(\d) (?=[a-z])", ctl.text("--help").split("Exit status:")[1].replace("\n", " "))
