# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon needs a fixed number of descriptors, however many files its users have open."""

import errno
import os
import resource

import pytest

from helpers.children import Child, in_child
from helpers.syscalls import Mapping, opened
from mount.test_takeover import die

LIMIT = 256
FILES = 1000
MALLORY = 1001
TIMEOUT = 240  # seconds, with an emulated CPU

pytestmark = pytest.mark.page_sizes("4K")


@pytest.fixture
def limited(fs, work):
    program, original = work / "limited", fs.daemon.program
    program.write_text(f'#!/bin/sh\nulimit -n {LIMIT}\nexec {original} "$@"\n')
    program.chmod(0o755)
    fs.daemon.stop()
    fs.daemon.manager.keeps = True
    fs.daemon.program = str(program)
    fs.daemon.start()
    (fs / "playground").mkdir()
    (fs / "playground").chmod(0o1777)
    yield fs
    fs.daemon.program = original


def allow_descriptors():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def content(number):
    return f"{number:08}".encode()


def have_many_open(pipe, directory, unit):
    """Opens FILES files; a third of them is removed, a third mapped. Uses them again whenever the test says so."""
    allow_descriptors()
    fds, mappings = [], {}
    for number in range(FILES):
        fds.append(os.open(directory / f"{number}", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        os.ftruncate(fds[number], unit)
        os.pwrite(fds[number], content(number), 0)
        if number % 3 == 1:
            os.unlink(directory / f"{number}")
        elif number % 3 == 2:
            mappings[number] = Mapping(fds[number], unit)
    pipe.send("open")
    while pipe.recv() != "end":
        for number in range(0, FILES, 7):  # of each third
            fd = fds[number]
            assert os.pread(fd, 8, 0) == content(number)
            os.ftruncate(fd, 2 * unit)
            os.pwrite(fd, content(number), unit)
            assert os.pread(fd, 8, unit) == content(number)
            os.ftruncate(fd, unit)
        for number, mapping in mappings.items():  # the daemon has no part in it
            assert mapping.read(0, 8) == content(number)
        for number in range(0, FILES, 21):
            with opened(directory / f"{number}", os.O_RDONLY) as again:
                assert os.pread(again, 8, 0) == content(number)
        pipe.send("used")


def use(root, unit, count):
    """Creates, sizes, writes, reads, maps and removes @count files that are open at the same time."""
    allow_descriptors()
    fds = []
    for number in range(count):
        fds.append(os.open(root / f"root{number}", os.O_CREAT | os.O_EXCL | os.O_RDWR))
        os.ftruncate(fds[-1], unit)
        os.pwrite(fds[-1], b"root", 0)
    for fd in fds:
        assert os.pread(fd, 4, 0) == b"root"
        with Mapping(fd, unit) as mapping:
            mapping.write(0, b"mine")
            assert os.pread(fd, 4, 0) == b"mine"
        os.ftruncate(fd, 0)
        os.close(fd)
    for number in range(count):
        os.unlink(root / f"root{number}")


@pytest.mark.timeout(600)
def test_open_files_take_no_descriptors(limited):
    """
    One user has four times as many files open as the daemon may have descriptors. All users go on, also after a
    takeover.
    """
    def descriptors():
        return len(os.listdir(f"/proc/{limited.daemon.pid}/fd"))

    before = descriptors()
    with Child(have_many_open, limited / "playground", limited.unit, uid=MALLORY, with_pipe=True) as child:
        assert child.receive(TIMEOUT) == "open"
        for count in (LIMIT + 50, 20):
            assert descriptors() <= before + 8
            in_child(use, limited.root, limited.unit, count, timeout=TIMEOUT)
            child.pipe.send("use them")
            assert child.receive(TIMEOUT) == "used"
            die(limited.daemon)
            limited.daemon.take_over()
        child.pipe.send("end")
        child.wait()
    assert os.strerror(errno.EMFILE) not in limited.daemon.log
