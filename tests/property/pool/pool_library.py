# SPDX-License-Identifier: GPL-2.0-or-later
"""The pool of fuse-daemon/pool/pool.h for Python: a class around a shared library that only tests use."""

import ctypes
import os
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_bool, c_int, c_uint, c_uint64, c_void_p
from pathlib import Path

from allocator_library import ANY_REGION, NO_HINT, Extent, GArray, Request

# Beside the one of the allocator.
_LIBRARY = "libdmemfs_pool.so"
_HURRY = CFUNCTYPE(None, c_void_p)


class BackendRegion(Structure):
    _fields_ = [("start", c_uint64), ("length", c_uint64), ("node", c_int), ("order", c_uint)]


class Usage(Structure):
    _fields_ = [(name, c_uint64) for name in ("capacity", "free", "allocated", "pending", "promised", "free_2m", "free_1g", "clean",
                                              "dirty", "zeroing", "poisoned", "poisoned_used", "pinned", "pinned_former",
                                              "lent")]


class Piece(Structure):
    _fields_ = [("regions", c_uint64), ("max_bytes", c_uint64), ("hurry", _HURRY), ("data", c_void_p),
                ("runs", POINTER(GArray)), ("at", c_uint64), ("hurried", c_bool)]

    def extents(self):
        return _extents(self.runs)


_RUNS = (c_void_p, POINTER(Extent), c_uint)
_SIGNATURES = {
    "pool_new": (c_void_p, c_void_p, c_uint, c_void_p),
    "pool_destroy": (None, c_void_p),
    "pool_need_zeroing": (None, c_void_p),
    "pool_alloc": (c_int, c_void_p, c_void_p, POINTER(Request), c_void_p),
    "pool_alloc_promised": (c_int, c_void_p, c_void_p, c_int, POINTER(Request), c_bool, c_void_p),
    "pool_promise": (c_int, c_void_p, c_uint64, c_uint64, c_bool),
    "pool_forgo": (None, c_void_p, c_uint64, c_uint64),
    "pool_free": (None, *_RUNS),
    "pool_free_promised": (None, *_RUNS),
    "pool_free_unused": (None, *_RUNS),
    "pool_set_zeroed": (None, *_RUNS),
    "pool_list_stale": (None, *_RUNS, c_void_p),
    "pool_list_clean": (None, *_RUNS, c_void_p),
    "pool_retire": (None, c_void_p, c_uint64, c_void_p),
    "pool_idle": (None, c_void_p, c_uint64),
    "pool_pin_used": (None, c_void_p, Extent, c_void_p),
    "pool_unpin": (c_uint64, c_void_p, Extent, c_bool),
    "pool_believe": (None, c_void_p, Extent, c_void_p),
    "pool_poison": (None, c_void_p, Extent, c_void_p),
    "pool_set_lend_unit": (None, c_void_p, c_uint64),
    "pool_lend_begin": (c_bool, c_void_p, Extent),
    "pool_take_back": (None, c_void_p, Extent),
    "pool_available": (c_uint64, c_void_p, c_void_p, c_uint64, c_uint64),
    "pool_get_usage": (None, c_void_p, POINTER(Usage)),
    "pool_begin_zeroing": (c_bool, c_void_p, POINTER(Piece), c_bool),
    "pool_end_zeroing": (None, c_void_p, POINTER(Piece), c_bool),
    "numa_policy_parse": (c_void_p, ctypes.c_char_p, ctypes.c_size_t),
    "numa_policy_unref": (None, c_void_p),
    "g_array_new": (c_void_p, c_int, c_int, c_uint),
    "g_array_unref": (None, c_void_p),
    "g_array_append_vals": (c_void_p, c_void_p, c_void_p, c_uint),
}


def _extents(array):
    array = ctypes.cast(array, POINTER(GArray)).contents
    return [(array.data[i].start, array.data[i].length) for i in range(array.len)]


