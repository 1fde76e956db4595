# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfsctl plan on imaginary machines."""

import re
import shutil
import subprocess

import pytest

from helpers.control import USAGE
from helpers.machine import GIB, Machine, two_nodes

MIB = 1 << 20
DROP_IN = "etc/default/grub.d/dmemfs.cfg"


@pytest.fixture
def machine(work):
    return two_nodes(work / "root")


def plan(ctl, machine, *arguments):
    return ctl.json("plan", "--root", machine.root, *arguments)


def ranges_of(result):
    return [(found["start"] // GIB, found["length_bytes"] // GIB, found["node"]) for found in result["ranges"]]


def kernel_sees(path):
    """The kernel arguments after a shell, and then GRUB, have read the drop-in."""
    script = 'GRUB_CMDLINE_LINUX_DEFAULT=quiet; . "$0"; printf %s "$GRUB_CMDLINE_LINUX_DEFAULT"'
    shell = subprocess.run(["sh", "-uc", script, path], capture_output=True, text=True, check=True).stdout
    return re.sub(r"\\(.)", r"\1", shell)


def test_memory_is_spread_over_the_nodes(ctl, machine):
    result = plan(ctl, machine, "--size", "32G", "--leave", "8G")
    assert ranges_of(result) == [(17, 16, 0), (49, 16, 1)]
    assert result["kernel_arguments"] == ["memmap=16G$0x440000000", "memmap=16G$0xc40000000"]
    assert result["saved_bytes"] == 32 * GIB // 64
    assert result["ram_bytes"] - result["left_bytes"] == result["reserved_bytes"] == 32 * GIB
    assert result["systemd_boot"]["append"] == " ".join(result["kernel_arguments"])
    assert (result["warnings"], result["written"]) == ([], None)


def test_only_some_nodes(ctl, machine):
    assert ranges_of(plan(ctl, machine, "--size=16G", "--node=1")) == [(49, 16, 1)]
    assert ranges_of(plan(ctl, machine, "--size=3G", "--node=1", "--node", "0")) == [(31, 2, 0), (64, 1, 1)]


@pytest.mark.parametrize("pages", ["2M", "none"])
def test_ranges_for_smaller_pages(ctl, work, pages):
    """Whole sections of the kernel are enough, and a later plan replaces their arguments."""
    machine = Machine(work / "root")
    machine.iomem((0x100000, 2 * GIB, "System RAM"), (4 * GIB + 64 * MIB, 9 * GIB + 512 * MIB + 4096, "System RAM"))
    machine.write("etc/kernel/cmdline", "root=/dev/sda\n")
    machine.write("proc/cmdline", "root=/dev/sda\n")
    result = plan(ctl, machine, "--size=4480M", f"--pages={pages}", "--write")
    (found,) = result["ranges"]
    assert (found["start"], found["length_bytes"]) == (5 * GIB + 128 * MIB, 4480 * MIB)
    plan(ctl, machine, "--size=2G", "--write")
    assert (machine.root / "etc/kernel/cmdline").read_text().count("memmap=") == 1
    assert ranges_of(plan(ctl, machine, "--size=4G")) == [(5, 4, 0)]


def test_text_has_what_the_boot_loader_needs(ctl, machine):
    text = ctl.text("plan", "--root", machine.root, "--size", "32G")
    result = plan(ctl, machine, "--size", "32G")
    assert "reserve 32 GiB" in text and "saves 512 MiB of struct page" in text
    assert " ".join(result["kernel_arguments"]) in text
    assert result["grub"]["contents"] in text
    assert "/etc/default/grub.d/dmemfs.cfg" in text and "/etc/kernel/cmdline" in text


def test_write(ctl, machine):
    machine.write("etc/default/grub", "GRUB_DEFAULT=0\n")
    path = machine.root / DROP_IN
    text = ctl.text("plan", "--root", machine.root, "--size=32G", "--write")
    assert f"Written: {path}" in text and "update-grub" in text
    assert path.stat().st_mode & 0o777 == 0o644
    assert kernel_sees(path) == "quiet memmap=16G$0x440000000 memmap=16G$0xc40000000"
    # Again, and with another size: it is our file.
    result = plan(ctl, machine, "--size=2G", "--node=0", "--write")
    assert result["written"] == str(path)
    assert kernel_sees(path) == "quiet " + result["kernel_arguments"][0]
    path.write_text("GRUB_CMDLINE_LINUX_DEFAULT=mine\n")
    ctl.fails("plan", "--root", machine.root, "--size=2G", "--write", says=["was not written by this program"])
    assert path.read_text() == "GRUB_CMDLINE_LINUX_DEFAULT=mine\n"


def test_remove(ctl, machine):
    machine.write("etc/default/grub", "GRUB_DEFAULT=0\n")
    path = machine.root / DROP_IN
    plan(ctl, machine, "--size=32G", "--write")
    text = ctl.text("plan", "--root", machine.root, "--remove")
    assert text == f"Taken back: {path}\nNext: update-grub, then reboot.\n"
    assert not path.exists() and (machine.root / "etc/default/grub").exists()
    assert "Nothing to take back: " in ctl.text("plan", "--root", machine.root, "--remove")
    machine.write("proc/cmdline", "quiet memmap=16G$0x440000000\n")
    text = ctl.text("plan", "--root", machine.root, "--remove")
    assert "was booted with 16 GiB reserved: if memmap= is still in your boot loader's configuration" in text


@pytest.mark.parametrize("change", [
    lambda text: text + 'GRUB_CMDLINE_LINUX="console=ttyS0"\n',
    lambda text: text[:-2] + ' mitigations=off"\n',
    lambda text: "# Written by dmemfsctl plan. Changed.\n" + text,
])
def test_remove_leaves_what_was_added_to_the_drop_in(ctl, machine, change):
    machine.write("etc/default/grub", "GRUB_DEFAULT=0\n")
    plan(ctl, machine, "--size=32G", "--write")
    path = machine.root / DROP_IN
    text = change(path.read_text())
    path.write_text(text)
    ctl.fails("plan", "--root", machine.root, "--remove", says=[f"{path}: has more than this program wrote", "by hand"])
    assert path.read_text() == text


def test_remove_does_not_take_what_it_cannot_read_for_nothing(ctl, machine):
    path = machine.root / DROP_IN
    path.mkdir(parents=True)
    assert "Is a directory" in ctl.fails("plan", "--root", machine.root, "--remove", says=[str(path)])


def test_remove_leaves_what_somebody_else_wrote(ctl, machine):
    path = machine.write(DROP_IN, "GRUB_CMDLINE_LINUX_DEFAULT=mine\n")
    ctl.fails("plan", "--root", machine.root, "--remove", says=[f"{path}: was not written by this program", "by hand"])
    assert path.exists()


def test_write_without_boot_loader(ctl, machine):
    ctl.fails("plan", "--root", machine.root, "--size=2G", "--write", says=["neither GRUB", "nor systemd-boot", "boot loader"])
    assert not (machine.root / "etc").exists()


def test_the_same_plan_on_the_machine_that_was_booted_with_it(ctl, machine):
    first = plan(ctl, machine, "--size=32G")
    machine.write("proc/cmdline", "quiet " + " ".join(first["kernel_arguments"]) + "\n")
    machine.iomem((0x100000, 3 * GIB, "System RAM"), (4 * GIB, 17 * GIB, "System RAM"), (17 * GIB, 33 * GIB, "Reserved"),
                  (33 * GIB, 49 * GIB, "System RAM"), (49 * GIB, 65 * GIB, "Reserved"))
    second = plan(ctl, machine, "--size=32G")
    assert second["kernel_arguments"] == first["kernel_arguments"]
    assert abs(second["ram_bytes"] - first["ram_bytes"]) < 1 << 20


def test_nodes_of_memory_that_is_reserved(ctl, machine):
    """
    The kernel shows no memory blocks for reserved memory. The firmware's table has its node, whatever number it
    uses.
    """
    machine.write("proc/cmdline", "quiet memmap=16G$0x440000000 memmap=16G$0xc40000000\n")
    machine.iomem((0x100000, 3 * GIB, "System RAM"), (4 * GIB, 17 * GIB, "System RAM"), (33 * GIB, 49 * GIB, "System RAM"))
    for directory in ("node0", "node1"):
        shutil.rmtree(machine.root / "sys/devices/system/node" / directory)
    machine.node(0, (0, 3 * GIB), (4 * GIB, 17 * GIB))
    machine.node(1, (33 * GIB, 49 * GIB))
    assert len(plan(ctl, machine, "--size=48G")["warnings"]) > 0
    machine.srat((9, 33 * GIB, 65 * GIB), (4, 0, 3 * GIB), (4, 4 * GIB, 33 * GIB))
    result = plan(ctl, machine, "--size=32G")
    assert ranges_of(result) == [(17, 16, 0), (49, 16, 1)] and result["warnings"] == []


def test_memory_that_the_firmware_does_not_report(ctl, machine):
    """Memory that was added later or set apart: KVM would treat it as a device's."""
    machine.firmware((0, 3 * GIB, "System RAM"), (4 * GIB, 33 * GIB, "System RAM"), (33 * GIB, 60 * GIB, "System RAM"),
                     (60 * GIB, 65 * GIB, "Soft Reserved"))
    assert ranges_of(plan(ctl, machine, "--size=8G", "--node=1")) == [(52, 8, 1)]


def test_machine_without_numa(ctl, work):
    machine = Machine(work / "root")
    machine.iomem((0x100000, 2 * GIB, "System RAM"), (4 * GIB, 18 * GIB + 4096, "System RAM"))
    assert ranges_of(plan(ctl, machine, "--size=8G")) == [(10, 8, 0)]


def test_warnings(ctl, work):
    machine = Machine(work / "root")
    machine.iomem(*((start * GIB, start * GIB + GIB, "System RAM") for start in range(4, 40, 2)))
    (warning,) = plan(ctl, machine, "--size=6G")["warnings"]
    assert "KASLR" in warning
    assert "KASLR" in ctl.text("plan", "--root", machine.root, "--size=6G")
    machine.write("sys/kernel/security/lockdown", "none integrity [confidentiality]\n")
    assert "Note: the kernel is locked down" in ctl.text("plan", "--root", machine.root, "--size=6G")


def test_option_of_kvm_where_nested_guests_are_unsafe(ctl, machine):
    machine.write("proc/sys/kernel/osrelease", "6.12.5-amd64\n")
    machine.write("sys/module/kvm_intel/parameters/nested", "Y\n")
    (warning,) = plan(ctl, machine, "--size=2G")["warnings"]
    assert "options kvm_intel nested=0" in warning
    assert f"Note: {warning}.\n" in ctl.text("plan", "--root", machine.root, "--size=2G")
    machine.write("proc/sys/kernel/osrelease", "7.3.0-amd64\n")
    assert plan(ctl, machine, "--size=2G")["warnings"] == []


def test_kvm_that_refuses_guests_of_guests(ctl, machine):
    """From 6.13 on, in memory with pages=none, unless it is told to allow them. The remedy is possible on the kernel."""
    def warnings(pages):
        return plan(ctl, machine, "--size=2G", "--pages", pages)["warnings"]

    machine.write("proc/sys/kernel/osrelease", "6.13.0-amd64\n")
    assert all("boot Linux 6.12 or 7.3, then give guests" in warnings(pages)[-1] for pages in ("none", "2M"))
    machine.write("proc/sys/kernel/osrelease", "7.3.0-amd64\n")
    (warning,) = warnings("none")
    assert "boot" not in warning and "give guests that run guests memory with pages=1G or 2M" in warning
    assert "kvm.allow_unsafe_mappings=1 on the kernel's command line" in warning and "internal error" in warning
    assert "may reach single pages after a punched hole" in warning and warnings("2M") == warnings("1G") == []
    machine.write("sys/module/kvm/parameters/allow_unsafe_mappings", "N\n")
    machine.write("sys/module/kvm_amd/parameters/nested", "1\n")
    assert warnings("none") == [warning]
    machine.write("sys/module/kvm/parameters/allow_unsafe_mappings", "Y\n")
    assert warnings("none") == []
    machine.write("sys/module/kvm/parameters/allow_unsafe_mappings", "N\n")
    machine.write("sys/module/kvm_amd/parameters/nested", "0\n")
    assert warnings("none") == []
    machine.write("sys/module/kvm_amd/parameters/nested", "1\n")
    machine.write("proc/sys/kernel/osrelease", "6.12.5-amd64\n")
    assert warnings("none") == []


@pytest.mark.parametrize(("release", "pages", "says"), [
    ("6.11.10-amd64", ["--pages=none"], "the running kernel is too old: reserved memory (backend=pfn) needs Linux 6.12 or later"),
    ("6.11.10-amd64", [], "the running kernel is too old"), ("6.12.0", [], None), ("7.3.1", ["--pages=2M"], None),
    ("6.13.0-amd64", [], "the running kernel allows pages=none only: the module can make pages=1G and 2M on Linux 6.12 and 7.3 only"),
    ("7.2.0", ["--pages=2M"], "boot Linux 6.12 or 7.3, or use pages=none"), ("7.2.0", ["--pages=none"], None)])
def test_kernels_that_lack_something(ctl, machine, release, pages, says):
    machine.write("proc/sys/kernel/osrelease", f"{release}\n")
    machine.write("sys/module/kvm_intel/parameters/nested", "N\n")
    warnings = plan(ctl, machine, "--size=2G", *pages)["warnings"]
    assert len(warnings) == bool(says) and all(says in warning for warning in warnings)


@pytest.mark.parametrize(("arguments", "says"), [
    ([], ["--size SIZE is missing"]),
    (["--size=0"], ["--size 0", "use 1G"]),
    (["--size=1500M"], ["--size 1500M", "not a multiple of 1G, as pages=1G needs", "use 2G\n"]),
    (["--size=1536M"], ["--size 1536M", "not a multiple of 1G, as pages=1G needs", "use 2G, or --pages 2M"]),
    (["--size=1500M", "--pages=2M"], ["--size 1500M", "not a multiple of 128M, as pages=2M needs", "use 1536M\n"]),
    (["--size=1G", "--pages=4K"], ["--pages 4K", "use 1G, 2M or none"]),
    (["--size=1.5G"], ["--size:", '"1.5G" is not a size']),
    (["--size=-1G"], ["--size:"]),
    (["--size=99999999P"], ["--size:", "too large"]),
    (["--size=1G", "--leave=x"], ["--leave:", '"x" is not a size']),
    (["--size=1G", "--node=2"], ["--node 2", "use 0, 1"]),
    (["--size=1G", "--node=-1"], ["--node -1", "use 0, 1"]),
    (["--size=1G", "--node=x"], ["--node x"]),
    (["--size=1G", "surplus"], ["surplus"]),
    (["--size=1G", "--remove"], ["--remove is given with options of a new plan"]),
    (["--write", "--remove"], ["--remove is given with options of a new plan"]),
])
def test_bad_input(ctl, machine, arguments, says):
    ctl.fails("plan", "--root", machine.root, *arguments, status=USAGE, says=says)


def test_more_than_there_is(ctl, machine):
    ctl.fails("plan", "--root", machine.root, "--size=64G",
              says=["64 GiB cannot be reserved", "on node 0", "on node 1", "lower --size or --leave"])
    ctl.fails("plan", "--root", machine.root, "--size=30G", "--node=1", "--leave=8G", says=["28 GiB", "8 GiB stays"])
    small = Machine(machine.root / "small")
    small.iomem((0x100000, 2 * GIB, "System RAM"))
    ctl.fails("plan", "--root", small.root, "--size=1G", says=["0 B", "above 4 GiB"])


def test_who_is_not_root_sees_no_addresses(ctl, machine):
    machine.iomem((0, 1, "System RAM"), (0, 1, "Reserved"))
    ctl.fails("plan", "--root", machine.root, "--size=1G", says=["shows no System RAM", "run as root"])
    ctl.fails("plan", "--root", "/nonexistent", "--size=1G", says=["/nonexistent/proc/iomem"])
