# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiles the C programs that tests run."""

import subprocess


def compile_program(directory, source, *options):
    """Compiles @source, NAME.c. Returns the program, NAME in @directory."""
    program = directory / source.stem
    subprocess.run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", *options, "-o", program, source],
                   check=True)
    return program
