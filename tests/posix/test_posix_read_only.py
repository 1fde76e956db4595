# SPDX-License-Identifier: GPL-2.0-or-later
"""A mount that was made read-only: each change is EROFS, and everything else works."""

import errno
import subprocess
from contextlib import contextmanager

from arena import CALLS, populate
from helpers.expect import refused

REFUSED = """
chmod 600 file           chown 1 1 file          lchown 1 1 link        link file new
mkdir new                mkfifo new              open new rdwr,creat    open file wronly
open file rdonly,trunc   open dir tmpfile,rdwr   rename file new        exchange file other
rmdir empty              symlink target new      truncate file 0        unlink file
utime file now now       lutime link 1 1
"""
ALLOWED = "access file 4   list dir   open file rdonly   readlink link   stat file"


def calls(text, root):
    """(function, arguments) of each: they are parted by spaces, more than one."""
    for call in text.replace("\n", "  ").split("  "):
        name, *words = call.split() or [None]
        if name:
            function, paths = CALLS[name]
            yield function, [root / word if index in paths else word for index, word in enumerate(words)]


@contextmanager
def read_only(root):
    subprocess.run(["mount", "-i", "-o", "remount,bind,ro", root], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-i", "-o", "remount,bind,rw", root], check=True)


def test_read_only_mount_refuses_every_change(place):
    populate(place)
    with read_only(place):
        for function, arguments in calls(REFUSED, place):
            refused(errno.EROFS, function, *arguments)
        for function, arguments in calls(ALLOWED, place):
            function(*arguments)
    (place / "new").touch()
