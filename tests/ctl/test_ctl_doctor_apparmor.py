# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfsctl doctor on hosts whose AppArmor confines libvirt: rules that are missing, and rules that allow too much."""

import json
import os
import re
from pathlib import Path

import pytest

from helpers.machine import two_nodes

QEMU = "/usr/bin/qemu-system-x86_64"
PROFILES = "sys/kernel/security/apparmor/profiles"
LOCAL = "etc/apparmor.d/local"
DIRECTORY = "etc/apparmor.d/abstractions/libvirt-qemu.d"
# Lines of Debian's profiles that decide here.
LIBVIRTD = """profile libvirtd /usr/sbin/libvirtd flags=(attach_disconnected) {
  /** rwmkl,
  /usr/bin/* PUx,
  audit deny /{usr/,}sbin/apparmor_parser rwxl,
  #include <local/usr.sbin.libvirtd>
}
"""
DEBIAN_12 = f"  {QEMU} rmix,\n  /{{usr/,}}bin/dash rmix,\n  #include <local/abstractions/libvirt-qemu>\n"
DEBIAN_13 = DEBIAN_12.replace("#include <local", "include if exists <abstractions/libvirt-qemu.d>\n  include if exists <local")
DOMAIN = """<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>vm1</name>
  <devices><emulator>{emulator}</emulator></devices>
  <qemu:commandline>
    <qemu:arg value='-object'/>
    <qemu:arg value='memory-backend-file,id=ram,size=1G,mem-path={file},share=on'/>
  </qemu:commandline>
</domain>
"""


@pytest.fixture
def aligned(ctl):
    """Where qemu-aligned is installed, as the program knows it."""
    return re.search(rb"\0(/[ -~]*/qemu-aligned)\0", Path(ctl.program).read_bytes())[1].decode()


@pytest.fixture
def host(work, aligned):
    """Debian 12 with dmemfs, as its package installs it, and AppArmor."""
    machine = two_nodes(work / "root")
    machine.write("etc/libvirt/qemu.conf", 'memory_backing_dir = "/mnt/dmemfs"\n')
    machine.write("sys/module/apparmor/parameters/enabled", "Y\n")
    machine.write(PROFILES, "libvirtd (enforce)\n")
    machine.write("etc/apparmor.d/usr.sbin.libvirtd", LIBVIRTD.replace("/usr/bin/*", f"{os.path.dirname(aligned)}/*"))
    machine.write("etc/apparmor.d/abstractions/libvirt-qemu", DEBIAN_12)
    machine.write(f"{DIRECTORY}/dmemfs", f"# of dmemfs\n{aligned} rix,\n/usr/bin/stat rix,\n")
    machine.write(aligned.lstrip("/"), "#!/bin/sh\n# qemu-aligned\n")
    machine.write(QEMU.lstrip("/"), "\x7fELF")
    return machine


@pytest.fixture
def found(ctl, host):
    """What doctor says: {text: remedy}."""
    return lambda: {finding["text"]: finding.get("remedy")
                    for finding in json.loads(ctl.run("doctor", "--root", host.root, "--json").stdout)["findings"]
                    if finding["check"] == "apparmor" and finding["level"] != "ok"}


def test_line_that_debian_12_needs(host, found, aligned):
    assert found() == {
        f"AppArmor keeps libvirt's guests from executing {aligned} and /usr/bin/stat: guests with the emulator {aligned} do not start":
        "add the line  include if exists <abstractions/libvirt-qemu.d>  to /etc/apparmor.d/local/abstractions/libvirt-qemu"}
    host.write(f"{LOCAL}/abstractions/libvirt-qemu", "# of this host\ninclude if exists <abstractions/libvirt-qemu.d>\n")
    assert found() == {}


def test_recipe_that_is_not_followed(host, found):
    """Only memory_backing_dir or a domain says that guests have the emulator."""
    host.write("etc/libvirt/qemu.conf", "")
    assert found() == {}


def test_debian_13_needs_none(host, found):
    host.write("etc/apparmor.d/abstractions/libvirt-qemu", DEBIAN_13)
    assert found() == {}


def test_include_of_a_quoted_path(host, found):
    host.write(f"{LOCAL}/abstractions/libvirt-qemu", f'#include "/{DIRECTORY}"\n')
    assert found() == {}


def test_profile_that_is_not_utf8(host, found):
    host.write(f"{LOCAL}/abstractions/libvirt-qemu", "")
    (host.root / LOCAL / "abstractions" / "libvirt-qemu").write_bytes(
        b"include if exists <abstractions/libvirt-qemu.d>\n/srv/caf\xe9/** r, # caf\xe9\n")
    assert found() == {}


