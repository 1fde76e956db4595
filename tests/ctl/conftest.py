# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixtures of ../conftest.py, and dmemfsctl."""

import pytest

from helpers.control import Control
from helpers.daemon import control_program


@pytest.fixture
def ctl(dmemfsd, work):
    return Control(control_program(dmemfsd), work)
