"""Which keys did records of the log touch?

WATCH, and answers that must wait for a batch, ask this.  The records themselves
are the truth: a record names the keys that it changes, and perhaps some that it only
reads (COPY, BITOP), and the command table knows where on a command line which stand.
"""

from __future__ import annotations

from collections.abc import Iterable

import hiredis

from perdure.store.command import LOGGED, find

EVERY_DATABASE = -1

_MARKERS = (b"MULTI", b"EXEC")


def commands_of(payload: bytes) -> list[list[bytes]]:
    """The command lines of a payload."""
    reader = hiredis.Reader(notEnoughData=None)
    reader.feed(payload)
    return list(iter(reader.gets, None))


def touched(records: Iterable[bytes], db_index: int) -> list[tuple[int, bytes | None]]:
    """(database, key) for each key that ``records`` touch, beginning in database ``db_index``.

    A key of None stands for every key of the database, a database of -1 for all of them.
    """
    out: list[tuple[int, bytes | None]] = []
    for argv in commands_of(b"".join(records)):
        name = argv[0].upper()
        if name == b"SELECT":
            db_index = int(argv[1])
        elif name == b"FLUSHALL":
            out.append((EVERY_DATABASE, None))
        elif name == b"FLUSHDB":
            out.append((db_index, None))
        elif name == b"SWAPDB":
            out += [(int(argv[1]), None), (int(argv[2]), None)]
        elif name not in _MARKERS:
            entry = find(argv, LOGGED) or LOGGED[name]
            out += [(db_index, key) for key in entry.written_keys(argv)]
            if name == b"MOVE":
                out.append((int(argv[2]), argv[1]))
            elif name == b"COPY" and len(argv) > 3:
                options = [word.upper() for word in argv[3:]]
                if b"DB" in options:
                    out.append((int(argv[4 + options.index(b"DB")]), argv[2]))
    return out
