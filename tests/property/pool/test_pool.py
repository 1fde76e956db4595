# SPDX-License-Identifier: GPL-2.0-or-later
"""
Random use of memory: taken, written, given back, zeroed in advance and on request. The model knows the state of each 2
MiB. The pool must never call memory clean that is not, and never lose memory that is clean. Regions have one of two kinds of
pages; a request for memory of one kind must get no other.
"""

import threading
from itertools import count

from allocator_library import GIB, MIB
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pool_library import Pool

UNIT = 2 * MIB
LEND_UNIT = 8 * MIB
CLEAN, DIRTY = "clean", "dirty"
# Long enough for a call that does not wait; only how often memory in work is asked for depends on it.
MOMENT = 0.05

LENGTHS = st.one_of(st.integers(1, 12), st.integers(1, 600))  # units
POLICIES = st.sampled_from((None, None, "0", "1", "0,1", "prefer:1"))
CHOICES = st.integers(0, 1 << 16)
ORDERS = st.sampled_from((0, 9))


def units_of(runs):
    """The addresses of the units in @runs."""
    return [address for start, length in runs for address in range(start, start + length, UNIT)]


class PlacementMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.pool = None
        self.free = {}  # address of a unit: CLEAN or DIRTY
        self.files = []  # runs, all zeroed and then used
        self.stale = []  # (runs, units that are not zero): taken, and not yet used
        self.pending = {}  # name: runs
        self.pinned = set()  # units
        self.lent = set()  # addresses of units of LEND_UNIT
        self.pieces = []  # (piece, units)
        self.promised = {0: 0, 9: 0}  # order: units
        self.bad, self.retired = set(), set()  # units; the second those that nobody has
        self.names = count(1)

    def teardown(self):
        for piece, _ in self.pieces:
            self.pool.end(piece, False)
        self.pool.close()

    @initialize(lengths=st.lists(st.tuples(st.integers(1, 700), ORDERS), min_size=1, max_size=3), gap=st.integers(0, 600))
    def make(self, lengths, gap):
        start, regions = 4 * GIB, []
        for index, (length, order) in enumerate(lengths):
            regions.append((start, length * UNIT, index % 2, order))
            start += (length + gap) * UNIT
        self.regions = regions
        self.pool = Pool(regions, LEND_UNIT)
        self.free = {unit: DIRTY for unit in units_of([region[:2] for region in regions])}

    def nodes(self):
        return {region[2] for region in self.regions}

    def kind(self, order):
        """The mask of its regions."""
        return sum(1 << index for index, region in enumerate(self.regions) if region[3] == order)

    def free_of(self, order):
        """Addresses of its free units."""
        return self.free.keys() & set(units_of([region[:2] for region in self.regions if region[3] == order]))

    @rule(length=LENGTHS, order=ORDERS)
    def promise(self, length, order):
        """Promised and taken memory of a kind together are never more than there is."""
        error = self.pool.promise(length * UNIT, self.kind(order))
        assert (error == 0) == (self.promised[order] + length <= len(self.free_of(order)))
        self.promised[order] += 0 if error else length

    @precondition(lambda self: any(self.promised.values()))
    @rule(which=CHOICES)
    def forgo(self, which):
        order = max(self.promised, key=self.promised.get)
        length = 1 + which % self.promised[order]
        self.pool.forgo(length * UNIT, self.kind(order))
        self.promised[order] -= length

    @precondition(lambda self: any(self.promised.values()))
    @rule(which=CHOICES, policy=POLICIES)
    def redeem(self, which, policy):
        """Promised memory can be taken, unless memory has gone bad: without a policy and in the pool's own unit."""
        order = max(self.promised, key=self.promised.get)
        self.take_units(1 + which % self.promised[order], policy, UNIT, 0, True, order)

    @precondition(lambda self: self.files)
    @rule(which=CHOICES)
    def give_back_for_later(self, which):
        runs = self.files.pop(which % len(self.files))
        self.pool.free_promised(runs)
        self.come_back(runs, lambda address: DIRTY)
        self.promised[self.order_at(runs[0][0])] += len(units_of(runs))

    @rule(length=LENGTHS, policy=POLICIES, unit=st.sampled_from((UNIT, UNIT, UNIT, GIB)), offset=st.integers(0, 600),
          order=ORDERS)
    def take(self, length, policy, unit, offset, order):
        self.take_units(length, policy, unit, offset, False, order)

    def order_at(self, address):
        return next(region[3] for region in self.regions if region[0] <= address < region[0] + region[1])

    def take_units(self, length, policy, unit, offset, promised, order):
        if policy and not {int(node) for node in policy.removeprefix("prefer:").split(",")} <= self.nodes():
            return
        if unit == GIB:
            length, offset = -(-length // 512) * 512, offset // 512 * 512
        answer = []
        thread = threading.Thread(
            target=lambda: answer.append(self.pool.alloc(length * UNIT, unit, offset * UNIT, policy, promised,
                                                         self.kind(order))))
        zeroed_meanwhile = set()
        thread.start()
        thread.join(MOMENT if self.pieces else None)
        if thread.is_alive():  # for a piece in work: that is the only thing to wait for
            for piece, units in self.pieces:
                zeroed_meanwhile |= set(units)
                self.pool.end(piece, True)
            self.free.update((address, CLEAN) for _, units in self.pieces for address in units if address in self.free)
            waited_for, self.pieces = bool(self.pieces), []
            assert waited_for
            thread.join()
        error, runs = answer[0]
        free = self.free_of(order)
        if error:
            assert runs == []
            assert policy or not promised or length > len(free)
            return
        assert promised or length + self.promised[order] <= len(free)
        self.promised[order] -= length if promised else 0
        taken = units_of(runs)
        assert len(taken) == length == len(set(taken)) and set(taken) <= free
        dirty = {address for address in taken if self.free.pop(address) == DIRTY}
        assert set(units_of(self.pool.stale(runs))) == dirty
        self.stale.append((runs, dirty))

    def come_back(self, runs, state_of):
        """Gives @runs back. Bad memory does not become free."""
        for address in units_of(runs):
            if address in self.bad:
                self.retired.add(address)
            else:
                self.free[address] = state_of(address)

    @rule(which=CHOICES, length=st.integers(1, 4))
    def go_bad(self, which, length):
        there = units_of([region[:2] for region in self.regions])
        start = there[which % len(there)]
        spoiled = {start + index * UNIT for index in range(length)} & set(there)
        added = units_of(self.pool.poison((start, length * UNIT)))
        assert sorted(added) == sorted(spoiled - self.bad)
        self.bad |= spoiled
        self.retired |= spoiled & self.free.keys()
        for address in spoiled:
            self.free.pop(address, None)

    @precondition(lambda self: self.stale)
    @rule(which=CHOICES)
    def zero_in_need_and_use(self, which):
        runs, dirty = self.stale.pop(which % len(self.stale))
        stale = self.pool.stale(runs)
        assert set(units_of(stale)) == dirty
        self.pool.set_zeroed(stale)
        assert self.pool.stale(runs) == []
        self.files.append(runs)

    @precondition(lambda self: self.stale)
    @rule(which=CHOICES)
    def change_one_s_mind(self, which):
        runs, dirty = self.stale.pop(which % len(self.stale))
        self.pool.free(runs, unused=True)
        self.come_back(runs, lambda address: DIRTY if address in dirty else CLEAN)

    @precondition(lambda self: self.files)
    @rule(which=CHOICES, shrink=st.booleans())
    def give_back(self, which, shrink):
        runs = self.files.pop(which % len(self.files))
        if shrink and len(runs) > 1:
            self.files.append(runs[:1])
            runs = runs[1:]
        self.pool.free(runs)
        self.come_back(runs, lambda address: DIRTY)

    @precondition(lambda self: self.files)
    @rule(which=CHOICES)
    def remove_while_mapped(self, which):
        runs, name = self.files.pop(which % len(self.files)), next(self.names)
        self.pool.retire(name, runs)
        self.pending[name] = runs

    @precondition(lambda self: self.files)
    @rule(which=CHOICES)
    def give_back_what_a_device_holds(self, which):
        runs = self.files.pop(which % len(self.files))
        self.pool.pin(runs)
        self.pinned |= set(units_of(runs))

    @precondition(lambda self: self.pinned)
    @rule(which=CHOICES, length=st.integers(1, 40), promise=st.booleans())
    def device_lets_go(self, which, length, promise):
        """Of a range that has some of it, and perhaps memory of others. The last owner may be promised as much."""
        run = (sorted(self.pinned)[which % len(self.pinned)], length * UNIT)
        promised = self.pool.unpin(run, promise)
        gone = self.pinned & set(units_of([run]))
        self.pinned -= gone
        assert promised == (len(gone) * UNIT if promise else 0)
        for address in gone if promise else ():
            self.promised[self.order_at(address)] += 1
        self.come_back([(address, UNIT) for address in gone], lambda address: DIRTY)

    @rule(which=CHOICES)
    def lend(self, which):
        """Only a whole unit whose memory is free, good and clean."""
        region = self.regions[which % len(self.regions)]
        first = -(-region[0] // LEND_UNIT)
        units = range(first, (region[0] + region[1]) // LEND_UNIT)
        if not units:
            return
        start = units[which // len(self.regions) % len(units)] * LEND_UNIT
        parts = set(units_of([(start, LEND_UNIT)]))
        lendable = all(self.free.get(address) == CLEAN for address in parts)
        assert self.pool.lend((start, LEND_UNIT)) == lendable
        if lendable:
            self.lent.add(start)
            for address in parts:
                del self.free[address]

    @precondition(lambda self: self.lent)
    @rule(which=CHOICES)
    def take_back(self, which):
        """The host's kernel may have written to all of it."""
        start = sorted(self.lent)[which % len(self.lent)]
        self.lent.remove(start)
        self.pool.take_back((start, LEND_UNIT))
        self.come_back([(start, LEND_UNIT)], lambda address: DIRTY)

    @precondition(lambda self: self.pending)
    @rule(which=CHOICES)
    def unmap(self, which):
        name = sorted(self.pending)[which % len(self.pending)]
        self.pool.idle(name)
        self.come_back(self.pending.pop(name), lambda address: DIRTY)

    @precondition(lambda self: not self.pieces)
    @rule(size=st.integers(1, 300))
    def begin(self, size):
        """Takes a piece of each node, as the workers do."""
        for node in sorted(self.nodes()):
            mask = sum(1 << index for index, region in enumerate(self.regions) if region[2] == node)
            there = units_of([region[:2] for region in self.regions if region[2] == node])
            dirty = {address for address in there if self.free.get(address) == DIRTY}
            piece = self.pool.begin(size * UNIT, mask)
            assert (piece is None) == (not dirty)
            if piece:
                units = units_of(piece.extents())
                assert len(units) == len(set(units)) <= size and set(units) <= dirty
                self.pieces.append((piece, units))

    @precondition(lambda self: self.pieces)
    @rule(good=st.booleans(), which=CHOICES)
    def end(self, good, which):
        piece, units = self.pieces.pop(which % len(self.pieces))
        self.pool.end(piece, good)
        if good:
            self.free.update((address, CLEAN) for address in units if address in self.free)

    @precondition(lambda self: self.pool and not self.pieces)
    @rule()
    def zero_all(self):
        for index in range(len(self.regions)):
            while piece := self.pool.begin(GIB, 1 << index):
                self.pool.end(piece, True)
        self.free = {address: CLEAN for address in self.free}

    @invariant()
    def figures_are_the_model_s(self):
        if not self.pool:
            return
        usage = self.pool.usage()
        in_work = {address for _, units in self.pieces for address in units if address in self.free}
        clean = [address for address, state in self.free.items() if state == CLEAN]
        assert (usage.clean, usage.zeroing) == (len(clean) * UNIT, len(in_work) * UNIT)
        assert usage.promised == sum(self.promised.values()) * UNIT
        assert usage.free == usage.clean + usage.dirty + usage.zeroing == len(self.free) * UNIT
        used = self.files + [runs for runs, _ in self.stale]
        assert usage.pending == len(units_of(sum(self.pending.values(), []))) * UNIT
        assert usage.allocated == len(units_of(sum(used, []))) * UNIT
        assert usage.pinned == len(self.pinned) * UNIT
        assert usage.lent == len(self.lent) * LEND_UNIT
        assert usage.free + usage.pending + usage.pinned + usage.poisoned + usage.allocated + usage.lent == usage.capacity
        assert (usage.poisoned, usage.poisoned_used) == (len(self.retired) * UNIT, len(self.bad - self.retired) * UNIT)
        whole = [region[:2] for region in self.regions]
        assert set(units_of(self.pool.clean(whole))) == set(clean)


TestPlacement = PlacementMachine.TestCase
TestPlacement.settings = settings(stateful_step_count=40)
