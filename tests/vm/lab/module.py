# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds modules for the guest's kernel, in a copy, so that nothing appears in the source tree."""

import fcntl
import shutil
import subprocess

from .launch import TOP

SOURCES = (".c", ".h")
MAKEFILES = ("Kbuild", "Makefile")


def build(kernel, directory, name="dmemfs", parts=("kmod", "shared")):
    """
    The path of NAME.ko. @directory: where to build; what is there and up to date is not built again. @parts: of the
    source tree, the first has the Kbuild file.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "w", encoding="utf-8") as lock:  # two make in one place break each other's build
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _build(kernel, directory, name, parts)


def _build(kernel, directory, name, parts):
    for part in parts:
        target = directory / part
        target.mkdir(parents=True, exist_ok=True)
        for source in (TOP / part).iterdir():
            if source.suffix in SOURCES or source.name in MAKEFILES:
                shutil.copy2(source, target)  # with its time, which make goes by
    headers = (kernel.modules / "build").resolve()
    done = subprocess.run(["make", "-C", headers, "-j2", f"M={directory / parts[0]}", "modules"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{name}.ko does not build for {kernel.release}:\n{done.stdout}")
    return directory / parts[0] / f"{name}.ko"
