# SPDX-License-Identifier: GPL-2.0-or-later
"""configs/nova.md as tests follow it, and the domain that Nova would write for an instance: Nova itself is not here."""

import configparser
import re
import subprocess
from pathlib import Path

from helpers.counting import make_disk

TOP = Path(__file__).parents[2]
README = TOP / "README.md"
RECIPE = TOP / "configs" / "nova.md"
EMULATOR = Path("/usr/local/bin/qemu-system-x86_64")
NAME = "instance-00000001"
# Nova gives it no emulator. With virt_type=kvm the type is kvm. The disk is one that the test's guest boots from.
DOMAIN = """<domain type="{type}">
  <uuid>8f3f2a5e-6f0c-4d5c-9b39-0a4a3a0f9d11</uuid>
  <name>instance-00000001</name>
  <memory>{kibibytes}</memory>
  <memoryBacking>
    <source type="file"/>
    <access mode="shared"/>
    <allocation mode="immediate"/>
    <discard/>
  </memoryBacking>
  <vcpu>1</vcpu>
  <sysinfo type="smbios">
    <system>
      <entry name="manufacturer">OpenStack Foundation</entry>
      <entry name="product">OpenStack Nova</entry>
      <entry name="family">Virtual Machine</entry>
    </system>
  </sysinfo>
  <os>
    <type machine="pc">hvm</type>
    <boot dev="hd"/>
    <smbios mode="sysinfo"/>
  </os>
  <features>
    <acpi/>
    <apic/>
    <vmcoreinfo/>
  </features>
  <clock offset="utc">
    <timer name="pit" tickpolicy="delay"/>
    <timer name="rtc" tickpolicy="catchup"/>
    <timer name="hpet" present="no"/>
  </clock>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw" cache="{cache}"/>
      <source file="{disk}"/>
      <target bus="virtio" dev="vda"/>
    </disk>
    <serial type="file">
      <source path="{console}" append="on"/>
    </serial>
    <memballoon model="virtio">
      <stats period="10"/>
    </memballoon>
  </devices>
</domain>
"""


def block(path):
    """The contents that the recipe gives to the file @path."""
    found = re.findall(rf"^```\n# {re.escape(str(path))}\n(.*?)^```$", RECIPE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"{RECIPE}: {path}"
    return found[0]


def phrase(pattern):
    """What the recipe says where the group of @pattern is, between backquotes."""
    (found,) = re.findall(pattern, RECIPE.read_text())
    return found


def install_emulator():
    subprocess.run(phrase(rf"`(ln -s \S+ {EMULATOR})`").split(), check=True)


def nova_conf():
    """nova.conf of the recipe."""
    parser = configparser.ConfigParser()
    parser.read_string(block("/etc/nova/nova.conf"))
    return parser


def cache_mode(is_raw):
    """As Nova chooses it: what is configured for the type of the disk, else "none"."""
    modes = dict(mode.split("=") for mode in nova_conf()["libvirt"]["disk_cachemodes"].split(","))
    return modes["file"] if is_raw else "none"


def domain(directory, size, is_raw, domain_type="qemu"):
    """What Nova writes for an instance with @size bytes. In @directory it has a disk, "disk", and a console, "console"."""
    console = directory / "console"
    console.touch()
    return DOMAIN.format(type=domain_type, kibibytes=size >> 10, cache=cache_mode(is_raw), disk=make_disk(directory / "disk"),
                         console=console)
