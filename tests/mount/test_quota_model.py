# SPDX-License-Identifier: GPL-2.0-or-later
"""
Quotas against a model without counters: it computes the usage of a tree from all that lies in the tree. Hypothesis
makes sequences of calls, changes of limits and crashes. The mount and the model must refuse the same calls and report
the same usage.
"""

import errno
import os

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from helpers.model import Model, ModelDirectory, ModelError, ModelFile, both
from helpers.quota import MAX_BYTES, MAX_FILES, is_tree, used, wait_used
from helpers.syscalls import RENAME_EXCHANGE, renameat2

BYTES, FILES = 0, 1
NAMES = (MAX_BYTES, MAX_FILES)

# Which of the paths that there are, and which of few names in which of the directories that there are: so they meet.
existing = st.integers(0, 99)
slots = st.tuples(st.integers(0, 99), st.sampled_from("abc"))
units = st.integers(0, 6)


class QuotaModel(Model):
    """Adds limits to the model of names. Sizes are in units; a file's memory is its size."""

    def __init__(self):
        super().__init__()
        self.outer = ModelDirectory()  # so that the top has a name, and a parent
        self.outer["top"] = self.root
        self.nameless = []  # (file that is open, its trees from the inside out when it lost its name)

    def chain(self, path):
        """The trees that count what lies in the directory, innermost first."""
        found, node = [self.root], self.root
        for name in path:
            node = node[name]
            found.append(node)
        return [node for node in reversed(found) if any(self.limits(node))]

    @staticmethod
    def limits(directory):
        return getattr(directory, "limits", [None, None])

    @staticmethod
    def below(node):
        """Each inode at and below the node once, with the number of names that it has there."""
        seen, todo = {}, [node]
        while todo:
            at = todo.pop()
            count = seen.setdefault(id(at), [at, 0])
            count[1] += 1
            if isinstance(at, ModelDirectory):
                todo += at.values()
        return seen

    def weigh(self, node):
        """[bytes, files] of the node and all that lies below."""
        found = [count[0] for count in self.below(node).values()]
        return [sum(at.units for at in found if isinstance(at, ModelFile)), len(found)]

    def usage(self, tree):
        total, files = self.weigh(tree)
        total += sum(file.units for file, chain in self.nameless if any(tree is at for at in chain))
        return total, files - 1

    def check(self, gains):
        """
        Raises EDQUOT when a tree that grows would exceed its limit. @gains: (trees, [more bytes, more files] of
        each).
        """
        for trees, more in gains:
            for tree in trees:
                usage, limits = self.usage(tree), self.limits(tree)
                for what in (BYTES, FILES):
                    if more[what] > 0 and limits[what] is not None and usage[what] + more[what] > limits[what]:
                        raise ModelError(errno.EDQUOT)

    def check_may_leave(self, node):
        """Raises EXDEV for what cannot move to another tree."""
        if isinstance(node, ModelDirectory):
            stays = node or any(self.limits(node))
        else:
            stays = self.names(node) > 1
        if stays:
            raise ModelError(errno.EXDEV)

    def create(self, path):
        if path[-1] in self.parent(path):
            raise ModelError(errno.EEXIST)
        self.check([(self.chain(path[:-1]), [0, 1])])
        super().create(path)
        self.lookup(path).units = 0

    def mkdir(self, path):
        if path[-1] in self.parent(path):
            raise ModelError(errno.EEXIST)
        self.check([(self.chain(path[:-1]), [0, 1])])
        super().mkdir(path)

    def link(self, old, new):
        node = self.lookup(old)
        if new[-1] not in self.parent(new) and not isinstance(node, ModelDirectory):
            source, target = self.chain(old[:-1]), self.chain(new[:-1])
            if [id(tree) for tree in source] != [id(tree) for tree in target]:
                raise ModelError(errno.EXDEV)
        super().link(old, new)

    def resize(self, node, chain, size):
        self.check([(chain, [size - node.units, 0])])
        node.units = size

    def find_chain(self, node):
        """The same for a file, by any of its names, or by where it lost its last one."""
        for path in self.all_paths():
            if self.lookup(path) is node:
                return self.chain(path[:-1])
        return next(chain for file, chain in self.nameless if file is node)

    def all_paths(self, top=(), node=None):
        for name, at in (self.root if node is None else node).items():
            yield top + (name,)
            if isinstance(at, ModelDirectory):
                yield from self.all_paths(top + (name,), at)

    def trees_apart(self, old, new):
        """(trees that have only the old place in them, trees that have only the new one)"""
        source, target = self.chain(old[:-1]), self.chain(new[:-1])
        return ([tree for tree in source if not any(tree is at for at in target)],
                [tree for tree in target if not any(tree is at for at in source)])

    def check_move(self, old, new, exchanged):
        node, other = self.lookup(old), self.parent(new).get(new[-1])
        left, entered = self.trees_apart(old, new)
        if not left and not entered:
            return
        self.check_may_leave(node)
        more, less = self.weigh(node), [0, 0]
        if exchanged:
            self.check_may_leave(other)
            less = self.weigh(other)
        elif other is not None:
            less = [0, 1 if isinstance(other, ModelDirectory) else self.names(other) == 1]
        back = less if exchanged else [0, 0]
        self.check([(entered, [more[what] - less[what] for what in (BYTES, FILES)]),
                    (left, [back[what] - more[what] for what in (BYTES, FILES)])])

    def attempt(self, action, old, new):
        """
        Makes the change of names and undoes it: errors of names come before those of quotas. Returns whether it
        changed any.
        """
        super_action = getattr(super(), action)
        before = [(directory, dict(directory)) for directory in self.directories()]
        super_action(old, new)
        changed = any(dict(directory) != content for directory, content in before)
        for directory, content in before:
            directory.clear()
            directory.update(content)
        return changed

    def rename(self, old, new):
        if self.attempt("rename", old, new) and self.lookup(old) is not self.parent(new).get(new[-1]):
            self.check_move(old, new, False)
            self.lose(new)
        super().rename(old, new)

    def exchange(self, old, new):
        self.attempt("exchange", old, new)
        if self.lookup(old) is not self.lookup(new):
            self.check_move(old, new, True)
        super().exchange(old, new)

    def lose(self, path):
        """The name is about to be removed. A file that is open still counts where it lay."""
        node = self.parent(path).get(path[-1])
        if isinstance(node, ModelFile) and self.names(node) == 1:
            self.nameless.append((node, self.chain(path[:-1])))

    def unlink(self, path):
        if isinstance(self.lookup(path), ModelDirectory):
            raise ModelError(errno.EISDIR)
        self.lose(path)
        super().unlink(path)

    def set_limit(self, path, what, limit):
        directory = self.lookup(path)
        if not isinstance(directory, ModelDirectory):
            raise ModelError(errno.ENOTDIR)
        limits = list(self.limits(directory))
        if limit is None and limits[what] is None:
            raise ModelError(errno.ENODATA)
        if not any(limits):
            for node in directory.values():
                for at, _ in self.below(node).values():
                    if isinstance(at, ModelFile) and self.below(directory)[id(at)][1] != self.names(at):
                        raise ModelError(errno.EXDEV)
        limits[what] = limit
        directory.limits = limits
        if not any(limits):
            self.dissolve(directory)

    def dissolve(self, tree):
        """Files without a name that counted in the tree now count in the trees around it."""
        self.nameless = [(file, [at for at in chain if at is not tree]) for file, chain in self.nameless]

    def rmdir(self, path):
        node = self.lookup(path)
        super().rmdir(path)
        self.dissolve(node)


