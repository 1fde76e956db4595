# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures that several files of this directory use."""

import pytest

from helpers.quota import check_usage, make_tenants


@pytest.fixture
def pair(fs):
    """Two directories, with limits of 8 and of 4 units."""
    yield make_tenants(fs)
    check_usage(fs.root)


@pytest.fixture
def tenant(pair):
    return pair[0]
