# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds dmemfs.ko for the guest's kernel, in a copy, so that nothing appears in the source tree."""

import shutil
import subprocess

from .launch import TOP


def build(kernel, directory):
    """The path of dmemfs.ko. @directory: where to build; what is there and up to date is not built again."""
    for part in ("kmod", "shared"):
        target = directory / part
        target.mkdir(parents=True, exist_ok=True)
        for source in (TOP / part).iterdir():
            if source.suffix in (".c", ".h") or source.name in ("Kbuild", "Makefile"):
                shutil.copy2(source, target)  # with its time, which make goes by
    headers = kernel.modules / "build"
    done = subprocess.run(["make", "-C", directory / "kmod", "-j2", f"KERNELDIR={headers.resolve()}"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise ValueError(f"the module does not build for {kernel.release}:\n{done.stdout}")
    return directory / "kmod" / "dmemfs.ko"
