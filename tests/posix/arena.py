# SPDX-License-Identifier: GPL-2.0-or-later
"""
A directory with objects of each kind, calls on it by one user or another, and their results: the error, or which times
changed. A call that fails must have changed nothing.
"""

import errno
import os
import resource
import shutil
import stat
import time
from contextlib import contextmanager

from helpers.syscalls import AT_FDCWD, renameat2, utimensat

ALICE, BOB, GROUP = 1001, 1002, 5000
USERS = {"root": (0, 0, []), "alice": (ALICE, ALICE, []), "bob": (BOB, BOB, []), "member": (BOB, BOB, [GROUP])}
PAST = 10**18  # of all times but ctime
GRANULARITY = 0.011  # seconds between two times that the kernel tells apart: a jiffy of the slowest clock

# Kind, name, owner, group, mode; or kind, name, target.
OBJECTS = """
f file 0 0 644            f other 0 0 644             f secret 0 0 600        h hard file
d dir 0 0 755             d empty 0 0 755             d full 0 0 755          f full/inner 0 0 644
s link file               s dirlink dir               s dangling nowhere      s loop loop
p fifo 0 0 644            s deeploop loop/x           d full/sub 0 0 755
f alices 1001 1001 644    f bobs 1002 1002 644        f shared 1001 5000 664  f setid 1001 1001 6755
d home 1001 1001 755      f home/roots 0 0 644        f home/mine 1001 1001 644
d home/rootdir 0 0 755    f home/rootdir/x 0 0 644    d home/bobdir 1002 1002 755
d sticky 0 0 1777         f sticky/alices 1001 1001 644   f sticky/bobs 1002 1002 666
d sticky/adir 1001 1001 755                           d sticky/bdir 1002 1002 755
d own 1001 1001 1777      f own/bobs 1002 1002 644    d own/bdir 1002 1002 755
d setgid 0 5000 2777      d closed 0 0 700            f closed/file 0 0 666
d shut 1001 1001 555      f shut/file 1001 1001 644   d shut/dir 1001 1001 755
d blind 1001 1001 311     f blind/file 1001 1001 644
"""
CONTENT = b"abcde"


def populate(root):
    words = iter(OBJECTS.split())
    for kind in words:
        path = root / next(words)
        if kind == "h":
            os.link(root / next(words), path)
        elif kind == "s":
            os.symlink(next(words), path)
        else:
            uid, gid, mode = int(next(words)), int(next(words)), int(next(words), 8)
            if kind == "f":
                path.write_bytes(CONTENT)
            else:
                {"d": os.mkdir, "p": os.mkfifo}[kind](path)
            os.chown(path, uid, gid)
            os.chmod(path, mode)


@contextmanager
def identity(user):
    """Within the block, this process has @user's rights, and files that it makes belong to @user."""
    uid, gid, groups = USERS[user]
    mask = os.umask(0)
    before = os.getgroups()
    try:
        os.setgroups(groups)
        os.setegid(gid)
        os.seteuid(uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)
        os.umask(mask)


def _flags(text):
    flags = 0
    for word in text.split(","):
        flags |= getattr(os, "O_" + word.upper())
    return flags


def _open(path, flags, mode="0"):
    os.close(os.open(path, _flags(flags), int(mode, 8)))


def _ftruncate(path, flags, size):
    fd = os.open(path, _flags(flags))
    try:
        os.ftruncate(fd, int(size))
    finally:
        os.close(fd)


def _write(path, text):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _access(path, mode):
    if not os.access(path, int(mode), effective_ids=True):
        raise OSError(errno.EACCES, "os.access() does not say why")


