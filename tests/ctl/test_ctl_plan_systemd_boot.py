# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfsctl plan --write on a machine with systemd-boot: /etc/kernel/cmdline, as kernel-install(8) reads it."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from helpers.control import USAGE
from helpers.machine import two_nodes

CMDLINE = "etc/kernel/cmdline"
HOOK = "etc/kernel/postinst.d/zz-systemd-boot"
LOADER_ENTRY = Path("/usr/lib/kernel/install.d/90-loaderentry.install")
PLANNED = "memmap=1G$0x800000000 memmap=1G$0x1000000000"


@pytest.fixture
def machine(work):
    found = two_nodes(work / "root")
    found.write(HOOK, "#!/bin/sh\n")
    return found


def write(ctl, machine, *arguments):
    """The contents of the file afterwards."""
    result = ctl.json("plan", "--root", machine.root, "--size=2G", "--write", *arguments)
    assert result["written"] == str(machine.root / CMDLINE)
    assert result["next"].startswith("kernel-install add ")
    return (machine.root / CMDLINE).read_text()


def test_what_the_kernel_was_started_with_goes_on(ctl, machine):
    machine.write("proc/cmdline", "BOOT_IMAGE=/vmlinuz initrd=\\6.12\\initrd root=UUID=1-2 ro quiet\n")
    assert write(ctl, machine) == f"root=UUID=1-2 ro quiet {PLANNED}\n"


def test_vendor_file_is_the_base(ctl, machine):
    machine.write("usr/lib/kernel/cmdline", "root=LABEL=vendor\n")
    assert write(ctl, machine) == f"root=LABEL=vendor {PLANNED}\n"


def test_former_plan_is_replaced(ctl, machine):
    """Other memory that the command line keeps from the kernel stays reserved."""
    machine.write(CMDLINE, "root=/dev/sda2  memmap=64K$0x18690000 memmap=16G$0x440000000 quiet memmap=4G@0x0\n")
    expected = f"root=/dev/sda2 memmap=64K$0x18690000 quiet memmap=4G@0x0 {PLANNED}\n"
    assert write(ctl, machine) == expected
    assert write(ctl, machine) == expected


@pytest.mark.parametrize(("before", "after"), [
    ("# mine\nroot=/dev/sda2\nquiet\n# end\n", f"# mine\nroot=/dev/sda2\nquiet {PLANNED}\n# end\n"),
    ("# only this\n", f"# only this\n{PLANNED}\n"),
    ("memmap=16G$0x440000000", f"{PLANNED}\n"),
    ("", f"{PLANNED}\n"),
])
def test_lines_and_comments(ctl, machine, before, after):
    machine.write(CMDLINE, before)
    assert write(ctl, machine) == after


def test_text_says_what_to_run(ctl, machine):
    text = ctl.text("plan", "--root", machine.root, "--size=2G", "--write")
    assert f"Written: {machine.root / CMDLINE}\n" in text
    assert 'Next: kernel-install add "$(uname -r)" "/boot/vmlinuz-$(uname -r)", then reboot.' in text


@pytest.mark.skipif(not LOADER_ENTRY.exists(), reason="needs systemd's kernel-install")
def test_loader_entry_has_the_arguments(ctl, machine, work):
    """Runs the script that kernel-install runs. systemd-boot passes the line of the entry on unchanged."""
    write(ctl, machine)
    entry, kernel = work / "boot" / "token" / "6.12", work / "vmlinuz"
    entry.mkdir(parents=True)
    kernel.write_text("kernel")
    settings = {"LAYOUT": "bls", "MACHINE_ID": "machine", "ENTRY_TOKEN": "token", "BOOT_ROOT": work / "boot", "VERBOSE": "0",
                "STAGING_AREA": work, "CONF_ROOT": machine.root / "etc/kernel"}
    environment = {**os.environ, **{f"KERNEL_INSTALL_{name}": str(value) for name, value in settings.items()}}
    subprocess.run([LOADER_ENTRY, "add", "6.12", entry, kernel], env=environment, check=True)
    (written,) = (work / "boot" / "loader" / "entries").iterdir()
    assert re.search(r"^options +(.*\S)", written.read_text(), re.MULTILINE)[1].endswith(" " + PLANNED)


