# SPDX-License-Identifier: GPL-2.0-or-later
"""The rooms of fuse-daemon/: which room may use which, and that there are no circles."""

import re
from pathlib import Path

DAEMON = Path(__file__).parents[2] / "fuse-daemon"

# A room uses only rooms above it here. fuse-daemon/ROOM/meson.build says what the room is for.
USES = {
    "base": [],
    "config": ["base"],
    "store": ["base"],
    "pool": ["base"],
    "backend": ["base", "config", "store", "pool"],
    "quota": ["base", "config", "store", "pool"],
    "file": ["base", "store", "pool", "backend", "quota"],
    "lending": ["base", "store", "pool", "backend", "file"],
    "namespace": ["base", "config", "store", "pool", "backend", "quota", "file"],
    "recovery": ["base", "store", "pool", "file", "namespace"],
    "connection": ["base", "store"],
    "requests": ["base", "config", "store", "pool", "quota", "file", "namespace", "connection"],
    "daemon": ["base", "config", "store", "pool", "backend", "quota", "file", "lending", "namespace", "recovery", "connection",
               "requests"],
    # The operator's tool: it reads what the daemon reads, and works on the state directory of one that is stopped.
    "dmemfsctl": ["base", "config", "store", "backend", "quota", "recovery", "daemon"],
}
PROTOCOL = "dmemfs_ioctl.h"  # of shared/
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
# At the start of a line, and not static: a function with its body, a variable with its value, a quark of GLib's.
FUNCTION = re.compile(r"^(?!static\b|typedef\b)[A-Za-z_][\w \t*()]*?\b(\w+)\([^;{}]*\)\s*\n\{", re.MULTILINE)
VARIABLE = re.compile(r"^(?:const )?struct [\w ]*?\*?(?:const )?(\w+)(?:\[\])? = ", re.MULTILINE)
# What a header offers: macros, functions, the tags of its types, its constants.
PROTOTYPE = re.compile(r"^[a-z][\w *]*?\b(\w+)\([^{};]*\)[^{};()]*;", re.MULTILINE)
TAG = re.compile(r"^(?:struct|enum|union) (\w+) \{", re.MULTILINE)
CONSTANTS = re.compile(r"\benum(?: \w+)? \{([^}]*)\}")
QUARK = re.compile(r"^G_DEFINE_QUARK\([^,]*, (\w+)\)", re.MULTILINE)
MACRO = re.compile(r"^#define (\w+)(?:\([^)]*\))?((?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)


def sources(pattern):
    return sorted(path for room in USES for path in (DAEMON / room).glob(pattern))


def includes(path):
    """The files of this tree that it includes, in quotes or not."""
    names = re.findall(r'^\s*#\s*include\s*["<]([^">]+)[">]', path.read_text(), re.MULTILINE)
    return [name for name in names if name == PROTOCOL or name.split("/")[0] in USES or f'"{name}"' in path.read_text()]


def circles(graph):
    """The strongly connected components of more than one node (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = stack[stack.index(node):]
            del stack[stack.index(node):]
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def calls():
    """Which .c file uses functions and variables of which other one: by name, also through macros of headers."""
    code = {path: COMMENT_OR_STRING.sub(" ", path.read_text()) for path in sources("*.c")}
    owners = {}
    for path, text in code.items():
        for name in FUNCTION.findall(text) + VARIABLE.findall(text) + [f"{name}_quark" for name in QUARK.findall(text)]:
            owners[name] = path
    owners.pop("main")
    for path in sources("*.h"):
        for name, body in MACRO.findall(COMMENT_OR_STRING.sub(" ", path.read_text())):
            for word in re.findall(r"\w+", body):
                if word in owners:
                    owners.setdefault(name, owners[word])
    return {path: {owners[word] for word in re.findall(r"\w+", text) if word in owners} - {path}
            for path, text in code.items()}


def offers():
    """{name: the rooms whose headers define it}; "struct NAME" for tags."""
    rooms = {}
    for path in sources("*.h"):
        text = COMMENT_OR_STRING.sub(" ", path.read_text())
        names = re.findall(r"^#define (\w+)", text, re.MULTILINE) + PROTOTYPE.findall(text)
        names += [f"struct {tag}" for tag in TAG.findall(text)]
        names += [name for body in CONSTANTS.findall(text) for name in re.findall(r"\b[A-Z][A-Z0-9_]+\b", body)]
        for name in names:
            rooms.setdefault(name, set()).add(path.parent.name)
    return rooms


def named(path):
    """The calls, constants and types in a file, without those that it defines."""
    text = COMMENT_OR_STRING.sub(" ", path.read_text())
    tags = set(re.findall(r"\b(?:struct|enum|union) (\w+)", text)) - set(TAG.findall(text))
    return (set(re.findall(r"(?<![.>])\b(\w+)\(", text)) | set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", text))
            | {f"struct {tag}" for tag in tags})


def test_the_table_is_about_the_rooms_that_there_are():
    found = {path.relative_to(DAEMON).parent for path in DAEMON.rglob("*.[ch]")}
    assert {str(path) for path in found if path.parts[:1] not in (("man",), ("subprojects",))} == set(USES)
    assert {path.parent.name for path in DAEMON.glob("*/meson.build")} - {"man", "subprojects"} == set(USES)


def test_every_room_says_what_it_is_for():
    for room in USES:
        comment = (DAEMON / room / "meson.build").read_text().splitlines()[1]
        assert comment.startswith("# ") and len(comment) > 20, f"{room}/meson.build: no comment in its second line"


def test_rooms_use_only_what_they_may():
    wrong = []
    for path in sources("*.[ch]"):
        room = path.parent.name
        for name in includes(path):
            if name != PROTOCOL and (not (DAEMON / name).is_file() or name.split("/")[0] not in [room, *USES[room]]):
                wrong.append(f"{room}/{path.name} includes {name}")
    assert wrong == []


def test_rooms_use_nothing_through_the_headers_of_others():
    """A name of a room that this one may not use is within reach when an included header includes its header."""
    rooms = offers()
    wrong = [f"{path.parent.name}/{path.name} uses {name} of {room}/"
             for path in sources("*.[ch]") for name in named(path)
             for room in rooms.get(name, ()) if len(rooms[name]) == 1 and room not in [path.parent.name, *USES[path.parent.name]]]
    assert sorted(wrong) == []


def test_rooms_use_all_that_the_table_says():
    """A row that allows more than is needed says nothing."""
    used = {room: set() for room in USES}
    for path in sources("*.[ch]"):
        used[path.parent.name] |= {name.split("/")[0] for name in includes(path) if "/" in name} - {path.parent.name}
    assert used == {room: set(others) for room, others in USES.items()}


def test_no_circle_across_rooms():
    order = list(USES)
    assert all(order.index(used) < order.index(room) for room in USES for used in USES[room])
    graph = {}
    for path in sources("*.[ch]"):
        graph.setdefault(path.parent.name, set()).update(name.split("/")[0] for name in includes(path) if "/" in name)
    assert circles({room: used - {room} for room, used in graph.items()}) == []


def test_no_circle_inside_a_room():
    graph = {f"{path.parent.name}/{path.name}": {f"{other.parent.name}/{other.name}" for other in used}
             for path, used in calls().items()}
    assert circles(graph) == []
