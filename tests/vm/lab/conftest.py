# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures that several tests on the host share."""

import os
import subprocess
from pathlib import Path

import pytest

BUILD = Path(__file__).parents[2] / "setup" / "build-packages"


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """
    A directory with the Debian packages. DMEMFS_PACKAGES names one with packages that were built before; else they
    are built, which takes a minute.
    """
    if "DMEMFS_PACKAGES" in os.environ:
        return Path(os.environ["DMEMFS_PACKAGES"]).resolve()
    directory = tmp_path_factory.mktemp("deb")
    subprocess.run([BUILD, directory], check=True)
    return directory
