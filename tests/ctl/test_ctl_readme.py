# SPDX-License-Identifier: GPL-2.0-or-later
"""
Every command in README.md runs in a test: here, on a mount of the test's own; or in the test that a table names. A command that
is new in the README, and in none of the tables, fails.
"""

import os
import re
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
README = TOP / "README.md"

# Blocks that are no commands, by how they begin, and the test that reads what is in them.
OTHER_BLOCKS = {
    "QEMU, Cloud Hypervisor, any process": None,  # the picture of the parts
    "fuse-daemon/   the daemon": None,  # the folders
    "/etc/dmemfs/dmemfsd.conf  /mnt/dmemfs  fuse.dmemfs": "tests/vm/service/checks.py::test_mount",
    "# /etc/default/grub.d/dmemfs.cfg": "tests/ctl/test_ctl_plan.py::test_write",
    "[daemon]": "tests/vm/fleet/bare.py::test_configuration",
    "<memoryBacking>": "tests/vm/test_libvirt.py::test_guest_of_libvirt",
}

# Run as they are, but for the place of the mount, unless they are named below.
HERE = ("dmemfsctl quota", "dmemfsctl wait-clean", "setfattr ", "getfattr ", "mkdir /mnt/dmemfs/", "truncate ")

# Programs of this tree that need an hour, or a machine: that they know the options of the README is tried here, and @reason says
# where they run.
LONG = {
    "./run-tests": "it is what runs this test",
    "./run-bench": "figures of an hour; the benchmarks' own programs are built with the daemon",
    "tests/vm/run": "./run-tests vm is this, with two VMs",
    "tests/vm/shell": "for a person; it is boot with a terminal",
    "tests/vm/boot": "tests/vm/lab/test_lab.py boots",
    "tests/setup/in-debian": "half an hour each; it runs what is tested here in another root",
    "tests/vm/arm64/run": "it downloads an emulator, a compiler and a kernel",
    "tests/fuzz/run": "./run-tests runs it for a minute",
    "tests/tsan/run": "half an hour",
    "tests/soak/run": "ten minutes at least",
}

# Commands that change the machine, by how they begin, and what runs them elsewhere. ("kexec -e" there is what systemctl's kexec
# ends with.)
ELSEWHERE = {
    "tests/setup/deps": "run-tests::host",
    "meson setup build": "tests/ctl/test_install.py::install",
    "mkdir -p /mnt/dmemfs": "tests/vm/service/checks.py::unit",
    "systemctl daemon-reload && systemctl start dmemfsd": "tests/vm/service/checks.py::test_start_ends_when_the_mount_answers",
    "systemctl stop dmemfsd": "tests/vm/service/checks.py::test_stop_unmounts_and_start_brings_everything_back",
    "mkdir /mnt/dmemfs/elastic": "tests/vm/test_demand.py::test_demand_is_for_empty_files_and_inherited",
    "dmemfsctl status; getfattr -n dmemfs.poison": "tests/mount/test_poison.py::test_file_keeps_it_until_it_goes",
    "fallocate -p": "tests/vm/test_poison_mount.py::test_hole_over_it_brings_fresh_memory",
    "apt install": "tests/vm/fleet/bare.py::test_packages_are_installed",
    "qemu-system-x86_64": "tests/ctl/test_ctl_guest_args.py::test_qemu_takes_it",
    "argument=$(dmemfsctl prepare-kexec)": "tests/vm/kexec/phases.py::prepare",
    "kexec -s -l": "tests/vm/kexec/phases.py::kexec",
    "systemctl kexec": "tests/vm/kexec/phases.py::kexec",
}

# What Debian does not have, so nothing here can run it.
MISSING = {"cloud-hypervisor": "tests/ctl/test_ctl_guest_args.py::test_cloud_hypervisor"}


def blocks():
    """The indented blocks, without the indentation."""
    found = re.findall(r"(?:^|\n\n)((?:    .*\n?|\n(?=    ))+)", README.read_text())
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip("\n") for block in found]


def is_shell(block):
    return not any(block.lstrip().startswith(beginning) for beginning in OTHER_BLOCKS)