@contextmanager
def _file_size_limit(limit):
    """RLIMIT_FSIZE; Python ignores SIGXFSZ."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _limited(limit, function, *arguments):
    with _file_size_limit(limit):
        function(*arguments)


def _utime(path, atime, mtime, follow=True):
    utimensat(AT_FDCWD, path, atime, mtime, follow)


# The name of a call, its function, and which of its arguments are paths.
CALLS = {
    "access": (_access, (0,)),
    "chmod": (lambda mode, path: os.chmod(path, int(mode, 8)), (1,)),
    "chown": (lambda uid, gid, path: os.chown(path, int(uid), int(gid)), (2,)),
    "lchown": (lambda uid, gid, path: os.lchown(path, int(uid), int(gid)), (2,)),
    "exchange": (lambda old, new: renameat2(old, new, 2), (0, 1)),
    "ftruncate": (_ftruncate, (0,)),
    "limited-truncate": (lambda path, size, limit: _limited(limit, os.truncate, path, int(size)), (0,)),
    "limited-write": (lambda path, text, limit: _limited(limit, _write, path, text), (0,)),
    "link": (lambda old, new: os.link(old, new, follow_symlinks=False), (0, 1)),
    "list": (os.listdir, (0,)),
    "mkdir": (lambda path, mode="755": os.mkdir(path, int(mode, 8)), (0,)),
    "mkfifo": (lambda path, mode="644": os.mkfifo(path, int(mode, 8)), (0,)),
    "open": (_open, (0,)),
    "readlink": (os.readlink, (0,)),
    "rename": (os.rename, (0, 1)),
    "rmdir": (os.rmdir, (0,)),
    "stat": (os.stat, (0,)),
    "symlink": (os.symlink, (1,)),
    "truncate": (lambda path, size: os.truncate(path, int(size)), (0,)),
    "unlink": (os.unlink, (0,)),
    "utime": (_utime, (0,)),
    "lutime": (lambda path, atime, mtime: _utime(path, atime, mtime, follow=False), (0,)),
    "write": (_write, (0,)),
}


class _State:
    """All objects by inode, each with a descriptor, so that one that loses its name can still be seen."""

    def __init__(self, root):
        self.names = {}
        self.fds = {}
        for path in [root, *sorted(root.rglob("*"))]:
            ino = os.lstat(path).st_ino
            if ino not in self.fds:
                self.names[ino] = "." if path == root else str(path.relative_to(root))
                self.fds[ino] = os.open(path, os.O_PATH | os.O_NOFOLLOW)

    def look(self):
        return {ino: os.fstat(fd) for ino, fd in self.fds.items()}

    def close(self):
        for fd in self.fds.values():
            os.close(fd)


def _attributes(root):
    """Everything that a call which fails must not change."""
    found = {}
    for path in [root, *root.rglob("*")]:
        status = os.lstat(path)
        found[path] = (status.st_ino, status.st_mode, status.st_nlink, status.st_uid, status.st_gid, status.st_size,
                       status.st_mtime_ns, status.st_ctime_ns)
    return found


class Arena:
    """@root: a directory of the file system under test, for this object alone."""

    def __init__(self, root):
        self._root = root
        self._directory = None
        self._made = 0

    def _fresh(self):
        if self._directory is not None:
            shutil.rmtree(self._directory)
        self._made += 1
        self._directory = self._root / f"arena{self._made}"
        self._directory.mkdir()
        populate(self._directory)
        for path in [self._directory, *self._directory.rglob("*")]:
            os.utime(path, ns=(PAST, PAST), follow_symlinks=False)
        time.sleep(GRANULARITY)

    def _path(self, text):
        text = text.replace("{255}", "n" * 255).replace("{256}", "n" * 256).replace("{4096}", "d/" * 2048)
        return os.path.join(self._directory, text) if text != "{empty}" else ""

    def run(self, row):
        """The result of "USER CALL ARGUMENT...", as text in the words of the tables."""
        user, name, *words = row.split()
        function, paths = CALLS[name]
        if self._directory is None:
            self._fresh()
        arguments = [self._path(word) if index in paths else word for index, word in enumerate(words)]
        state = _State(self._directory)
        try:
            times, attributes = state.look(), _attributes(self._directory)
            now = time.time_ns()
            try:
                with identity(user):
                    function(*arguments)
            except OSError as error:
                changed = "" if _attributes(self._directory) == attributes else " and changes something"
                return errno.errorcode[error.errno] + changed
            return self._success(state, times, now, arguments[paths[-1]])
        finally:
            state.close()

    def _success(self, state, times, now, path):
        changed = []
        for ino, status in state.look().items():
            marks = "".join(mark for mark, name in (("a", "st_atime_ns"), ("m", "st_mtime_ns"), ("c", "st_ctime_ns"))
                            if getattr(status, name) != getattr(times[ino], name))
            if marks:
                changed.append(f"{state.names[ino]}:{marks}")
        new = ""
        if os.path.lexists(path) and (status := os.lstat(path)).st_ino not in times:
            new = f"mode={stat.S_IMODE(status.st_mode):o} owner={status.st_uid},{status.st_gid}"
            for moment in (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns):
                if not now - GRANULARITY * 10**9 <= moment <= time.time_ns():
                    new += " with old times"
        elif os.path.lexists(path) and (status := os.stat(path, follow_symlinks=False)):
            before = times[status.st_ino]
            if status.st_mode != before.st_mode:
                new = f"mode={stat.S_IMODE(status.st_mode):o}"
            if (status.st_uid, status.st_gid) != (before.st_uid, before.st_gid):
                new += f" owner={status.st_uid},{status.st_gid}"
        shutil.rmtree(self._directory)
        self._directory = None
        return " ".join([*new.split(), *changed]) or "ok"