def machine_for(fs):
    examples = iter(range(1 << 30))

    class Quotas(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.top = fs / f"example{next(examples)}"
            self.top.mkdir()
            self.model = QuotaModel()
            self.open = []  # (descriptor, file)
            for path in (("a",), ("b",), ("a", "c")):
                self.model.mkdir(path)
                self.real(path).mkdir()
            for number, limit in ((0, 8), (1, 4)):
                self.change_limit(("a", "b")[number], BYTES, limit)
            for path in (("a", "a"), ("a", "c", "a"), ("b", "a")):
                self.do_create(path)
                self.do_truncate(path, 2)

        def real(self, path):
            return self.top.joinpath(*path)

        def path_of(self, number):
            """An existing path, if there is any."""
            paths = sorted(self.model.all_paths())
            return paths[number % len(paths)] if paths else ("a",)

        def directory_of(self, number):
            paths = [()] + [path for path in sorted(self.model.all_paths())
                            if isinstance(self.model.lookup(path), ModelDirectory)]
            return paths[number % len(paths)]

        def path_in(self, slot):
            return self.directory_of(slot[0]) + (slot[1],)

        def both(self, modelled, real):
            both(modelled, real)
            held = {id(node) for _, node in self.open}
            self.model.nameless = [(node, chain) for node, chain in self.model.nameless if id(node) in held]

        def do_create(self, path):
            self.both(lambda: self.model.create(path),
                      lambda: os.close(os.open(self.real(path), os.O_CREAT | os.O_EXCL | os.O_RDWR)))

        def do_truncate(self, path, size):
            def modelled():
                node = self.model.lookup(path)
                if isinstance(node, ModelDirectory):
                    raise ModelError(errno.EISDIR)
                self.model.resize(node, self.model.chain(path[:-1]), size)

            self.both(modelled, lambda: os.truncate(self.real(path), size * fs.unit))

        def change_limit(self, path, what, limit):
            text = str((limit or 0) * (fs.unit if what == BYTES else 1)).encode()
            self.both(lambda: self.model.set_limit(path, what, limit),
                      lambda: os.setxattr(self.real(path), NAMES[what], text) if limit
                      else os.removexattr(self.real(path), NAMES[what]))

        @rule(slot=slots, size=units)
        def create(self, slot, size):
            path = self.path_in(slot)
            self.do_create(path)
            if path in self.model.all_paths():
                self.do_truncate(path, size)

        @rule(slot=slots)
        def mkdir(self, slot):
            path = self.path_in(slot)
            self.both(lambda: self.model.mkdir(path), lambda: self.real(path).mkdir())

        @rule(number=existing)
        def unlink(self, number):
            path = self.path_of(number)
            self.both(lambda: self.model.unlink(path), lambda: self.real(path).unlink())

        @rule(number=existing)
        def rmdir(self, number):
            path = self.path_of(number)
            self.both(lambda: self.model.rmdir(path), lambda: self.real(path).rmdir())

        @rule(number=existing, slot=slots)
        def link(self, number, slot):
            old, new = self.path_of(number), self.path_in(slot)
            self.both(lambda: self.model.link(old, new), lambda: os.link(self.real(old), self.real(new)))

        @rule(number=existing, slot=slots)
        def rename(self, number, slot):
            old, new = self.path_of(number), self.path_in(slot)
            self.both(lambda: self.model.rename(old, new), lambda: os.rename(self.real(old), self.real(new)))

        @rule(first=existing, second=existing)
        def exchange(self, first, second):
            old, new = self.path_of(first), self.path_of(second)
            self.both(lambda: self.model.exchange(old, new),
                      lambda: renameat2(self.real(old), self.real(new), RENAME_EXCHANGE))

        @rule(number=existing, size=units)
        def truncate(self, number, size):
            self.do_truncate(self.path_of(number), size)

        @rule(number=existing)
        def open_file(self, number):
            """The descriptor stays open when the path is renamed or unlinked."""
            path = self.path_of(number)
            if path in self.model.all_paths() and isinstance(self.model.lookup(path), ModelFile):
                self.open.append((os.open(self.real(path), os.O_RDWR), self.model.lookup(path)))

        @precondition(lambda self: self.open)
        @rule(size=units)
        def resize_open_file(self, size):
            fd, node = self.open[0]
            self.both(lambda: self.model.resize(node, self.model.find_chain(node), size),
                      lambda: os.ftruncate(fd, size * fs.unit))

        @precondition(lambda self: self.open)
        @rule()
        def close_file(self):
            fd, _ = self.open.pop(0)
            os.close(fd)
            self.both(lambda: None, lambda: None)

        @rule(number=existing, limit=st.integers(1, 8), what=st.sampled_from((BYTES, FILES)))
        def set_limit(self, number, limit, what):
            self.change_limit(self.directory_of(number), what, limit)

        @rule(number=existing, what=st.sampled_from((BYTES, FILES)))
        def remove_limit(self, number, what):
            self.change_limit(self.directory_of(number), what, None)

        @rule(how=st.sampled_from(("stop", "kill")))
        def restart(self, how):
            while self.open:
                self.close_file()
            if how == "kill":
                fs.daemon.kill()
                fs.daemon.next()
            else:
                fs.daemon.stop()
                fs.daemon.start()

        @invariant()
        def usage_is_the_sum(self):
            for path in [(), *self.model.all_paths()]:
                node = self.model.lookup(path) if path else self.model.root
                if isinstance(node, ModelDirectory):
                    limited = any(self.model.limits(node))
                    assert is_tree(self.real(path)) == limited
                    if limited:
                        total, files = self.model.usage(node)
                        wait_used(self.real(path), (total * fs.unit, files))

        def teardown(self):
            for fd, _ in self.open:
                os.close(fd)
            assert used(fs.root)[1] >= 1
            self.remove(self.model.root, self.top)
            fs.check()
            wait_used(fs.root, (0, 0))

        def remove(self, directory, path):
            for name, node in directory.items():
                if isinstance(node, ModelDirectory):
                    self.remove(node, path / name)
                else:
                    (path / name).unlink()
            path.rmdir()

    return Quotas


@pytest.mark.page_sizes("4K")
@pytest.mark.timeout(1800)
def test_any_sequence_of_calls_is_refused_where_the_model_refuses(fs):
    run_state_machine_as_test(machine_for(fs))
