# SPDX-License-Identifier: GPL-2.0-or-later
"""
Names and contents of files against a simple model. Hypothesis makes sequences of system calls; after each call the
mount and the model must agree. It reduces a failure to a short sequence.
"""

import errno
import os

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule,
                                 run_state_machine_as_test)

from helpers.expect import fails_with, same_bytes
from helpers.model import Model, ModelDirectory, ModelError, both
from helpers.syscalls import (FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, RENAME_EXCHANGE, Mapping,
                              fallocate, opened, renameat2)

# Few names and shallow paths, so that they meet.
paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple)
datas = st.builds(lambda byte, length: bytes([byte]) * length, st.integers(1, 255), st.integers(1, 9000))


def offsets(unit):
    """Offsets near the borders of pages and units."""
    borders = st.sampled_from((0, 4096, 8192, unit, 2 * unit))
    return st.builds(lambda border, by: max(border + by, 0), borders, st.integers(-5, 5) | st.integers(0, 9000))


def machine_for(fs):
    """A state machine class for this mount. Each example has a directory of its own."""
    places = offsets(fs.unit)
    lengths = st.integers(1, 12000) | st.sampled_from((4096, fs.unit, fs.unit + 1))
    examples = iter(range(1 << 30))

    class FileSystem(RuleBasedStateMachine):
        descriptors = Bundle("descriptors")

        def __init__(self):
            super().__init__()
            self.top = fs / f"example{next(examples)}"
            self.top.mkdir()
            self.model = Model()
            self.open = {}

        def real(self, path):
            return self.top.joinpath(*path)

        @rule(path=paths)
        def create(self, path):
            both(lambda: self.model.create(path),
                      lambda: os.close(os.open(self.real(path), os.O_CREAT | os.O_EXCL | os.O_RDWR)))

        @rule(path=paths)
        def mkdir(self, path):
            both(lambda: self.model.mkdir(path), lambda: self.real(path).mkdir())

        @rule(path=paths)
        def unlink(self, path):
            both(lambda: self.model.unlink(path), lambda: self.real(path).unlink())

        @rule(path=paths)
        def rmdir(self, path):
            both(lambda: self.model.rmdir(path), lambda: self.real(path).rmdir())

        @rule(old=paths, new=paths)
        def link(self, old, new):
            both(lambda: self.model.link(old, new), lambda: os.link(self.real(old), self.real(new)))

        @rule(old=paths, new=paths)
        def rename(self, old, new):
            both(lambda: self.model.rename(old, new), lambda: os.rename(self.real(old), self.real(new)))

        @rule(old=paths, new=paths)
        def exchange(self, old, new):
            both(lambda: self.model.exchange(old, new),
                      lambda: renameat2(self.real(old), self.real(new), RENAME_EXCHANGE))

        @rule(target=descriptors, path=paths)
        def open_file(self, path):
            """The descriptor stays open when the path is renamed or unlinked."""
            try:
                node = self.model.lookup(path)
                if isinstance(node, ModelDirectory):
                    raise ModelError(errno.EISDIR)
            except ModelError as error:
                with fails_with(*error.numbers):
                    os.close(os.open(self.real(path), os.O_RDWR))
                return multiple()
            fd = os.open(self.real(path), os.O_RDWR)
            self.open[fd] = node
            return fd

        @rule(fd=consumes(descriptors))
        def close_file(self, fd):
            del self.open[fd]
            os.close(fd)

        @rule(fd=descriptors, offset=places, data=datas)
        def write(self, fd, offset, data):
            assert os.pwrite(fd, data, offset) == len(data)
            self.open[fd].write(offset, data)

        @rule(fd=descriptors, size=places)
        def truncate(self, fd, size):
            os.ftruncate(fd, size)
            self.open[fd].resize(size)

        @rule(fd=descriptors, offset=places, data=datas)
        def write_through_a_mapping(self, fd, offset, data):
            node = self.open[fd]
            data = data[: max(len(node.content) - offset, 0)]
            if data:
                with Mapping(fd, len(node.content)) as mapping:
                    mapping.write(offset, data)
                node.write(offset, data)

        @rule(fd=descriptors)
        def dirty_the_rest_of_the_last_page(self, fd):
            size = len(self.open[fd].content)
            if size % 4096:
                with Mapping(fd, size + 4096 - size % 4096) as mapping:
                    mapping.write(size, b"\xee" * (4096 - size % 4096))

        @rule(fd=descriptors, offset=places, length=lengths)
        def punch(self, fd, offset, length):
            fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)
            self.open[fd].zero(offset, length)

        @rule(fd=descriptors, offset=places, length=lengths)
        def zero_range(self, fd, offset, length):
            fallocate(fd, FALLOC_FL_ZERO_RANGE, offset, length)
            self.open[fd].zero(offset, length, grow=True)

        @rule(fd=descriptors, offset=places, length=lengths)
        def allocate_beyond_the_end(self, fd, offset, length):
            fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length)

        @rule(path=paths, offset=places, data=datas)
        def reopen_and_append(self, path, offset, data):
            try:
                node = self.model.lookup(path)
            except ModelError:
                return
            if not isinstance(node, ModelDirectory):
                with opened(self.real(path), os.O_WRONLY | os.O_APPEND) as fd:
                    os.write(fd, data)
                node.write(len(node.content), data)

        @invariant()
        def trees_are_the_same(self):
            self.compare(self.model.root, self.top)

        def compare(self, directory, path):
            assert sorted(os.listdir(path)) == sorted(directory)
            for name, node in directory.items():
                if isinstance(node, ModelDirectory):
                    self.compare(node, path / name)
                else:
                    status = os.lstat(path / name)
                    assert status.st_size == len(node.content)
                    assert status.st_nlink == self.model.names(node)

        @invariant()
        def open_files_are_the_same(self):
            for fd, node in self.open.items():
                assert os.fstat(fd).st_size == len(node.content)
                same_bytes(os.pread(fd, len(node.content) + 1, 0), bytes(node.content))

        def teardown(self):
            for fd in self.open:
                os.close(fd)
            self.compare_and_remove(self.model.root, self.top)
            fs.check()

        def compare_and_remove(self, directory, path):
            for name, node in directory.items():
                if isinstance(node, ModelDirectory):
                    self.compare_and_remove(node, path / name)
                else:
                    same_bytes((path / name).read_bytes(), bytes(node.content))
                    (path / name).unlink()
            path.rmdir()

    return FileSystem


@pytest.mark.timeout(900)
def test_any_sequence_of_calls_does_what_the_model_does(fs):
    run_state_machine_as_test(machine_for(fs))
