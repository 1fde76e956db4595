# SPDX-License-Identifier: GPL-2.0-or-later
"""
shared/dmemfs_ioctl.h for Python, read from the header itself. Structs become ctypes structures, enums and requests
become numbers, each by its C name without the prefix "dmemfs_".
"""

import ctypes
import re
from pathlib import Path

HEADER = Path(__file__).resolve().parents[2] / "shared" / "dmemfs_ioctl.h"
_TYPES = {"__u8": ctypes.c_uint8, "__u32": ctypes.c_uint32, "__s32": ctypes.c_int32, "__u64": ctypes.c_uint64,
          "__s64": ctypes.c_int64, "char": ctypes.c_char}
_WRITE, _READ = 1, 2  # asm-generic/ioctl.h
_DIRECTIONS = {"_IO": 0, "_IOW": _WRITE, "_IOR": _READ, "_IOWR": _READ | _WRITE}

_text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)


def _structs():
    for name, body in re.findall(r"struct dmemfs_(\w+) \{(.*?)\};", _text, re.DOTALL):
        fields = []
        for kind, member, count in re.findall(r"(\w+) (\w+)(?:\[(\d+)\])?;", body):
            fields.append((member, _TYPES[kind] * int(count) if count else _TYPES[kind]))
        yield name, type(name, (ctypes.Structure,), {"_fields_": fields})


def _constants():
    """The values of #define NAME NUMBER and of all enum constants."""
    for name, value in re.findall(r"^#define DMEMFS_(\w+) +([\dxA-Fa-f]+)$", _text, re.MULTILINE):
        yield name, int(value, 0)
    for body in re.findall(r"enum dmemfs_\w+ \{(.*?)\};", _text, re.DOTALL):
        values = {}
        for name, value in re.findall(r"DMEMFS_(\w+) = (\w+)", body):
            values[name] = int(value) if value.isdecimal() else values[value.removeprefix("DMEMFS_")]
        assert len(values) == body.count(" = "), f"misread: {body}"
        yield from values.items()


def _requests():
    pattern = r"#define DMEMFS_IOC_(\w+) +(_IO\w*)\(DMEMFS_IOC_MAGIC, (\w+), struct dmemfs_(\w+)\)"
    for name, direction, number, argument in re.findall(pattern, _text):
        code = (_DIRECTIONS[direction] << 30 | ctypes.sizeof(STRUCTS[argument]) << 16
                | CONSTANTS["IOC_MAGIC"] << 8 | int(number, 0))
        yield name, (code, STRUCTS[argument])


STRUCTS = dict(_structs())
CONSTANTS = dict(_constants())
REQUESTS = dict(_requests())  # name: (number, type of its argument)

for _name, _size in re.findall(r"DMEMFS_ASSERT_SIZE\(dmemfs_(\w+), (\d+)\)", _text):
    assert ctypes.sizeof(STRUCTS[_name]) == int(_size), f"struct dmemfs_{_name} is misread"
assert len(REQUESTS) == _text.count("#define DMEMFS_IOC_") - 1, "a request is misread"
