# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixtures of ../conftest.py, and dmemfsctl."""

import pytest

from helpers.backends import GIB
from helpers.control import Control
from helpers.daemon import control_program


@pytest.fixture
def ctl(dmemfsd, work):
    return Control(control_program(dmemfsd), work)


@pytest.fixture
def far(fs):
    """The mount, whose memory is on a node that the machine does not have, so that policies are read."""
    fs.daemon.restart_with(f"[region far]\nstart={4 * GIB}\nsize={fs.capacity}\nnode=9\n")
    return fs
