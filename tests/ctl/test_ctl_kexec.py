# SPDX-License-Identifier: GPL-2.0-or-later
"""
dmemfsctl prepare-kexec, and the start after it. These tests do not really kexec (tests/vm does): the memory backend
keeps the bytes, and DMEMFS_PROC shows the daemon another boot. Their record is as one of an earlier version, which does not say that it
is of the memory backend.
"""

import os
import sqlite3
from contextlib import closing

import pytest

from helpers.control import DAEMON

pytestmark = [pytest.mark.page_sizes("4K"), pytest.mark.memory_only("pretends to be another boot")]

CONTENTS = b"of the guest" * 1000


class Boot:
    """The contents of /proc of one boot."""

    def __init__(self, root, boot_id="next-boot", loader="208", cmdline=""):
        self.root = root
        for name, text in {"sys/kernel/random/boot_id": boot_id, "sys/kernel/bootloader_type": loader,
                           "cmdline": f"root=/dev/vda {cmdline} quiet"}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text + "\n")

    @property
    def environment(self):
        return {"DMEMFS_PROC": str(self.root)}


def prepare(fs, ctl):
    """Stops the daemon; the kernel argument for the next boot."""
    fs.daemon.stop()
    with closing(sqlite3.connect(fs.daemon.state_dir / "metadata.db")) as connection:
        assert connection.execute("DELETE FROM value WHERE name = 'backend'").rowcount == 1
        connection.commit()
    return ctl.text("prepare-kexec", fs.daemon.state_dir).strip()


@pytest.fixture
def prepared(fs, ctl, backend):
    """A file system after a kexec, which has ended the module, and the kernel argument for the next boot."""
    (fs / "directory").mkdir()
    fs.make_file("directory/guest", CONTENTS)
    fs.make_file("empty")
    argument = prepare(fs, ctl)
    assert argument.startswith("dmemfs_kexec=")
    (backend.object_path(0).parent / "mark").unlink()
    return fs, argument


def start(fs, boot):
    fs.daemon.start(**boot.environment)


def test_contents_are_kept_through_the_boot_that_was_prepared(prepared, work):
    fs, argument = prepared
    start(fs, Boot(work / "proc", cmdline=argument))
    assert "the contents were kept through a kexec" in fs.daemon.log
    assert (fs / "directory/guest").read_bytes() == CONTENTS


@pytest.mark.parametrize(("boot", "reason"), [
    ({"loader": "114"}, "this kernel was started by the firmware"),
    ({"cmdline": ""}, "command line lacks the argument"),
    ({"cmdline": "dmemfs_kexec=0123456789abcdef0123456789abcdef"}, "command line lacks the argument"),
    ({"boot_id": None}, "this is still the same kernel"),
], ids=["firmware", "no argument", "argument of another preparation", "no boot"])
def test_contents_are_lost_in_any_other_boot(prepared, work, boot, reason):
    fs, argument = prepared
    if boot.get("boot_id", "") is None:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = {"boot_id": file.read().strip()}
    fs.daemon.expected.append(f"the contents are lost: .*{reason}.*: 1 files keep their names and sizes, and read zero")
    start(fs, Boot(work / "proc", **{"cmdline": argument, **boot}))
    assert (fs / "directory/guest").read_bytes() == bytes(len(CONTENTS))
    assert (fs / "empty").read_bytes() == b""


def test_contents_are_lost_without_a_preparation(fs, backend, work):
    fs.make_file("guest", CONTENTS)
    fs.daemon.stop()
    (backend.object_path(0).parent / "mark").unlink()
    fs.daemon.expected.append("the contents are lost: no dmemfsctl prepare-kexec")
    start(fs, Boot(work / "proc"))
    assert (fs / "guest").read_bytes() == bytes(len(CONTENTS))


def test_preparation_is_good_for_one_boot(prepared, backend, work):
    fs, argument = prepared
    start(fs, Boot(work / "proc", cmdline=argument))
    fs.daemon.stop()
    (backend.object_path(0).parent / "mark").unlink()
    fs.daemon.expected.append("the contents are lost: no dmemfsctl prepare-kexec")
    start(fs, Boot(work / "proc", boot_id="third-boot", cmdline=argument))
    assert (fs / "directory/guest").read_bytes() == bytes(len(CONTENTS))


