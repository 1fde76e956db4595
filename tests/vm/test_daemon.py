# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfsd with the module: a start that cannot succeed says why in one line, with the remedy."""

import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from device import PATH
from helpers.daemon import START_TIMEOUT
from helpers.syscalls import Mapping, opened
from test_module import MIB, load, system_ram, unloaded

pytestmark = pytest.mark.page_sizes("4K")


def refusal(daemon):
    """The only line that a failed start logs."""
    done = subprocess.run(daemon.command("--foreground"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=START_TIMEOUT * 6, check=False)
    assert done.returncode == 1
    errors = [line for line in done.stdout.splitlines() if line.startswith("dmemfsd: error: ")]
    assert len(errors) == 1, done.stdout
    return errors[0]


@contextmanager
def region_of(daemon, start, size):
    """Within the block, the configuration of the daemon has another region."""
    before = daemon.config.read_text()
    daemon.config.write_text(re.sub(r"\[region test\]\n.*", f"[region test]\nstart={start}\nsize={size}\n", before,
                                    flags=re.DOTALL))
    try:
        yield
    finally:
        daemon.config.write_text(before)


def test_memory_that_was_not_reserved(daemon):
    start, size = system_ram()
    with region_of(daemon, start, size):
        said = refusal(daemon)
    assert "the kernel uses it as System RAM: reserve it with memmap=16M$" in said and "reboot" in said


def test_no_module(daemon):
    with unloaded():
        assert f"{PATH}: the module is not loaded: run modprobe dmemfs" in refusal(daemon)


def test_device_of_another_daemon(daemon, device):
    assert f"{PATH}: another daemon controls the module: stop it first" in refusal(daemon)


def test_memory_of_files_that_are_still_there(fs, daemon, reserved):
    """Files keep the region that they lie in, from one daemon to the next."""
    fs.make_file("vm1", b"bytes")
    assert daemon.unmount() is None
    daemon.wait()
    with region_of(daemon, reserved[0][0], 128 * MIB):
        assert "keep start, size and pages= as they were" in refusal(daemon)
    daemon.next()
    assert (fs / "vm1").read_bytes() == b"bytes"


def test_module_is_not_unloaded_under_a_mapping_without_a_daemon(fs, daemon):
    """
    After kill -9 of the daemon, processes go on with what they map. The module stays loaded until the last of them
    has ended.
    """
    path = fs.make_file("vm1", size=2 * MIB)
    with opened(path) as fd:
        mapping = Mapping(fd, 2 * MIB)
    mapping.write(0, b"before")
    daemon.kill()
    subprocess.run(["umount", "--lazy", fs.root], check=True)
    mapping.write(MIB, b"after")
    done = subprocess.run(["rmmod", "dmemfs"], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode and "in use" in done.stderr
    assert (mapping.read(0, 6), mapping.read(MIB, 5)) == (b"before", b"after")
    mapping.unmap()
    subprocess.run(["rmmod", "dmemfs"], check=True)
    assert not Path(PATH).exists()
    load()
