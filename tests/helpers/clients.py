# SPDX-License-Identifier: GPL-2.0-or-later
"""A client that uses a directory of its own in many ways, and knows what each call must return."""

import os
import random
import time
from dataclasses import dataclass, field

from helpers.children import Child
from helpers.syscalls import Mapping

FILES = 6
SLOW = 0.005  # calls of more seconds are remembered


@dataclass
class Result:
    operations: int = 0
    slow: list = field(default_factory=list)  # (start, end) by the monotonic clock


class Client:
    """Runs in a process of its own until finish(), which returns its Result or raises its error."""

    def __init__(self, fs, number):
        self._child = Child(_run, fs, number, with_pipe=True)
        self._child.receive()

    @property
    def running(self):
        return os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def finish(self):
        if self.running:
            self._child.pipe.send("end")
        return self._child.wait(120)


def pauses(results, deaths):
    """For each death of the daemon, the longest call that was going on at that time, over all clients."""
    for death in deaths:
        yield max((end - death for result in results for start, end in result.slow if start <= death < end), default=0)


def _run(pipe, fs, number):
    directory = fs / f"client{number}"
    directory.mkdir()
    work = _Work(directory, fs.unit, random.Random(number))
    pipe.send("ready")
    result = Result()
    while not pipe.poll():
        start = time.monotonic()
        try:
            work.step()
        except OSError as error:
            raise AssertionError(f"a call of {work.directory.name} failed") from error  # with the traceback
        end = time.monotonic()
        result.operations += 1
        if end - start > SLOW:
            result.slow.append((start, end))
    work.compare()
    work.clear()
    return result


class _Work:
    """The model: names and contents. A call that fails, or returns anything else, is an error."""

    def __init__(self, directory, unit, rng):
        self.directory = directory
        self.unit = unit
        self.rng = rng
        self.files = {}  # name -> contents
        self.made = 0

    def step(self):
        actions = [self.make] if len(self.files) < 2 else [
            self.make, self.remove, self.rename, self.link_and_unlink, self.write, self.resize, self.verify, self.map,
            self.list, self.attribute, self.directory_in_between, self.unnamed]
        self.rng.choice(actions)()

    def _some(self):
        return self.rng.choice(list(self.files))

    def _new(self):
        self.made += 1
        return f"file{self.made}"

    def make(self):
        if len(self.files) >= FILES:
            return
        name = self._new()
        fd = os.open(self.directory / name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        contents = self.rng.randbytes(self.rng.randrange(5000))
        assert os.pwrite(fd, contents, 0) == len(contents)
        os.close(fd)
        self.files[name] = contents

    def remove(self):
        name = self._some()
        os.unlink(self.directory / name)
        del self.files[name]

    def rename(self):
        old, new = self._some(), self._new() if self.rng.random() < 0.5 else self._some()
        os.rename(self.directory / old, self.directory / new)
        self.files[new] = self.files.pop(old)

    def link_and_unlink(self):
        old, new = self._some(), self._new()
        os.link(self.directory / old, self.directory / new)
        os.unlink(self.directory / old)
        self.files[new] = self.files.pop(old)

    def write(self):
        name = self._some()
        contents = bytearray(self.files[name])
        data = self.rng.randbytes(self.rng.randrange(1, 3000))
        at = self.rng.randrange(len(contents) + 1)
        with open(self.directory / name, "r+b", buffering=0) as file:
            file.seek(at)
            assert file.write(data) == len(data)
        contents[at : at + len(data)] = data
        self.files[name] = bytes(contents)

    def resize(self):
        name = self._some()
        size = self.rng.randrange(3 * self.unit if self.unit < 1 << 20 else self.unit)
        size = min(size, 20000)
        os.truncate(self.directory / name, size)
        self.files[name] = self.files[name][:size].ljust(size, b"\0")

    def verify(self):
        name = self._some()
        with open(self.directory / name, "rb") as file:
            assert file.read() == self.files[name], name

    def map(self):
        name = self._some()
        contents = self.files[name]
        if not contents:
            return
        fd = os.open(self.directory / name, os.O_RDWR)
        with Mapping(fd, len(contents)) as mapping:
            os.close(fd)
            assert mapping.read(0, len(contents)) == contents, name
            mapping.write(0, b"M")
        self.files[name] = b"M" + contents[1:]

    def list(self):
        assert sorted(os.listdir(self.directory)) == sorted(self.files)

    def attribute(self):
        path = self.directory / self._some()
        os.setxattr(path, "user.mark", b"x", os.XATTR_CREATE)
        assert os.getxattr(path, "user.mark") == b"x"
        os.removexattr(path, "user.mark")

    def directory_in_between(self):
        path = self.directory / self._new()
        path.mkdir()
        (path / "in it").symlink_to("nowhere")
        (path / "in it").unlink()
        path.rmdir()

    def unnamed(self):
        fd = os.open(self.directory, os.O_RDWR | os.O_TMPFILE)
        assert os.write(fd, b"unnamed") == 7
        assert os.pread(fd, 7, 0) == b"unnamed"
        os.close(fd)

    def compare(self):
        self.list()
        for name, contents in self.files.items():
            assert (self.directory / name).read_bytes() == contents, name

    def clear(self):
        for name in list(self.files):
            os.unlink(self.directory / name)
        self.directory.rmdir()
