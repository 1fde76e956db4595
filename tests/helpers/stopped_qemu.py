# SPDX-License-Identifier: GPL-2.0-or-later
"""A real QEMU with its memory, but a guest that does not run."""

import json
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

from helpers.backends import MIB
from helpers.control import DONE, FOUND

SIZE = 16 * MIB


@contextmanager
def qemu(arguments, work, complaint="", **options):
    """
    A virtual machine that does not start, and a function that queries its monitor. @complaint: a regular expression for
    what QEMU prints to standard error. @options: of Popen.
    """
    command = ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"]
    with open(work / "qemu.stderr", "wb") as stderr, \
            subprocess.Popen([*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
                             text=True, **options) as process:

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


@contextmanager
def unaligned(arguments, work, prepare=lambda ask: None, **options):
    """QEMU, none of whose mappings on the mount happens to be aligned to 2 MiB: one of 512 would be."""
    for _ in range(5):
        with qemu(arguments, work, **options) as ask:
            prepare(ask)
            lines = Path(f"/proc/{ask.pid}/maps").read_text().splitlines()
            if all(int(line.partition("-")[0], 16) % (2 * MIB) for line in lines if "/mnt" in line):
                yield ask
                return
    raise AssertionError("QEMU maps it at aligned addresses only")


def backend_file(path, size=SIZE, **options):
    keys = {"share": "on", "prealloc": "on", "align": "2M", **options}
    text = ",".join(f"{name}={value}" for name, value in keys.items() if value)
    return ["-object", f"memory-backend-file,id=ram0,size={size},mem-path={path},{text}", "-machine", "memory-backend=ram0",
            "-m", f"{size}B"]


def examine(ctl, fs, pid):
    """The findings about the process, and how ls shows it."""
    done = ctl.run("doctor", "--config", fs.daemon.config)
    assert done.returncode in (DONE, FOUND)
    found = [finding for finding in ctl.json("doctor", "--config", fs.daemon.config, status=done.returncode)["findings"]
             if f"({pid})" in finding["text"]]
    (shown,) = re.findall(rf"\({pid}\)(.*)$", ctl.text("ls", fs.root), re.MULTILINE)
    (user,) = [user for file in ctl.json("ls", fs.root)["files"] for user in file["mapped_by"]]
    return found, shown.strip(), user