def test_both_boot_loaders(ctl, machine):
    machine.write("etc/default/grub", "GRUB_DEFAULT=0\n")
    ctl.fails("plan", "--root", machine.root, "--size=2G", "--write", says=["both GRUB and systemd-boot", "--boot-loader"])
    assert PLANNED in write(ctl, machine, "--boot-loader=systemd-boot")
    result = ctl.json("plan", "--root", machine.root, "--size=2G", "--write", "--boot-loader", "grub")
    assert (result["written"], result["next"]) == (str(machine.root / "etc/default/grub.d/dmemfs.cfg"), "update-grub")
    ctl.fails("plan", "--root", machine.root, "--size=2G", "--write", "--boot-loader=lilo", status=USAGE,
              says=["--boot-loader lilo", "use grub or systemd-boot"])


def remove(ctl, machine, *arguments):
    """The files that were taken back."""
    result = ctl.json("plan", "--root", machine.root, "--remove", *arguments)
    return [(found["file"], found["next"].split()[0]) for found in result["taken_back"]]


@pytest.mark.parametrize("before", ["root=/dev/sda2 memmap=64K$0x18690000 quiet\n", "# mine\nroot=/dev/sda2\nquiet\n# end\n", ""])
def test_remove_takes_back_what_write_wrote(ctl, machine, before):
    machine.write(CMDLINE, before)
    write(ctl, machine)
    assert remove(ctl, machine) == [(str(machine.root / CMDLINE), "kernel-install")]
    assert (machine.root / CMDLINE).read_text() == before
    assert remove(ctl, machine) == []
    assert (machine.root / CMDLINE).read_text() == before


@pytest.mark.parametrize(("before", "after"), [
    # A line, with its spaces, that has no argument of a plan, and an argument that --write would drop.
    ('  # memmap=2G$0x100000000\n\ninitrd=\\u.img dyndbg="file a  +p"\nquiet memmap=2G$0x100000000  ro',
     '  # memmap=2G$0x100000000\n\ninitrd=\\u.img dyndbg="file a  +p"\nquiet  ro'),
    ("memmap=2G$0x100000000 quiet\nmemmap=2G$0x200000000\n", "quiet\n"),
])
def test_remove_changes_nothing_else(ctl, machine, before, after):
    machine.write(CMDLINE, before)
    assert len(remove(ctl, machine)) == 1
    assert (machine.root / CMDLINE).read_text() == after
    assert remove(ctl, machine) == []


def test_remove_says_what_is_done_when_the_rest_fails(ctl, machine):
    machine.write("etc/default/grub", "GRUB_DEFAULT=0\n")
    ctl.json("plan", "--root", machine.root, "--size=2G", "--write", "--boot-loader=grub")
    (machine.root / CMDLINE).mkdir(parents=True)
    drop_in = machine.root / "etc/default/grub.d/dmemfs.cfg"
    ctl.fails("plan", "--root", machine.root, "--remove", says=[f"{drop_in}: is taken back, run update-grub; but ", "Is a directory"])
    assert not drop_in.exists()


def test_removed_arguments_do_not_come_back_from_the_running_kernel(ctl, machine):
    """Without the file kernel-install(8) would take the arguments that the kernel was booted with."""
    write(ctl, machine)
    machine.write("proc/cmdline", f"root=/dev/sda1 ro quiet {PLANNED}\n")
    text = ctl.text("plan", "--root", machine.root, "--remove")
    assert f"Taken back: {machine.root / CMDLINE}\nNext: kernel-install add " in text
    assert "Until the reboot 2 GiB stay reserved." in text
    assert (machine.root / CMDLINE).read_text() == "root=/dev/sda1 ro quiet\n"


def test_remove_for_one_boot_loader(ctl, machine):
    machine.write("etc/default/grub", "GRUB_DEFAULT=0\n")
    for loader in ("grub", "systemd-boot"):
        ctl.json("plan", "--root", machine.root, "--size=2G", "--write", f"--boot-loader={loader}")
    assert remove(ctl, machine, "--boot-loader=grub") == [(str(machine.root / "etc/default/grub.d/dmemfs.cfg"), "update-grub")]
    assert PLANNED in (machine.root / CMDLINE).read_text()
    ctl.json("plan", "--root", machine.root, "--size=2G", "--write", "--boot-loader=grub")
    assert len(remove(ctl, machine)) == 2
    ctl.fails("plan", "--root", machine.root, "--remove", "--boot-loader=lilo", status=USAGE, says=["use grub or systemd-boot"])
