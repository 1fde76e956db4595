# SPDX-License-Identifier: GPL-2.0-or-later
"""What several tests on the host's side need."""

import os
import subprocess
from pathlib import Path

import pytest

BUILD = Path(__file__).parents[2] / "setup" / "build-packages"


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """
    A directory with our Debian packages. DMEMFS_PACKAGES in the environment names one with packages that were built before; else
    they are built, in a minute.
    """
    if "DMEMFS_PACKAGES" in os.environ:
        return Path(os.environ["DMEMFS_PACKAGES"]).resolve()
    directory = tmp_path_factory.mktemp("deb")
    subprocess.run([BUILD, directory], check=True)
    return directory
