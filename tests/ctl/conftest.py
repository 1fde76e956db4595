# SPDX-License-Identifier: GPL-2.0-or-later
"""The fixtures of ../conftest.py, and dmemfsctl."""

import shlex

import pytest

from helpers.backends import GIB
from helpers.control import Control
from helpers.daemon import control_program


@pytest.fixture
def ctl(dmemfsd, work):
    return Control(control_program(dmemfsd), work)


@pytest.fixture
def far(fs):
    """The mount, whose memory is on a node that the machine does not have, so that policies are read."""
    fs.daemon.restart_with(f"[region far]\nstart={4 * GIB}\nsize={fs.capacity}\nnode=9\n")
    return fs


# silent TYPE DIRECTORY mounts a FUSE whose daemon, which is the program itself, never answers. A thread that asks it cannot be stopped,
# as a search for leaks would have to.
FUNCTIONS = """
exec 9<>/dev/fuse
silent() {
    mount -i -t "$1" -o fd=9,rootmode=40000,user_id=0,group_id=0 silent "$2"
    export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0"
}
while read -r id parent device root point rest; do
    case "$rest" in
    *" - fuse.dmemfs "*) [ "$point" = "$ROOT" ] || umount -l "$point" ;;
    esac
done </proc/self/mountinfo
"""


@pytest.fixture
def in_namespace(ctl, fs, work):
    """
    in_namespace(commands): a dmemfsctl that runs after these commands of a shell, in a mount namespace of its own, in which no other
    dmemfs is mounted. $ROOT is the mountpoint, $PLACE an empty directory.
    """
    place = work / "place"
    place.mkdir()

    def make(commands):
        names = f"ROOT={shlex.quote(str(fs.root))} PLACE={shlex.quote(str(place))}"
        script = f'set -e\n{names}\n{FUNCTIONS}\n{commands}\nexec {shlex.quote(str(ctl.program))} "$@"'
        program = work / "dmemfsctl-in-namespace"
        program.write_text(f'#!/bin/sh\nexec unshare --mount --propagation private sh -c {shlex.quote(script)} sh "$@"\n')
        program.chmod(0o755)
        return Control(program, work)

    make.place = place
    return make
