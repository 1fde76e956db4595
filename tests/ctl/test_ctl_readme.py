# SPDX-License-Identifier: GPL-2.0-or-later
"""
Every command in README.md, in the READMEs of the parts, in dmemfs(7) and in dmemfs-guests(7) is run by a test: here, on a mount of its own,
or in the test that a table names. A new command that is in no table fails, and so does a row of "What works" without a
test.
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
MANUAL = TOP / "fuse-daemon" / "man" / "dmemfs.7.scd"
GUESTS = MANUAL.with_name("dmemfs-guests.7.scd")
# Commands are indented in the first, between lines of ``` in the second.
READMES = [README, *(TOP / part / "README.md" for part in ("fuse-daemon", "kmod", "tests"))]

# Blocks that are no commands, by how they begin, and the test that reads what is in them.
OTHER_BLOCKS = {
    "QEMU, Cloud Hypervisor, any process": None,  # the picture of the parts
    "/etc/dmemfs/dmemfsd.conf  /mnt/dmemfs  fuse.dmemfs": "tests/vm/service/checks.py::test_mount",
    "# /etc/default/grub.d/dmemfs.cfg": "tests/ctl/test_ctl_plan.py::test_write",
    "[daemon]": "tests/vm/fleet/bare.py::test_configuration",
    "<memoryBacking>": "tests/vm/test_libvirt.py::test_guest_of_libvirt",
}

# Run as they are, but for the place of the mount, unless they are named below.
HERE = ("dmemfsctl quota", "dmemfsctl wait-clean", "dmemfsctl status", "dmemfsctl ls", "setfattr ", "getfattr ",
        "mkdir /mnt/dmemfs/", "truncate ")

# Programs of this tree that need an hour, or a machine: that they know the options that are named is tried here, and the reason
# says where they run.
LONG = {
    "./run-tests": "it is what runs this test",
    "./run-bench": "figures of half an hour; the benchmarks' own programs are built with the daemon",
    "tests/vm/run": "./run-tests vm is this, with two VMs",
    "tests/vm/run-on": "the same on another kernel",
    "tests/vm/shell": "for a person; it is boot with a terminal",
    "tests/vm/boot": "tests/vm/lab/test_lab.py boots",
    "tests/setup/in-debian": "half an hour each; it runs what is tested here in another root",
    "tests/vm/arm64/run": "it downloads an emulator, a compiler and a kernel",
    "tests/fuzz/run": "./run-tests runs it for a minute in all",
    "tests/tsan/run": "half an hour",
    "tests/soak/run": "ten minutes at least",
}

# Commands that change the machine, by how they begin, and what runs them elsewhere. ("kexec -e" there is what systemctl's kexec
# ends with.)
ELSEWHERE = {
    "tests/setup/deps": "run-tests::prepare",
    "tests/setup/build build": "run-tests::build",
    "meson test": "run-tests::unit_tests",
    "/usr/bin/python3 -m pytest": "run-tests::pytest_suite",
    "DMEMFS_TEST_PROFILE=long tests/vm/run":
        "tests/vm/test_lending_soak.py::test_guests_come_and_go_on_a_host_without_free_memory",
    "make -C kmod KERNELDIR": "tests/packages/test_packages.py::test_module_builds_from_its_package",
    "make -C kmod check": "tests/packages/test_packages.py::test_module_has_no_warning",
    "dmemfsctl doctor": "tests/vm/fleet/running.py::test_doctor_is_content",
    "dmemfsctl plan --size": "tests/vm/fleet/bare.py::test_plan_writes_the_drop_in",
    "dmemfsctl plan --remove": "tests/ctl/test_ctl_plan.py::test_remove",
    "update-grub": "tests/vm/fleet/bare.py::test_update_grub",
    "meson setup build": "tests/ctl/test_install.py::install",
    "mkdir -p /mnt/dmemfs": "tests/vm/service/checks.py::unit",
    "systemctl daemon-reload && systemctl start dmemfsd": "tests/vm/service/checks.py::test_start_ends_when_the_mount_answers",
    "systemctl stop dmemfsd": "tests/vm/service/checks.py::test_stop_unmounts_and_start_brings_everything_back",
    "mkdir /mnt/dmemfs/elastic": "tests/vm/test_demand.py::test_demand_is_for_empty_files_and_inherited",
    "include if exists": "tests/vm/fleet/bare.py::test_apparmor_is_told",  # a line of AppArmor's
    "getfattr -n dmemfs.poison": "tests/mount/test_poison.py::test_file_keeps_it_until_it_goes",
    "fallocate -p": "tests/vm/test_poison_mount.py::test_hole_over_it_brings_fresh_memory",
    "apt install": "tests/vm/fleet/bare.py::test_packages_are_installed",
    "qemu-system-x86_64": "tests/ctl/test_ctl_guest_args.py::test_qemu_takes_it",
    "choom -n -500": "tests/mount/test_monitoring.py::test_guest_is_protected_from_the_oom_killer",
    "argument=$(dmemfsctl prepare-kexec)": "tests/vm/kexec/phases.py::prepare",
    "kexec -s -l": "tests/vm/kexec/phases.py::kexec",
    "systemctl kexec": "tests/vm/kexec/phases.py::kexec",
}

# What Debian does not have, so nothing here can run it.
MISSING = {"cloud-hypervisor": "tests/ctl/test_ctl_guest_args.py::test_cloud_hypervisor"}

NOT_TESTED = "not tested"
MEMORY, PFN, LATER = "`memory`", "`pfn`, Linux 6.12", "`pfn`, Linux 7.3"
BOTH = (MEMORY, PFN, LATER)
# The rows of "What works", and the tests that hold them on the backends that they name. What tests/vm and tests/mount hold on Linux
# 6.12 they hold on 7.3 (tests/vm/run-on), not so tests/vm/lab.
WORKS = {
    "guests of QEMU": {MEMORY: "tests/mount/test_clients.py::test_guest_counts_in_the_file",
                       PFN: "tests/vm/test_nested.py::test_guest_in_a_named_file"},
    "guests of libvirt": {PFN: "tests/vm/test_libvirt.py::test_guest_of_libvirt"},
    "VFIO device assignment": {PFN: "tests/vm/test_devices.py::test_memory_with_struct_pages"},
    "`cache=none`, `O_DIRECT` into guest memory": {MEMORY: "tests/mount/test_copy.py::test_read_into_a_mapping_of_the_same_file",
                                                   PFN: "tests/vm/test_pages_mount.py::test_direct_io"},
    "vhost-user": {BOTH: "tests/mount/test_clients.py::test_vhost_user"},
    "live migration, snapshots": {BOTH: "tests/mount/test_clients.py::test_live_migration_to_another_mount_and_back"},
    "post-copy migration (userfaultfd)": {PFN: "tests/vm/test_walkers.py::test_userfaultfd_in_every_mode"},
    "virtio-mem": {PFN: "tests/vm/test_features_memory.py::test_virtio_mem"},
    "balloon, free page reporting give memory back": {MEMORY: "tests/mount/test_alloc.py::test_tmpfs_cannot",
                                                      PFN: "tests/vm/test_features_memory.py::test_free_page_reporting"},
    "demand allocation, over-commit": {MEMORY: "tests/mount/test_alloc.py::test_tmpfs_cannot",
                                       PFN: "tests/vm/test_demand.py::test_exhaustion_hits_who_cannot_grow"},
    "idle memory lent to the host (`lend=on`)": {
        MEMORY: "tests/mount/test_command_line.py::test_ordinary_memory_is_not_lent",
        PFN: "tests/vm/test_lending.py::test_idle_memory_serves_the_host_until_a_file_needs_it"},
    "NUMA policies": {MEMORY: "tests/mount/test_numa_policy.py::test_interleaving_takes_turns",
                      PFN: "tests/vm/test_numa.py::test_interleaving"},
    "quotas": {BOTH: "tests/mount/test_quota.py::test_sizing_past_the_limit_is_edquot_and_takes_nothing"},
    "daemon killed or upgraded under guests": {BOTH: "tests/mount/test_takeover.py::test_open_files_go_on"},
    "guests' memory survives a kexec": {MEMORY: "tests/mount/test_durable.py::test_lost_contents_read_zero_and_names_stay",
                                        PFN: "tests/vm/lab/test_kexec.py::test_guest_goes_on"},
    "a memory error costs one page of 4 KiB": {
        PFN: "tests/vm/test_poison_module.py::test_who_touches_it_is_told_where_and_others_go_on"},
    "Secure Boot (kernel lockdown)": {PFN: "tests/vm/lab/test_claim.py::test_claims"},
}
# The rows of "QEMU" in dmemfs-guests(7), and the tests that hold them.
FEATURES = {
    "disk with *cache=none*, each *aio=*": ("tests/vm/test_features.py::test_guest_boots_without_a_cache",),
    "vhost-user-blk of qemu-storage-daemon, *cache.direct=on*": (
        "tests/vm/test_features.py::test_vhost_user_disk_without_a_cache",),
    "virtiofsd with direct I/O": ("tests/vm/test_features.py::test_virtiofs_with_direct_io",),
    "migration with multifd, *zero-copy-send*": ("tests/vm/test_features.py::test_zero_copy_migration",),
    "mapped-ram with multifd, *direct-io* (QEMU 9.1)": ("tests/vm/test_features.py::test_mapped_ram_with_direct_io",),
    "VFIO (type 1)": ("tests/vm/test_features.py::test_assigned_device",
                      "tests/vm/test_devices.py::test_guest_with_the_device"),
    "virtio-mem": ("tests/vm/test_features_memory.py::test_virtio_mem",),
    "free page reporting": ("tests/vm/test_features_memory.py::test_free_page_reporting",),
    "balloon": ("tests/vm/test_features_memory.py::test_balloon",),
}
# The rows of "OTHER PROGRAMS" there. A row without a test says "not tested", and why.
PROGRAMS = {
    "*gdb*, attached to QEMU": "tests/mount/test_clients.py::test_gdb_reads_and_writes_the_memory_of_a_guest",
    "*fio*, *ioengine=mmap*": "tests/mount/test_clients.py::test_fio_verifies_what_it_wrote",
    "*qemu-storage-daemon*, vhost-user-blk": "tests/mount/test_clients.py::test_vhost_user",
    "Open vSwitch with DPDK, a vhost-user port": "tests/mount/test_ovs_dpdk.py::test_switch_reads_frames_out_of_the_memory",
    "a guest that reboots 50 times": "tests/mount/test_guests.py::test_a_guest_that_reboots_many_times",
    "QEMU, killed and started again on the same file": "tests/mount/test_guests.py::test_qemu_is_killed_and_started_again",
    "two QEMUs on one file": "tests/mount/test_guests.py::test_two_qemus_on_one_file",
    "QEMU in a mount namespace with the mount bound into it, as in a container":
        "tests/mount/test_guests.py::test_a_guest_in_a_mount_namespace",
    "*podman*, with the mount as a volume (*-v*)": "tests/mount/test_podman.py::test_a_guest_in_a_container",
    "*passt*, *-netdev stream*": "tests/mount/test_passt.py::test_the_guest_requests_the_address_that_it_was_offered",
    "*passt --vhost-user* (Debian 13)": "tests/mount/test_passt.py::test_passt_reads_frames_out_of_the_memory",
    "*ksmtuned*, reserved memory": "tests/vm/test_ksmtuned.py::test_ksm_merges_ordinary_memory_only",
    "*makedumpfile* in a crash kernel, with *backend=pfn*": "tests/vm/lab/test_kdump.py::test_makedumpfile_makes_a_dump",
}
# Answers in the first screen of README.md, and the tests that hold them.
ANSWERS = {"What is in a crash dump (kdump)?": "tests/vm/lab/test_kdump.py::test_memory_of_guests_is_not_in_the_dump"}


def held(row):
    """{column: the test that holds it, or None}"""
    tests = WORKS[row]
    found = {MEMORY: tests.get(MEMORY, tests.get(BOTH)), PFN: tests.get(PFN, tests.get(BOTH))}
    later = found[PFN] and not found[PFN].startswith("tests/vm/lab/")
    return found | {LATER: found[PFN] if later else None}


def blocks():
    """The blocks of each document, without indentation."""
    for path in READMES:
        for block in re.findall(r"(?:^|\n\n)((?:    .*\n?|\n(?=    ))+)", path.read_text()):
            yield re.sub(r"^    ", "", block, flags=re.MULTILINE).strip("\n")
    for page in (MANUAL, GUESTS):
        for block in re.findall(r"^```\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            yield block.strip("\n")


def is_shell(block):
    return not any(block.lstrip().startswith(beginning) for beginning in OTHER_BLOCKS)


def commands():
    """The commands without comments, each once."""
    text = "\n".join(block for block in blocks() if is_shell(block))
    lines = re.sub(r"\\{1,2}\n\s*", "", text).splitlines()  # scdoc wants two backslashes for one
    return list(dict.fromkeys(command for line in lines if (command := re.sub(r"(^|\s+)#.*", "", line).strip())))


def starts(command, beginnings):
    return [beginning for beginning in beginnings if command.startswith(beginning)]


def runs(command, programs):
    return [program for program in programs if re.match(rf"{re.escape(program)}( |$)", command)]


def is_run_here(command):
    return starts(command, HERE) and not starts(command, ELSEWHERE)


def test_every_command_has_one_place():
    for command in commands():
        places = [place for table in (ELSEWHERE, MISSING) for place in starts(command, table)]
        places += runs(command, (*LONG, "./quickstart"))
        places += ["here"] if is_run_here(command) else []
        assert len(places) == 1, f"{command}: give it a test, and a place in one table of {Path(__file__).name}"


def test_tables_have_nothing_else():
    known = commands()
    for table in (HERE, LONG, ELSEWHERE, MISSING):
        for beginning in table:
            assert any(command.startswith(beginning) for command in known), beginning
    for beginning in OTHER_BLOCKS:
        assert any(block.lstrip().startswith(beginning) for block in blocks()), beginning


def where_is(test):
    path, _, name = test.partition("::")
    return re.search(rf"^(@.*\n)*(\s*def {name}\(|{name}\(\)$)", (TOP / path).read_text(), re.MULTILINE)


@pytest.mark.parametrize("test", sorted({*ELSEWHERE.values(), *MISSING.values(), *filter(None, OTHER_BLOCKS.values()),
                                         *(test for row in WORKS.values() for test in row.values()),
                                         *(test for row in FEATURES.values() for test in row), *PROGRAMS.values(),
                                         *ANSWERS.values()}))
def test_that_is_named_exists(test):
    assert where_is(test), test


def test_each_feature_is_held_by_a_test():
    section = GUESTS.read_text().split("\n# QEMU\n")[1].split("\n# ")[0]
    assert re.findall(r"^\|  (.*)$", section, re.MULTILINE) == list(FEATURES)


def test_each_program_is_held_by_a_test():
    section = GUESTS.read_text().split("\n# OTHER PROGRAMS\n")[1].split("\n# ")[0]
    rows = re.findall(r"^\|  (.*)\n:  (.*)$", section, re.MULTILINE)
    assert {name for name, said in rows if not said.startswith(f"{NOT_TESTED}: ")} == PROGRAMS.keys()


def test_answers_that_a_test_holds():
    answers = dict(re.findall(r"^\| (.*\?) \| (.*) \|$", README.read_text(), re.MULTILINE))
    for question in ANSWERS:
        assert NOT_TESTED not in answers[question].lower(), question


def test_each_cell_of_what_works_is_held_by_a_test():
    """A cell says "not tested" exactly if it has no test. A test for the pfn backend is not skipped there."""
    section = README.read_text().split("## What works\n")[1].split("\n## ")[0]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()
                        if line.startswith("|")]
    assert header[1:] == list(BOTH)
    assert [row[0] for row in rows] == list(WORKS)
    for name, *cells in rows:
        for column, cell, test in zip(header[1:], cells, held(name).values()):
            assert (cell == NOT_TESTED) == (test is None), f"{name}, {column}"
            if test:
                skipped = "memory_only" in where_is(test)[0]
                assert not (skipped and column != MEMORY), f"{test} does not run on {column}"


@pytest.fixture
def node0(fs):
    """The mount, with all memory on node 0."""
    fs.daemon.restart_with(f"[region all]\nstart=0x100000000\nsize={fs.capacity}\nnode=0\n")
    return fs


@pytest.mark.page_sizes("2M")
@pytest.mark.memory_only("the region is imaginary")
def test_commands_on_a_mount(node0, dmemfsd):
    """Runs the commands in the order of the documents. The directory of a tenant exists, as they assume."""
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
    for command in (command for command in commands() if runs(command, [program])):
        for option in re.findall(r"\s(--[a-z-]+)", command):
            assert option in done.stdout, f"{command}: {program} --help does not know {option}"
        for word in re.findall(r"\s(tests/\S+|scale)", command):
            assert (TOP / word).exists() or word in done.stdout, command


@pytest.mark.parametrize("argument, status", [("--help", 0), ("--hlep", 2)])
def test_argument_makes_quickstart_explain_itself(argument, status):
    done = subprocess.run([TOP / "quickstart", argument], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert "boots a small" in (done.stdout if status == 0 else done.stderr)


@contextmanager
def mount_namespaces_made():
    """Meanwhile a mount namespace is made every second, as containers do, with a copy of all mounts."""
    with subprocess.Popen(["sh", "-c", "while sleep 1; do unshare --mount sleep 300 & done"], start_new_session=True) as maker:
        try:
            yield
        finally:
            os.killpg(maker.pid, signal.SIGKILL)


@pytest.mark.timeout(300)
def test_quickstart(dmemfsd, work):
    if dmemfsd.parents[1] != TOP / "build":
        pytest.skip("quickstart uses the build directory build: it is tested with that one only")
    with mount_namespaces_made():
        done = subprocess.run([TOP / "quickstart"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              cwd=work)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"guest to host +([0-9a-f]{32}), read from the file", done.stdout), done.stdout
