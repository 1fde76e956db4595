# SPDX-License-Identifier: GPL-2.0-or-later
"""The calls of POSIX, in all variants that cases.py lists."""

import pytest

from arena import Arena
from cases import CASES


def rows(call):
    """(the call, its result)"""
    for line in CASES[call].strip().splitlines():
        row, _, expected = line.partition("->")
        yield " ".join(row.split()), expected.strip()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("call", CASES)
def test_call_does_what_it_must(place, call):
    """dmemfs and tmpfs give the same result in each row."""
    arena = Arena(place)
    outcomes = ((row, expected, arena.run(row)) for row, expected in rows(call))
    wrong = [f"{row} -> {found}, wanted {expected}" for row, expected, found in outcomes if found != expected]
    assert not wrong, "\n".join(wrong)