class Pool:
    """@regions: (start, length, node, order). @kind: a mask of regions of one order. Runs are pairs of start and length; errors negative errno values."""

    _library = None

    def __init__(self, regions, lend_unit):
        if Pool._library is None:
            Pool._library = ctypes.CDLL(str(Path(os.environ["DMEMFS_ALLOCATOR_LIBRARY"]).with_name(_LIBRARY)))
            for name, (result, *arguments) in _SIGNATURES.items():
                function = getattr(Pool._library, name)
                function.restype, function.argtypes = result, arguments
        array = self._array(BackendRegion, [BackendRegion(*region) for region in regions])
        self._self = self._library.pool_new(array, 1, None)
        self._library.g_array_unref(array)
        self._library.pool_need_zeroing(self._self)
        self._library.pool_set_lend_unit(self._self, lend_unit)
        self._hurry = _HURRY(lambda _data: None)

    def _array(self, kind, values=()):
        array = self._library.g_array_new(False, False, ctypes.sizeof(kind))
        for value in values:
            self._library.g_array_append_vals(array, byref(value), 1)
        return array

    def _taken(self, array):
        runs = _extents(array)
        self._library.g_array_unref(array)
        return runs

    def _call(self, name, runs, *more):
        getattr(self._library, name)(self._self, (Extent * len(runs))(*runs), len(runs), *more)

    def close(self):
        self._library.pool_destroy(self._self)

    def alloc(self, length, unit, file_offset=0, policy=None, promised=False, kind=ANY_REGION):
        """(error, runs). @policy: as in dmemfs.node. @promised: bytes that promise() has promised."""
        out = self._array(Extent)
        request = Request(length, unit, file_offset, NO_HINT, kind)
        node = self._library.numa_policy_parse(policy.encode(), len(policy)) if policy else None
        if promised:
            error = self._library.pool_alloc_promised(self._self, node, -1, byref(request), True, out)
        else:
            error = self._library.pool_alloc(self._self, node, byref(request), out)
        if node:
            self._library.numa_policy_unref(node)
        return error, self._taken(out)

    def promise(self, length, kind=ANY_REGION):
        """0 or a negative errno."""
        return self._library.pool_promise(self._self, kind, length, True)

    def forgo(self, length, kind=ANY_REGION):
        self._library.pool_forgo(self._self, kind, length)

    def free_promised(self, runs):
        self._call("pool_free_promised", runs)

    def free(self, runs, unused=False):
        self._call("pool_free_unused" if unused else "pool_free", runs)

    def set_zeroed(self, runs):
        self._call("pool_set_zeroed", runs)

    def stale(self, runs):
        out = self._array(Extent)
        self._call("pool_list_stale", runs, out)
        return self._taken(out)

    def clean(self, runs):
        out = self._array(Extent)
        self._call("pool_list_clean", runs, out)
        return self._taken(out)

    def believe(self, run):
        out = self._array(Extent)
        self._library.pool_believe(self._self, Extent(*run), out)
        return self._taken(out)

    def poison(self, run):
        """Marks the run as bad. Returns the parts of it that were not known to be bad."""
        out = self._array(Extent)
        self._library.pool_poison(self._self, Extent(*run), out)
        return self._taken(out)

    def retire(self, name, runs):
        self._library.pool_retire(self._self, name, self._array(Extent, [Extent(*run) for run in runs]))

    def idle(self, name):
        self._library.pool_idle(self._self, name)

    def pin(self, runs):
        for run in runs:
            self._library.pool_pin_used(self._self, Extent(*run), None)

    def unpin(self, run, promise):
        return self._library.pool_unpin(self._self, Extent(*run), promise)

    def lend(self, unit):
        """False: it is not wholly free and clean."""
        return self._library.pool_lend_begin(self._self, Extent(*unit))

    def take_back(self, unit):
        self._library.pool_take_back(self._self, Extent(*unit))

    def available(self, kind, unit):
        return self._library.pool_available(self._self, None, kind, unit)

    def usage(self):
        usage = Usage()
        self._library.pool_get_usage(self._self, byref(usage))
        return usage

    def begin(self, max_bytes, regions):
        """The piece to zero, or None. The caller must end it."""
        piece = Piece(regions=regions, max_bytes=max_bytes, hurry=self._hurry)
        piece.runs = ctypes.cast(self._array(Extent), POINTER(GArray))
        if self._library.pool_begin_zeroing(self._self, byref(piece), False):
            return piece
        self._library.g_array_unref(piece.runs)
        return None

    def end(self, piece, zeroed):
        self._library.pool_end_zeroing(self._self, byref(piece), zeroed)
        self._library.g_array_unref(piece.runs)
