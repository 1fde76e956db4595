# SPDX-License-Identifier: GPL-2.0-or-later
"""The guard around each test reads the kernel log and recognises warnings."""

from pathlib import Path

import pytest

from plugins.kernel_log import KernelLog, is_complaint, parse

KMSG = Path("/dev/kmsg")


@pytest.mark.kernel_log("something is wrong, as expected")
def test_warning_is_seen_by_the_guard():
    """The test fails if the guard misses the line, and if the guard does not know that it is expected."""
    KMSG.write_text("<4>something is wrong, as expected\n")


def test_records_come_once_and_with_their_level():
    log = KernelLog()
    KMSG.write_text("<6>one\n")
    KMSG.write_text("<7>two\n")
    assert [record for record in log.read() if record[1] in ("one", "two")] == [(6, "one"), (7, "two")]
    assert not [record for record in log.read() if record[1] in ("one", "two")]


@pytest.mark.parametrize("level, text, expected", [
    (4, "dmemfs: a region is lost", True),
    (0, "any emergency", True),
    (6, "dmemfs: loaded", False),
    (6, "BUG: Bad page map in process sh", True),
    (6, "WARNING: possible circular locking dependency detected", True),
    (4, "hrtimer: interrupt took 439779834 ns", False),
    (4, "kvm [166]: vcpu0, guest rIP: 0xffffffff8b537cdf Unhandled WRMSR(0xc0010007) = 0xffff", False),
    (4, "kvm: user requested TSC rate below hardware speed", False),
    (4, "vfio-pci 0000:00:04.0: MSI interrupts are not secure, they cannot be isolated by the platform. Check", False),
    (4, "vfio-pci 0000:00:04.0: timed out waiting for pending transaction", True),
])
def test_complaints_are_told_from_noise(level, text, expected):
    assert is_complaint(level, text) == expected


@pytest.mark.parametrize("record, expected", [
    ("4,1171,8412370,-;mce: [Hardware Error]: TSC 771abf8f70 \n", True),
    ("4,1172,8412371,c;ADDR 100503040 \n", False),
    ("4,1173,8412372,c;\n", False),
    ("4,1174,8412373,-;\n", True),
    ("4,1175,8412374,c;BUG: Bad page map in process sh\n", True),
    ("6,1176,8412375,-,caller=T1;dmemfs: loaded\n SUBSYSTEM=misc\n", False),
    ("12,1177,8412376,-;said by a program\n", True),
])
def test_a_piece_that_continues_a_line_has_no_level_of_its_own(record, expected):
    assert is_complaint(*parse(record)) == expected
