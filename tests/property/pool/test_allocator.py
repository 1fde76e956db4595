# SPDX-License-Identifier: GPL-2.0-or-later
"""Random calls of the allocator and of the model: the same answers, and after each step the same free memory."""

import errno

from allocator_library import ADDRESS_END, ANY_REGION, GIB, KIB, MIB, NO_HINT, UNITS, Allocator
from allocator_model import PAGE, File, Model, Region, pieces
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule


def counts_of(*sizes):
    """
    Lengths in bytes: small numbers of one or of several page sizes, so that odd ends and whole large pages both
    occur.
    """
    return st.one_of(*(st.integers(1, most).map(lambda n, size=size: n * size) for size, most in sizes))


LENGTHS = counts_of((PAGE, 8), (PAGE, 1500), (2 * MIB, 8), (2 * MIB, 1100), (GIB, 2))
GAPS = OFFSETS = st.one_of(st.just(0), counts_of((PAGE, 600), (2 * MIB, 600), (GIB, 2)))
MASKS = st.one_of(st.just(ANY_REGION), st.integers(0, 15))
POSITIONS = st.integers(0, 1 << 20)


class AllocatorMachine(RuleBasedStateMachine):
    runs = Bundle("runs")  # (file offset, start, length) that were handed out; may have been given back since

    def __init__(self):
        super().__init__()
        self.allocator = Allocator()
        self.model = Model()

    def teardown(self):
        self.allocator.close()

    @initialize(layout=st.lists(st.tuples(GAPS, LENGTHS, LENGTHS), min_size=1, max_size=4), data=st.randoms())
    def add_regions(self, layout, data):
        start, regions = 4 * GIB, []
        for gap, length, more in layout:
            regions.append((start + gap, length + more))
            start += gap + length + more
        data.shuffle(regions)
        for index, (start, length) in enumerate(regions):
            assert self.allocator.add_region(start, length) == index
            self.model.regions.append(Region(start, length))

    def address(self, position):
        """An address that is likely to matter: a page in a region, or near the end of a free run."""
        edges = [edge for _, start, length in self.model.free_runs() for edge in (start, start + length)]
        edges += [edge for region in self.model.regions for edge in (region.start, region.end)]
        if position % 2:
            return edges[position // 2 % len(edges)] + (position % 5 - 2) * PAGE * (position % 3)
        region = self.model.regions[position % len(self.model.regions)]
        return region.start + position * 7919 % len(region.used) * PAGE

    @rule(target=runs, length=LENGTHS, offset=OFFSETS, unit=st.sampled_from(UNITS), mask=MASKS)
    def alloc(self, length, offset, unit, mask):
        return self.check_alloc(length, unit, offset, mask)

    @rule(target=runs, run=runs, length=LENGTHS, unit=st.sampled_from(UNITS), mask=MASKS)
    def alloc_behind(self, run, length, unit, mask):
        """A file grows."""
        offset, start, behind = run
        return self.check_alloc(length, unit, offset + behind, mask, start + behind)

    @rule(target=runs, length=LENGTHS, unit=st.sampled_from(UNITS), position=POSITIONS, offset=OFFSETS)
    def alloc_with_any_hint(self, length, unit, position, offset):
        return self.check_alloc(length, unit, offset, ANY_REGION, self.address(position))

    def check_alloc(self, length, unit, offset, mask, hint=NO_HINT):
        length += -length % unit
        offset -= offset % unit
        hint_fits = self.hint_fits(length, unit, offset, mask, hint)
        enough = self.large_pages_there(length, offset, unit, mask)
        error, runs = self.allocator.alloc(length, unit, offset, hint, mask)
        if self.model.available(unit, mask) < length:
            assert (error, runs) == (-errno.ENOSPC, [])
            return multiple()
        assert error == 0
        self.check_runs(runs, length, unit, mask)
        if hint_fits:
            assert runs[0][0] == hint
        if hint == NO_HINT:
            for size in enough:
                assert File(offset, runs).large_pages(size) == pieces(size, offset, length)
        return multiple(*File(offset, runs).runs)

    def hint_fits(self, length, unit, offset, mask, hint):
        """
        Must the allocator continue at the hint? If offset and address have the same alignment, that costs no
        large page.
        """
        region = self.model.region_of(hint)
        if region is None or not mask >> region & 1 or hint % GIB != offset % GIB:
            return False
        return hint + unit <= self.model.regions[region].end and self.model.is_all(hint, unit, False)

    def large_pages_there(self, length, offset, unit, mask):
        """The page sizes for which the region that serves has all pages that the file could use."""
        for index, region in enumerate(self.model.regions):
            if mask >> index & 1 and region.available(unit) >= length:
                # Both ends of each chunk-sized piece may break a block on their own.
                return [size for size, spare in ((GIB, 0), (2 * MIB, 4))
                        if region.available(size) >= (pieces(size, offset, length) + spare) * size]
        return []

    def check_runs(self, runs, length, unit, mask):
        assert sum(length for _, length in runs) == length
        for start, count in runs:
            index = self.model.region_of(start)
            assert index is not None and mask >> index & 1
            assert start + count <= self.model.regions[index].end
            assert start % unit == 0 and count % unit == 0 and count > 0
            assert self.model.is_all(start, count, False)
            self.model.mark(start, count, True)
        for (start, count), (behind, _) in zip(runs, runs[1:]):
            assert start + count != behind or behind in {region.start for region in self.model.regions}

    @rule(run=consumes(runs))
    def free_run(self, run):
        _, start, length = run
        self.check_free(start, length)

    @rule(run=runs, first=st.floats(0, 1), last=st.floats(0, 1))
    def free_part(self, run, first, last):
        _, start, length = run
        first, last = sorted((int(first * (length // PAGE)), int(last * (length // PAGE))))
        self.check_free(start + first * PAGE, (last - first + 1) * PAGE)

    @rule(position=POSITIONS, length=LENGTHS)
    def free_anything(self, position, length):
        self.check_free(self.address(position), length)

    def check_free(self, start, length):
        fine = self.model.parts(start, length) is not None and self.model.is_all(start, length, True)
        assert self.allocator.free(start, length) == (0 if fine else -errno.EINVAL)
        if fine:
            self.model.mark(start, length, False)

    @rule(target=runs, position=POSITIONS, length=LENGTHS)
    def claim(self, position, length):
        start = self.address(position)
        error = self.allocator.claim(start, length)
        if self.model.parts(start, length) is None:
            assert error == -errno.EINVAL
            return multiple()
        if not self.model.is_all(start, length, False):
            assert error == -errno.EBUSY
            return multiple()
        assert error == 0
        self.model.mark(start, length, True)
        return 0, start, length

    @rule(position=POSITIONS, length=LENGTHS, odd=st.integers(1, PAGE - 1))
    def odd_ranges_are_refused(self, position, length, odd):
        start = self.address(position)
        for call in (self.allocator.claim, self.allocator.free, self.allocator.add_region):
            assert call(start + odd, length) == -errno.EINVAL
            assert call(start, length - odd) == -errno.EINVAL
            assert call(start, 0) == -errno.EINVAL
            assert call(start, ADDRESS_END) == -errno.EINVAL
            assert call(start, (1 << 64) - PAGE) == -errno.EINVAL

    @rule(length=LENGTHS, unit=st.sampled_from((*UNITS, 0, KIB, 8 * KIB)), offset=st.integers(0, 1 << 63))
    def odd_requests_are_refused(self, length, unit, offset):
        assume(unit not in UNITS or length % unit or offset % unit)
        assert self.allocator.alloc(length, unit, offset) == (-errno.EINVAL, [])

    @rule(mask=MASKS)
    def available_is_exact(self, mask):
        for unit in UNITS:
            assert self.allocator.available(unit, mask) == self.model.available(unit, mask)

    @rule(position=POSITIONS, length=LENGTHS, mask=MASKS)
    def next_free_ends_where_it_is_told(self, position, length, mask):
        start = self.address(position)
        for end in (start, start + length, ADDRESS_END):
            assert self.allocator.next_free(start, end, mask) == self.model.next_free(start, end, mask)

    @invariant()
    def free_memory_is_the_model_s(self):
        assert self.allocator.free_runs() == self.model.free_runs()

    @invariant()
    def sums_agree(self):
        stats = self.allocator.stats()
        assert stats.capacity == sum(region.length for region in self.model.regions)
        assert (stats.free, stats.free_2m, stats.free_1g) == tuple(self.model.available(unit) for unit in UNITS)

    @invariant()
    def state_holds_together(self):
        assert self.allocator.check() is None


TestAllocator = AllocatorMachine.TestCase
TestAllocator.settings = settings(max_examples=4 * settings.default.max_examples, stateful_step_count=40)
