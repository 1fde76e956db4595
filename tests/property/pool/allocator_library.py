# SPDX-License-Identifier: GPL-2.0-or-later
"""The allocator of fuse-daemon/pool/allocator.h for Python: a class around a shared library that only tests use."""

import ctypes
import os
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_bool, c_char_p, c_int, c_uint, c_uint64, c_void_p

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
UNITS = (4 * KIB, 2 * MIB, GIB)
NO_HINT = ANY_REGION = (1 << 64) - 1
ADDRESS_END = 1 << 52


class Extent(Structure):
    _fields_ = [("start", c_uint64), ("length", c_uint64)]


class Request(Structure):
    _fields_ = [(name, c_uint64) for name in ("length", "unit", "file_offset", "hint", "regions")]


class Stats(Structure):
    _fields_ = [(name, c_uint64) for name in ("capacity", "free", "free_2m", "free_1g")]


class GArray(Structure):
    _fields_ = [("data", POINTER(Extent)), ("len", c_uint)]


_VISIT = CFUNCTYPE(None, c_int, c_uint64, c_uint64, c_void_p)

_SIGNATURES = {
    "allocator_new": (c_void_p,),
    "allocator_destroy": (None, c_void_p),
    "allocator_add_region": (c_int, c_void_p, c_uint64, c_uint64),
    "allocator_alloc": (c_int, c_void_p, POINTER(Request), POINTER(GArray)),
    "allocator_claim": (c_int, c_void_p, c_uint64, c_uint64),
    "allocator_free": (c_int, c_void_p, c_uint64, c_uint64),
    "allocator_available": (c_uint64, c_void_p, c_uint64, c_uint64),
    "allocator_get_stats": (None, c_void_p, POINTER(Stats)),
    "allocator_foreach_free": (None, c_void_p, _VISIT, c_void_p),
    "allocator_next_free": (c_bool, c_void_p, c_uint64, c_uint64, c_uint64, POINTER(Extent)),
    "allocator_check": (c_bool, c_void_p, POINTER(c_char_p)),
}


def _declare(library, signatures):
    for name, (result, *arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments


_glib = ctypes.CDLL("libglib-2.0.so.0")
_declare(_glib, {"g_array_new": (POINTER(GArray), c_int, c_int, c_uint), "g_array_unref": (None, POINTER(GArray))})


class Allocator:
    """Errors are returned as in C, as negative errno values."""

    _library = None

    def __init__(self):
        if Allocator._library is None:
            Allocator._library = ctypes.CDLL(os.environ["DMEMFS_ALLOCATOR_LIBRARY"])
            _declare(Allocator._library, _SIGNATURES)
        self._self = self._library.allocator_new()

    def close(self):
        self._library.allocator_destroy(self._self)

    def add_region(self, start, length):
        return self._library.allocator_add_region(self._self, start, length)

    def alloc(self, length, unit, file_offset=0, hint=NO_HINT, regions=ANY_REGION):
        """(error, runs): runs as pairs of start and length."""
        out = _glib.g_array_new(False, False, ctypes.sizeof(Extent))
        request = Request(length, unit, file_offset, hint, regions)
        error = self._library.allocator_alloc(self._self, byref(request), out)
        runs = [(out.contents.data[i].start, out.contents.data[i].length) for i in range(out.contents.len)]
        _glib.g_array_unref(out)
        return error, runs

    def claim(self, start, length):
        return self._library.allocator_claim(self._self, start, length)

    def free(self, start, length):
        return self._library.allocator_free(self._self, start, length)

    def available(self, unit, regions=ANY_REGION):
        return self._library.allocator_available(self._self, unit, regions)

    def stats(self):
        stats = Stats()
        self._library.allocator_get_stats(self._self, byref(stats))
        return stats

    def free_runs(self):
        """(region, start, length) of each maximal free run."""
        runs = []

        def visit(region, start, length, _data):
            runs.append((region, start, length))

        self._library.allocator_foreach_free(self._self, _VISIT(visit), None)
        return runs

    def next_free(self, start, end, regions=ANY_REGION):
        """(start, length), or None."""
        run = Extent()
        found = self._library.allocator_next_free(self._self, regions, start, end, byref(run))
        return (run.start, run.length) if found else None

    def check(self):
        """None, or the invariant that does not hold."""
        reason = c_char_p()
        return None if self._library.allocator_check(self._self, byref(reason)) else reason.value.decode()
