# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that a client can see of a tree, to compare before and after."""

import hashlib
import os
import stat


def _contents(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _attributes(path):
    status = os.lstat(path)
    seen = {name: getattr(status, f"st_{name}") for name in
            ("ino", "mode", "nlink", "uid", "gid", "size", "blocks", "mtime_ns", "ctime_ns")}
    if not stat.S_ISLNK(status.st_mode):
        names = (name for name in os.listxattr(path) if not name.startswith("dmemfs."))
        seen["xattrs"] = {name: os.getxattr(path, name) for name in sorted(names)}
    if stat.S_ISLNK(status.st_mode):
        seen["target"] = os.readlink(path)
    elif stat.S_ISDIR(status.st_mode):
        seen["entries"] = os.listdir(path)  # in the order of the listing, which a restart keeps
    elif stat.S_ISREG(status.st_mode):
        seen["extents"] = os.getxattr(path, "dmemfs.extents")
        seen["contents"] = _contents(path)
    return seen


def snapshot(root):
    """{path below @root: what a client sees of it}."""
    found = {".": _attributes(root)}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, root)] = _attributes(path)
    return found
