# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's kernel: a directory as tests/setup/fetch-kernel prints it."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

FETCH = Path(__file__).parents[2] / "setup" / "fetch-kernel"


@dataclass(frozen=True)
class Kernel:
    """@directory holds vmlinuz, release and lib/modules/RELEASE."""

    directory: Path
    release: str

    @classmethod
    def find(cls, directory=None):
        """The kernel in @directory; by default the one that fetch-kernel fetches."""
        if directory is None:
            directory = subprocess.run([FETCH], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        directory = Path(directory).resolve()
        return cls(directory, (directory / "release").read_text().strip())

    @property
    def version(self):
        """As (6, 12)."""
        return tuple(map(int, re.match(r"(\d+)\.(\d+)", self.release).groups()))

    @property
    def image(self):
        return self.directory / "vmlinuz"

    @property
    def modules(self):
        return self.directory / "lib" / "modules" / self.release
