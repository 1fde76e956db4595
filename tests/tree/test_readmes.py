# SPDX-License-Identifier: GPL-2.0-or-later
"""The READMEs: short, and of files that exist."""

import re
from pathlib import Path

import pytest

from test_rooms import USES

TOP = Path(__file__).parents[2]
READMES = [path for path in (TOP / "README.md", *TOP.glob("*/README.md")) if not path.parent.name.startswith("build")]
LINES_MAX = 200
NAME = r"`((?:\.\./)*[a-z][\w./-]*\.(?:c|h|py|md|scd|sh|conf|build))`"


@pytest.fixture(scope="module")
def paths():
    """Of all files, from the top."""
    folders = ("configs", "debian", "fuse-daemon", "kmod", "shared", "tests")
    return [f"/{path.relative_to(TOP)}" for folder in folders for path in (TOP / folder).rglob("*")]


def test_every_part_has_one():
    assert {path.parent.name for path in READMES} >= {TOP.name, "fuse-daemon", "kmod", "tests"}


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(TOP)))
def test_it_is_short(readme):
    assert len(readme.read_text().splitlines()) <= LINES_MAX


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(TOP)))
def test_links_lead_somewhere(readme):
    links = re.findall(r"\]\(([^):#]+)\)", readme.read_text())
    assert [link for link in links if not (readme.parent / link).exists()] == []


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(TOP)))
def test_files_that_it_names_exist(readme, paths):
    """By the end of their path: `backend_pfn.c`, `pool/allocator.c`."""
    names = set(re.findall(NAME, readme.read_text()))
    assert {name for name in names if not any(path.endswith(f"/{name.removeprefix('../')}") for path in paths)} == set()


def test_rooms_are_those_that_may_be_used():
    """As test_rooms.py holds them."""
    text = (TOP / "fuse-daemon" / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)/` \| .* \| (.*) \|$", text.split("## Rooms\n")[1].split("\n## ")[0], re.MULTILINE)
    assert {room: set() if uses == "-" else set(uses.split(", ")) for room, uses in rows} == {
        room: set(uses) for room, uses in USES.items()}
    assert [room for room, _ in rows] == list(USES)