@pytest.mark.parametrize("rules", ["{aligned} rmix,  /usr/bin/{{cat,stat}} ix,\n", '  "/usr/**" rix,', "/usr/{{bin/*,local/**}} rix,\n"])
def test_rules_of_the_operator(host, found, aligned, rules):
    host.write(f"{LOCAL}/abstractions/libvirt-qemu", rules.format(aligned=aligned))
    assert found() == {}
    host.write(f"{LOCAL}/abstractions/libvirt-qemu", f"{rules.format(aligned=aligned)}\naudit deny /usr/bin/stat x,\n")
    assert "/usr/bin/stat" in "".join(found())


def test_emulator_that_libvirt_may_not_execute(host, found, aligned):
    """A link is what it leads to; a script of the operator needs rules of its own; another emulator is no concern of dmemfs."""
    host.write("etc/apparmor.d/abstractions/libvirt-qemu", DEBIAN_13)
    script = "/srv/bin/qemu"
    host.write(script.lstrip("/"), f"#!/bin/sh\nexec {aligned} \"$@\"\n")
    (host.root / "srv/bin/absolute").symlink_to(aligned)
    (host.root / "srv/bin/link").symlink_to("absolute")
    (host.root / "srv/bin/relative").symlink_to(f"../..{aligned}")
    (host.root / "srv/sbin").symlink_to("bin")
    host.write("srv/bin/other", "\x7fELF")
    for number, emulator in enumerate(("/srv/bin/link", "/srv/bin/relative", "/srv/sbin/qemu", "/srv/bin/other", QEMU, script)):
        host.write(f"etc/libvirt/qemu/{number}.xml", DOMAIN.format(emulator=emulator, file="/dev/null"))
    assert found() == {
        f"AppArmor keeps libvirtd from executing {script}: guests with this emulator do not start":
        f"add the line  {script} PUx,  to /etc/apparmor.d/local/usr.sbin.libvirtd and run "
        "apparmor_parser -r /etc/apparmor.d/usr.sbin.libvirtd",
        f"AppArmor keeps libvirt's guests from executing {script}: guests with the emulator {script} do not start":
        f"add the line  {script} rix,  to /etc/apparmor.d/local/abstractions/libvirt-qemu"}
    host.write(f"{LOCAL}/usr.sbin.libvirtd", f"{script} PUx,\n")
    host.write(f"{LOCAL}/abstractions/libvirt-qemu", f"{script} rix,\n")
    assert found() == {}


def test_file_that_a_domain_names(host, found):
    host.write("etc/apparmor.d/abstractions/libvirt-qemu", DEBIAN_13)
    for name, file in (("vm1", "/mnt/dmemfs/vm1"), ("vm2", "/dev/hugepages/vm2")):
        host.write(f"etc/libvirt/qemu/{name}.xml", DOMAIN.format(emulator=QEMU, file=file))
    ((text, remedy),) = found().items()
    assert text == "AppArmor keeps libvirt's guests from /mnt/dmemfs/vm1, which a domain names in <qemu:commandline>"
    assert 'add the line  "/mnt/dmemfs/vm1" rwk,' in remedy and "memory_backing_dir" in remedy
    host.write(f"{LOCAL}/abstractions/libvirt-qemu", '"/mnt/dmemfs/vm1" rwk,\n')
    assert found() == {}


def test_rule_that_gives_guests_the_memory_of_others(host, found):
    host.write("etc/apparmor.d/abstractions/libvirt-qemu", DEBIAN_13)
    host.write(f"{LOCAL}/abstractions/libvirt-qemu", '"/mnt/dmemfs/**" rwk,\n')
    ((text, remedy),) = found().items()
    assert "lets each use the memory of the others" in text and "take the rule out" in remedy


@pytest.mark.parametrize("profiles", [None, "", "/usr/bin/man (enforce)\n"])
def test_apparmor_that_confines_no_libvirt(ctl, host, found, profiles):
    (host.root / PROFILES).unlink()
    if profiles is not None:
        host.write(PROFILES, profiles)
    assert found() == {}
    assert "does not confine libvirt" in ctl.run("doctor", "--root", host.root).stdout


def test_list_of_profiles_that_cannot_be_read(host, found):
    (host.root / PROFILES).unlink()
    host.write(f"{PROFILES}/none", "only root may read it\n")
    assert len(found()) == 1


def test_apparmor_that_is_off(host, found):
    host.write("sys/module/apparmor/parameters/enabled", "N\n")
    assert found() == {}
