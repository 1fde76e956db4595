# SPDX-License-Identifier: GPL-2.0-or-later
"""A real QEMU with its memory, but a guest that does not run."""

import json
import re
import subprocess
from contextlib import contextmanager


@contextmanager
def qemu(arguments, work, complaint="", pass_fds=()):
    """
    A virtual machine that does not start, and a function that queries its monitor. @complaint: a regular expression for
    what QEMU prints to standard error.
    """
    command = ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"]
    with open(work / "qemu.stderr", "wb") as stderr, \
            subprocess.Popen([*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
                             text=True, pass_fds=pass_fds) as process:

        def ask(execute, **arguments):
            process.stdin.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
            process.stdin.flush()
            while True:
                line = process.stdout.readline()
                assert line, (work / "qemu.stderr").read_text()
                answer = json.loads(line)
                assert "error" not in answer, answer
                if "return" in answer:
                    return answer["return"]

        try:
            ask("qmp_capabilities")
            ask.pid = process.pid
            yield ask
            ask("quit")
        except BaseException:
            process.kill()  # leaving the block waits for it
            raise
    assert process.returncode == 0
    assert re.fullmatch(complaint, (work / "qemu.stderr").read_text())
