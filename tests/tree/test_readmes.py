# SPDX-License-Identifier: GPL-2.0-or-later
"""The READMEs are short, and the files that they name exist."""

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
    """The paths of all files, from the top of the tree."""
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
    """A name is the end of a path: `backend_pfn.c`, `pool/allocator.c`."""
    names = set(re.findall(NAME, readme.read_text()))
    assert {name for name in names if not any(path.endswith(f"/{name.removeprefix('../')}") for path in paths)} == set()


def test_rooms_are_those_that_may_be_used():
    """The table of the README is that of test_rooms.py."""
    text = (TOP / "fuse-daemon" / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)/` \| .* \| (.*) \|$", text.split("## Rooms\n")[1].split("\n## ")[0], re.MULTILINE)
    assert {room: set() if uses == "-" else set(uses.split(", ")) for room, uses in rows} == {
        room: set(uses) for room, uses in USES.items()}
    assert [room for room, _ in rows] == list(USES)
