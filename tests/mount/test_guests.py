# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to guests: reboots, a QEMU that is killed and started again, two on one file, a mount namespace. dmemfs-guests(7)."""

import json
import os

import pytest

from helpers.control import Control
from helpers.counting import SIZE, TIMEOUT, CountingGuest, make_disk, word_in
from helpers.effort import rounds
from helpers.mount import wait_until
from helpers.syscalls import Mapping, opened

MARK = 12 << 20  # where the guest has nothing
LONG = 300

pytestmark = pytest.mark.page_sizes("2M")


@pytest.fixture
def disk(work):
    """Arguments that give a guest its disk."""
    return "-drive", f"file={make_disk(work / 'disk')},format=raw,if=ide,snapshot=on"


@pytest.fixture
def control(dmemfsd, work):
    return Control(dmemfsd.parent / "dmemfsctl" / "dmemfsctl", work)


def shared(control):
    """What doctor says about files of two guests. It may have other findings on this machine."""
    done = control.run("doctor", "--json")
    return [finding for finding in json.loads(done.stdout)["findings"] if "at once" in finding["text"]]


@pytest.mark.timeout(LONG)
def test_a_guest_that_reboots_many_times(fs, work, disk):
    """Each time it starts to count anew, in the same memory, and none is lost."""
    with CountingGuest(work, fs / "vm1", *disk) as guest:
        guest.wait_for(1)
        with opened(fs / "vm1") as fd, Mapping(fd, SIZE) as mapping:
            mapping.write(MARK, b"kept")
            runs, free = fs.extents(fd), fs.free()
            for reboot in range(rounds(50)):
                said = len(guest.said)
                guest.qmp.execute("system_reset")
                wait_until(lambda said=said: f"{1:08x}\n" in guest.said[said:], f"reboot {reboot}", TIMEOUT)
            assert mapping.read(MARK, 4) == b"kept"
            assert (fs.extents(fd), fs.free()) == (runs, free)
        before = word_in(fs / "vm1")
        wait_until(lambda: word_in(fs / "vm1") > before, "it counts on", TIMEOUT)
    (fs / "vm1").unlink()
    assert fs.wait_free(fs.capacity) == fs.capacity


def test_qemu_is_killed_and_started_again(fs, work, disk):
    """The file and what is in it stay for the next QEMU, which takes no other memory."""
    for turn in range(5):
        with CountingGuest(work, fs / "vm1", *disk) as guest:
            assert guest.wait_for(2)[:2] == [1, 2]
            with opened(fs / "vm1") as fd:
                assert os.pread(fd, 6, MARK) == (b"turn %d" % (turn - 1) if turn else bytes(6))
                os.pwrite(fd, b"turn %d" % turn, MARK)
                assert fs.free() == fs.capacity - SIZE
    (fs / "vm1").unlink()
    assert fs.wait_free(fs.capacity) == fs.capacity


@pytest.mark.parametrize(("name", "process"), [((), "qemu-system-x86"), (("-name", "a,process=qemu:a"), "qemu:a")],
                         ids=["own", "libvirt"])
def test_two_qemus_on_one_file(fs, work, disk, control, name, process):
    """Nothing keeps a second QEMU from a guest's memory: ls and doctor name both. libvirt can choose the name of the process."""
    with CountingGuest(work, fs / "vm1", *disk, *name) as first:
        first.wait_for(1)
        assert not shared(control)
        with CountingGuest(work, fs / "vm1", *disk, *name) as second:
            pids = sorted((first.process.pid, second.process.pid))
            (file,) = control.json("ls", fs.root)["files"]
            assert [user["pid"] for user in file["mapped_by"]] == pids
            (finding,) = shared(control)
            assert finding["level"] == "problem" and "vm1 is the RAM of 2 guests" in finding["text"]
            assert all(f"{process}({pid})" in finding["text"] for pid in pids)
    assert not shared(control)


def test_a_guest_in_a_mount_namespace(fs, work, disk):
    """As in a container that has the mount bound into it: the file is the same inside and outside."""
    inside = work / "inside"
    inside.mkdir()
    with CountingGuest(work, inside / "vm1", *disk, before=(
            "unshare", "--mount", "--propagation", "private", "sh", "-ec", 'mount --bind "$0" "$1"; shift; exec "$@"', fs.root, inside)
            ) as guest:
        guest.wait_for(2)
        assert word_in(fs / "vm1") >= 2
        assert not list(inside.iterdir())
