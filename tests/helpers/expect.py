# SPDX-License-Identifier: GPL-2.0-or-later
"""Assertions about errors and contents."""

import errno
from contextlib import contextmanager


def _names(numbers):
    return " or ".join(errno.errorcode.get(number, str(number)) for number in numbers)


@contextmanager
def fails_with(*errors):
    """The block must raise OSError with one of @errors."""
    try:
        yield
    except OSError as error:
        assert error.errno in errors, f"{error}: wanted {_names(errors)}"
    else:
        raise AssertionError(f"no error: wanted {_names(errors)}")


def refused(error, function, *arguments, **options):
    """function(*arguments) must fail with @error."""
    with fails_with(error):
        function(*arguments, **options)


def first_difference(found, expected):
    """Offset of the first byte that differs, or of the end of the shorter one; None when they are the same."""
    if found == expected:
        return None
    low, high = 0, min(len(found), len(expected))
    while low < high:  # the longest common start ends in [low, high]
        middle = (low + high + 1) // 2
        if found[low:middle] == expected[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def same_bytes(found, expected):
    """The same as `assert found == expected`, but fast for megabytes, and with a message of one line."""
    at = first_difference(found, expected)
    if at is not None:
        raise AssertionError(
            f"{len(found)} bytes instead of {len(expected)}; from offset {at:#x} on "
            f"{found[at : at + 16].hex(' ')} instead of {expected[at : at + 16].hex(' ')}")
