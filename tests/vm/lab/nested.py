# SPDX-License-Identifier: GPL-2.0-or-later
"""The initramfs of the guest inside the VM. It is made on the host: compiling there takes a moment, in the VM ages."""

import shutil
import subprocess
from pathlib import Path

from .initramfs import Archive

TESTS = Path(__file__).parents[2]
PROGRAMS = {"token": TESTS / "quickstart" / "token.c", "pattern": TESTS / "vm" / "nested" / "pattern.c"}


def build(directory):
    """The path of the initramfs, made in @directory."""
    directory.mkdir(parents=True, exist_ok=True)
    archive = Archive()
    archive.add_file("bin/busybox", Path(shutil.which("busybox")).read_bytes(), 0o755)
    archive.add_file("init", (TESTS / "vm" / "nested" / "init").read_bytes(), 0o755)
    archive.add_file("bin/counter", (TESTS / "vm" / "nested" / "counter").read_bytes(), 0o755)
    for name, source in PROGRAMS.items():
        subprocess.run(["gcc", "-static", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror",
                        "-o", directory / name, source], check=True)
        archive.add_file(f"bin/{name}", (directory / name).read_bytes(), 0o755)
    path = directory / "initramfs"
    path.write_bytes(archive.close())
    return path