def commands():
    """One a line, without comments."""
    text = "\n".join(block for block in blocks() if is_shell(block))
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [command for line in lines if (command := re.sub(r"\s+#.*", "", line).strip())]


def starts(command, beginnings):
    return [beginning for beginning in beginnings if command.startswith(beginning)]


def is_run_here(command):
    return starts(command, HERE) and not starts(command, ELSEWHERE)


def test_every_command_has_one_place():
    for command in commands():
        places = [place for table in (LONG, ELSEWHERE, MISSING, ("./quickstart",)) for place in starts(command, table)]
        places += ["here"] if is_run_here(command) else []
        assert len(places) == 1, f"{command}: give it a test, and a place in one table of {Path(__file__).name}"


def test_tables_have_nothing_else():
    known = commands()
    for table in (HERE, LONG, ELSEWHERE, MISSING):
        for beginning in table:
            assert any(command.startswith(beginning) for command in known), beginning
    for beginning in OTHER_BLOCKS:
        assert any(block.lstrip().startswith(beginning) for block in blocks()), beginning


@pytest.mark.parametrize("test", sorted({*ELSEWHERE.values(), *MISSING.values(), *filter(None, OTHER_BLOCKS.values())}))
def test_that_is_named_exists(test):
    path, _, name = test.partition("::")
    assert re.search(rf"^(\s*def {name}\(|{name}\(\)$)", (TOP / path).read_text(), re.MULTILINE), test


@pytest.fixture
def node0(fs):
    """The mount, with all of its memory on node 0."""
    fs.daemon.stop()
    text = "".join(line for line in fs.daemon.config.read_text().splitlines(True) if not line.startswith("size="))
    fs.daemon.config.write_text(f"{text}\n[region all]\nstart=0x100000000\nsize={fs.capacity}\nnode=0\n")
    fs.daemon.start()
    return fs


@pytest.mark.page_sizes("2M")
@pytest.mark.memory_only("the region is imaginary")
def test_commands_on_a_mount(node0, dmemfsd):
    """In the order of the README, with what it takes for granted: a tenant's directory."""
    fs = node0
    (fs / "tenant1").mkdir()
    path = f"{dmemfsd.parent / 'dmemfsctl'}:/usr/sbin:/usr/bin:/sbin:/bin"
    for command in filter(is_run_here, commands()):
        if "node_bytes" in command:
            with open(fs / "node0" / "vm1", "wb") as file:
                file.truncate(fs.unit)
        command = command.replace("/mnt/dmemfs", str(fs.root)).replace("truncate -s 4G", "truncate -s 4M")
        done = subprocess.run(["bash", "-euc", command], capture_output=True, text=True, check=False,
                              env={**os.environ, "PATH": path})
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("program", sorted(LONG))
def test_options_of_what_takes_long(program):
    done = subprocess.run([TOP / program, "--help"], capture_output=True, text=True, check=True, cwd=TOP)
    for command in starts_with(program):
        for option in re.findall(r"\s(--[a-z-]+)", command):
            assert option in done.stdout, f"{command}: {program} --help does not know {option}"
        for word in re.findall(r"\s(tests/\S+|scale)", command):
            assert (TOP / word).exists() or word in done.stdout, command


def starts_with(program):
    return [command for command in commands() if re.match(rf"{re.escape(program)}( |$)", command)]


@contextmanager
def mount_namespaces_made():
    """Each as for a container, with a copy of all mounts that there are when it is made."""
    with subprocess.Popen(["sh", "-c", "while sleep 1; do unshare --mount sleep 300 & done"], start_new_session=True) as maker:
        try:
            yield
        finally:
            os.killpg(maker.pid, signal.SIGKILL)


@pytest.mark.timeout(300)
def test_quickstart(dmemfsd, work):
    if dmemfsd.parents[1] != TOP / "build":
        pytest.skip("it builds in build, and tries what is built there: once is enough")
    with mount_namespaces_made():
        done = subprocess.run([TOP / "quickstart"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              cwd=work)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"guest to host +([0-9a-f]{32}), read from the file", done.stdout), done.stdout
