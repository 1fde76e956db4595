# SPDX-License-Identifier: GPL-2.0-or-later
"""Each test that tests/helpers/sizes.py names exists."""

import re
from pathlib import Path

import pytest

from helpers import sizes

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("name", [*sizes.names_of(sizes.ONLY_IN_FULL), *sizes.names_of(sizes.CORE)])
def test_named_test_exists(name):
    path, _, test = name.partition("::")
    function = test.partition("[")[0]
    text = (TESTS / path).read_text()
    assert not function or re.search(rf"^def {function}\(", text, re.MULTILINE), name


@pytest.mark.parametrize("module", sorted(sizes.ONE_PAGE_SIZE))
def test_file_of_one_page_size_exists(module):
    assert (TESTS / "mount" / f"{module}.py").exists()
