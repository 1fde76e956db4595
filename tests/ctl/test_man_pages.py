# SPDX-License-Identifier: GPL-2.0-or-later
"""The man pages are valid, complete, and agree with the programs and with each other."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
MAN = TOP / "fuse-daemon" / "man"
PAGES = sorted(path.name.removesuffix(".scd") for path in MAN.glob("*.scd"))
# How scdoc writes paragraphs, and pages that are not installed here.
IGNORED = "skipping paragraph macro|referenced manual not found"


def source(page):
    return (MAN / f"{page}.scd").read_text()


def formatted(page, work):
    """The page as man(1) reads it, in a file."""
    made = work / page
    made.write_bytes(subprocess.run(["scdoc"], input=source(page).encode(), capture_output=True, check=True).stdout)
    return made


def plain(text):
    return text.replace("\\", "")


@pytest.mark.parametrize("page", PAGES)
def test_page_is_clean(page, work):
    if not shutil.which("scdoc") or not shutil.which("mandoc"):
        pytest.skip("needs scdoc and mandoc")
    made = formatted(page, work)
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", made], capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if not re.search(IGNORED, line)] == []


@pytest.mark.parametrize("page", PAGES)
def test_page_fits_a_terminal(page, work):
    """No line is wider than 80 columns: a wider one is broken in the middle of a table or an example."""
    if not shutil.which("scdoc") or not shutil.which("man"):
        pytest.skip("needs scdoc and man")
    made = formatted(page, work)
    shown = subprocess.run(["man", "-l", made], env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}, capture_output=True,
                           text=True, check=True).stdout
    assert len(shown.splitlines()) > 20
    assert [line for line in shown.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("page", PAGES)
def test_references_are_to_pages_that_exist(page):
    name, section = page.rsplit(".", 1)
    assert source(page).startswith(f"{name}({section})\n")
    for name, section in re.findall(r"\*(dmemfs[a-z.-]*)\*\((\d)\)", source(page)):
        assert f"{name}.{section}" in PAGES


def keys_of(dmemfsd, work, group):
    """The keys that the daemon lists for a group when it is given an unknown one."""
    config = work / "dmemfsd.conf"
    config.write_text(f"[{group}]\nno-such-key=1\n")
    said = subprocess.run([dmemfsd, "--config", config, "--check-config"], capture_output=True, text=True, check=False)
    return set(re.search(r"this group has (.*)", said.stderr)[1].split(", "))


@pytest.mark.parametrize("group", ["daemon", "region", "quota"])
def test_every_key_is_in_its_group(dmemfsd, work, group):
    """In the man page and in the installed configuration."""
    keys = keys_of(dmemfsd, work, group if group == "daemon" else f"{group} name")
    page = re.search(rf"^# (?:THE GROUP|GROUPS) \[{group}\b.*?\n(.*?)(?=^# )", source("dmemfsd.conf.5"),
                     re.MULTILINE | re.DOTALL)[1]
    assert set(re.findall(r"^\*([a-z-]+)\*=", page, re.MULTILINE)) == keys
    sample = re.search(rf"^#?\[{group}\b.*?\n(.*?)(?=^#?\[|\Z)", (TOP / "configs" / "dmemfsd.conf").read_text(),
                       re.MULTILINE | re.DOTALL)[1]
    assert set(re.findall(r"^#([a-z-]+)=", sample, re.MULTILINE)) == keys


def test_options_of_the_daemon(dmemfsd):
    said = subprocess.run([dmemfsd, "--help"], capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", said, re.MULTILINE))
    page = source("dmemfsd.8")
    documented = re.search(r"^# OPTIONS\n(.*?)^# ", page, re.MULTILINE | re.DOTALL)[1]
    assert set(re.findall(r"^(?:\*-\w\*, )?\*(--[a-z-]+)\*", documented, re.MULTILINE)) == options
    statuses = re.search(r"^# EXIT STATUS\n(.*?)^# ", page, re.MULTILINE | re.DOTALL)[1]
    assert re.findall(r"^\*(\d)\*$", statuses, re.MULTILINE) == ["0", "1", "2"]


def test_virtual_attributes():
    """Those that the daemon's table has, and those that dmemfsctl reads, are in dmemfs(7)."""
    table = (TOP / "fuse-daemon" / "requests" / "vxattr.c").read_text()
    served = {f"dmemfs.{name}" for name in re.findall(r'^\t\{ PREFIX "([a-z_.]+)"', table, re.MULTILINE)}
    read = set(re.findall(r'"(dmemfs\.[a-z_.]+[a-z])"', "".join(path.read_text() for path in TOP.glob("fuse-daemon/*/*.c"))))
    assert len(served) == table.count("{ PREFIX ") and read <= served
    page = plain(source("dmemfs.7"))
    assert {name for name in served if f"*{name}*" not in page} == set()


def test_example_is_a_configuration(dmemfsd, work):
    example = re.search(r"```\n(.*?)```", source("dmemfsd.conf.5"), re.DOTALL)[1]
    config = work / "dmemfsd.conf"
    config.write_text(example)
    subprocess.run([dmemfsd, "--config", config, "--dump-config"], check=True, stdout=subprocess.DEVNULL)


def test_settings_of_nova():
    """What the recipe sets in nova.conf, dmemfs-guests(7) explains. virt_type is what everybody has."""
    recipe = re.search(r"^# /etc/nova/nova.conf\n(.*?)^```$", (TOP / "configs" / "nova.md").read_text(), re.MULTILINE | re.DOTALL)[1]
    section = plain(source("dmemfs-guests.7")).split("\n# OPENSTACK NOVA\n")[1].split("\n# ")[0]
    keys = re.findall(r"^(\w+) = ", recipe, re.MULTILINE)
    assert [key for key in keys if f"*{key}*" not in section] == ["virt_type"]