def test_preparation_is_void_once_the_daemon_has_run_again(fs, ctl, backend, work):
    fs.make_file("guest", CONTENTS)
    argument = prepare(fs, ctl)
    fs.daemon.start()
    fs.make_file("guest", b"changed")
    fs.daemon.stop()
    (backend.object_path(0).parent / "mark").unlink()
    fs.daemon.expected.append("the contents are lost: no dmemfsctl prepare-kexec")
    start(fs, Boot(work / "proc", cmdline=argument))
    assert not (fs / "guest").read_bytes().strip(b"\0")


def boot_with_another_region(fs, ctl, backend, work, region, *log):
    """The guest has memory in a region of 64 MiB. After a kexec the region is region(address of that memory)."""
    keys = "".join(line + "\n" for line in fs.daemon.config.read_text().splitlines() if not line.startswith("size="))
    fs.daemon.stop()
    fs.daemon.config.write_text(keys + "\n[region a]\nstart=4G\nsize=64M\n")
    fs.daemon.start()
    place = fs.extents(fs.make_file("guest", CONTENTS))[0].start
    argument = prepare(fs, ctl)
    (backend.object_path(0).parent / "mark").unlink()
    start_of, fs.capacity = region(place)
    fs.daemon.expected += log
    fs.daemon.config.write_text(keys + f"\n[region a]\nstart={start_of}\nsize={fs.capacity}\n")
    start(fs, Boot(work / "proc", cmdline=argument))


def test_contents_are_lost_when_a_region_has_moved(fs, ctl, backend, work):
    boot_with_another_region(fs, ctl, backend, work, lambda _: (6 << 30, 64 << 20),
                             "the contents are lost: prepared for a kexec, but a region has changed")
    assert (fs / "guest").read_bytes() == bytes(len(CONTENTS))


def test_contents_are_kept_when_a_region_has_lost_what_no_file_had(fs, ctl, backend, work):
    """Other compound pages may need other ends of the region, and the next version may have other defaults."""
    boot_with_another_region(fs, ctl, backend, work, lambda place: (place // (1 << 20) << 20, 2 << 20))
    assert "the contents were kept through a kexec" in fs.daemon.log
    assert (fs / "guest").read_bytes() == CONTENTS


@pytest.mark.dmemfs(lost_contents="remove")
def test_lost_files_can_be_removed(prepared, work):
    fs, argument = prepared
    os.symlink("directory/guest", fs.daemon.work / "unrelated")
    fs.daemon.expected.append("the contents are lost: .*: 1 files are removed")
    start(fs, Boot(work / "proc", loader="0", cmdline=argument))
    assert sorted(os.listdir(fs.root)) == ["directory", "empty"]
    assert os.listdir(fs / "directory") == []
    fs.make_file("directory/guest", CONTENTS)


@pytest.mark.dmemfs(lost_contents="remove")
def test_kept_files_are_not_removed(prepared, work):
    fs, argument = prepared
    start(fs, Boot(work / "proc", cmdline=argument))
    assert (fs / "directory/guest").read_bytes() == CONTENTS


def test_memory_backend_is_refused(fs, ctl):
    """The next kernel would use its memory, and the daemon would take the contents for kept."""
    fs.make_file("guest", CONTENTS)
    fs.daemon.stop()
    for named in ([fs.daemon.state_dir], ["--config", fs.daemon.config]):
        ctl.fails("prepare-kexec", *named, says=[f"{fs.daemon.state_dir}: ", "(backend=memory)", "no kexec keeps"])


def test_running_daemon_is_not_prepared(fs, ctl):
    ctl.fails("prepare-kexec", fs.daemon.state_dir, status=DAEMON, says=[f"pid {fs.daemon.pid}", "unmount it first"])


def test_json(prepared, ctl):
    fs, argument = prepared
    again = ctl.json("prepare-kexec", "--config", fs.daemon.config)["kernel_argument"]
    assert again.startswith("dmemfs_kexec=") and again != argument
