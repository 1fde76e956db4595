# SPDX-License-Identifier: GPL-2.0-or-later
"""
The host's half of the proof, on the file that is the guest's RAM (token.c has the other half and the page's layout):

  witness.py find FILE TOKEN           reads FILE until it meets the guest's token, prints the offset of its page
  witness.py write FILE OFFSET TOKEN   maps FILE and stores a token in that page
"""

import mmap
import sys

MAGIC = b"dmemfs-RAM-token"
TOKEN_LENGTH = 32
FROM_HOST = len(MAGIC) + TOKEN_LENGTH
HOST_HAS_WRITTEN = FROM_HOST + TOKEN_LENGTH
PAGE_SIZE = 4096
CHUNK = 4 << 20


def find(path, token):
    """The page starts with the pair, so that it never lies across two chunks."""
    wanted = MAGIC + token.encode()
    hits = []
    with open(path, "rb", buffering=0) as file:
        base = 0
        while chunk := file.read(CHUNK):
            at = chunk.find(wanted)
            while at >= 0:
                hits.append(base + at)
                at = chunk.find(wanted, at + 1)
            base += len(chunk)
    if len(hits) != 1 or hits[0] % PAGE_SIZE:
        sys.exit(f"{path}: the token should be at the start of one page; found at {hits or 'no place'}")
    print(hits[0])


def write(path, offset, token):
    with open(path, "r+b", buffering=0) as file:
        with mmap.mmap(file.fileno(), PAGE_SIZE, offset=offset) as page:
            page[FROM_HOST:HOST_HAS_WRITTEN] = token.encode()
            page[HOST_HAS_WRITTEN:HOST_HAS_WRITTEN + 4] = b"\1\0\0\0"  # last: the guest waits for it


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["find", path, token]:
            find(path, token)
        case ["write", path, offset, token]:
            write(path, int(offset), token)
        case _:
            sys.exit(__doc__)
