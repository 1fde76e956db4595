# SPDX-License-Identifier: GPL-2.0-or-later
"""A simple file system to compare a real one with: dictionaries and byte arrays, errors by errno."""

import errno

from helpers.expect import fails_with


class ModelFile:
    """The bytes of a file, shared by all its names and descriptors."""

    def __init__(self):
        self.content = bytearray()

    def write(self, offset, data):
        end = offset + len(data)
        if data and end > len(self.content):
            self.resize(end)
        self.content[offset:end] = data

    def resize(self, size):
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))

    def zero(self, offset, length, grow=False):
        if grow and offset + length > len(self.content):
            self.resize(offset + length)
        end = min(offset + length, len(self.content))
        if offset < end:
            self.content[offset:end] = bytes(end - offset)


class ModelDirectory(dict):
    """Maps a name to a ModelFile or a ModelDirectory. Compared by identity, as inodes are."""

    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__


class ModelError(Exception):
    """The system call must fail with one of these errno values."""

    def __init__(self, *numbers):
        super().__init__(", ".join(errno.errorcode[number] for number in numbers))
        self.numbers = numbers


class Model:
    """Paths are tuples of names. A method does what the system call of its name does, or raises ModelError."""

    def __init__(self):
        self.root = ModelDirectory()

    def lookup(self, path):
        node = self.root
        for name in path:
            if not isinstance(node, ModelDirectory):
                raise ModelError(errno.ENOTDIR)
            if name not in node:
                raise ModelError(errno.ENOENT)
            node = node[name]
        return node

    def parent(self, path):
        directory = self.lookup(path[:-1])
        if not isinstance(directory, ModelDirectory):
            raise ModelError(errno.ENOTDIR)
        return directory

    def names(self, node):
        """How many names the file has."""
        return sum(entry is node for directory in self.directories() for entry in directory.values())

    def directories(self):
        found = [self.root]
        for directory in found:
            found += [entry for entry in directory.values() if isinstance(entry, ModelDirectory)]
        return found

    def create(self, path):
        if path[-1] in self.parent(path):
            raise ModelError(errno.EEXIST)
        self.parent(path)[path[-1]] = ModelFile()

    def mkdir(self, path):
        if path[-1] in self.parent(path):
            raise ModelError(errno.EEXIST)
        self.parent(path)[path[-1]] = ModelDirectory()

    def unlink(self, path):
        if isinstance(self.lookup(path), ModelDirectory):
            raise ModelError(errno.EISDIR)
        del self.parent(path)[path[-1]]

    def rmdir(self, path):
        node = self.lookup(path)
        if not isinstance(node, ModelDirectory):
            raise ModelError(errno.ENOTDIR)
        if node:
            raise ModelError(errno.ENOTEMPTY)
        del self.parent(path)[path[-1]]

    def link(self, old, new):
        node = self.lookup(old)
        if new[-1] in self.parent(new):
            raise ModelError(errno.EEXIST)
        if isinstance(node, ModelDirectory):
            raise ModelError(errno.EPERM)
        self.parent(new)[new[-1]] = node

    def rename(self, old, new):
        source_parent, target_parent = self.parent(old), self.parent(new)
        node = self.lookup(old)
        target = target_parent.get(new[-1])
        if node is target:
            return
        if isinstance(node, ModelDirectory) and new[: len(old)] == old:
            raise ModelError(errno.EINVAL)
        if target is not None and old[: len(new)] == new:
            raise ModelError(errno.ENOTEMPTY)
        if isinstance(target, ModelDirectory):
            if not isinstance(node, ModelDirectory):
                raise ModelError(errno.EISDIR)
            if target:
                raise ModelError(errno.ENOTEMPTY)
        elif target is not None and isinstance(node, ModelDirectory):
            raise ModelError(errno.ENOTDIR)
        del source_parent[old[-1]]
        target_parent[new[-1]] = node

    def exchange(self, old, new):
        source_parent, target_parent = self.parent(old), self.parent(new)
        node, target = self.lookup(old), self.lookup(new)
        if new != old and (new[: len(old)] == old or old[: len(new)] == new):
            raise ModelError(errno.EINVAL)
        source_parent[old[-1]], target_parent[new[-1]] = target, node


def both(modelled, real):
    """Makes the call in the model and on the mount. Both must succeed, or fail with the same error."""
    try:
        modelled()
    except ModelError as error:
        with fails_with(*error.numbers):
            real()
    else:
        real()
