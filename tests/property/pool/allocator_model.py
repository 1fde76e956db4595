# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of the allocator: one byte for each page, which says whether the page is used."""

from allocator_library import ANY_REGION, GIB, KIB, MIB

PAGE = 4 * KIB


def pieces(size, start, length):
    """The number of whole aligned pieces of @size in [start, start + length)."""
    return max(0, (start + length) // size - -(-start // size))


class Region:
    def __init__(self, start, length):
        self.start, self.length, self.end = start, length, start + length
        self.used = bytearray(length // PAGE)

    def slice(self, start, end):
        return slice((start - self.start) // PAGE, (end - self.start) // PAGE)

    def free_runs(self):
        at = self.used.find(0)
        while at >= 0:
            end = self.used.find(1, at)
            end = len(self.used) if end < 0 else end
            yield self.start + at * PAGE, (end - at) * PAGE
            at = self.used.find(0, end)

    def available(self, unit):
        return sum(pieces(unit, *run) for run in self.free_runs()) * unit


class Model:
    def __init__(self):
        self.regions = []

    def parts(self, start, length):
        """(region, start, end) for each region that the range touches. None when a part of it is in no region."""
        found = []
        while length > 0:
            region = next((r for r in self.regions if r.start <= start < r.end), None)
            if region is None:
                return None
            end = min(start + length, region.end)
            found.append((region, start, end))
            start, length = end, start + length - end
        return found

    def region_of(self, address):
        return next((i for i, r in enumerate(self.regions) if r.start <= address < r.end), None)

    def is_all(self, start, length, used):
        return all(region.used.find(not used, *region.slice(a, b).indices(len(region.used))[:2]) < 0
                   for region, a, b in self.parts(start, length))

    def mark(self, start, length, used):
        for region, a, b in self.parts(start, length):
            region.used[region.slice(a, b)] = bytes([used]) * ((b - a) // PAGE)

    def free_runs(self):
        return [(i, *run) for i, region in enumerate(self.regions) for run in region.free_runs()]

    def next_free(self, start, end, mask=ANY_REGION):
        runs = [(max(at, start), min(at + length, end)) for i, at, length in self.free_runs() if mask >> i & 1]
        return min(((at, to - at) for at, to in runs if at < to), default=None)

    def available(self, unit, mask=ANY_REGION):
        return sum(region.available(unit) for i, region in enumerate(self.regions) if mask >> i & 1)


class File:
    """The runs of a request, as a file has them."""

    def __init__(self, offset, runs):
        self.runs = []
        for start, length in runs:
            self.runs.append((offset, start, length))
            offset += length

    def large_pages(self, size):
        """The number of whole aligned pieces of the file that a page-table entry of @size could map."""
        return sum(pieces(size, offset, length) for offset, start, length in self.runs if offset % size == start % size)


__all__ = ["File", "GIB", "MIB", "Model", "PAGE", "Region", "pieces"]
