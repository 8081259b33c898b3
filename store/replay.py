"""Commands of the log, run again at recovery.

``replay`` runs the commands of a payload, fast, on a ``Tx`` in the loading state:
its sink is ``NoLog``, ``now_ms`` is 0 (only the log says what expired) and
``clock_ms`` is the time from which relative deadlines of a foreign log count.

The log holds what succeeded, so a command that is unknown, or that answers with an
error, means that this is not the keyspace that wrote the log: ``ReplayError``, and
recovery refuses to start (PREFIX).  MULTI and EXEC only mark that a group is whole,
which has been seen to before (a group is never split between batches), and are
skipped.

SET of a plain key and value, the bulk of most logs, is done in place: it does
exactly what the SET command does, without making a record.

It must not know: where the commands come from.
"""

from __future__ import annotations

from collections.abc import Iterable

from perdure.store.command import LOGGED, find
from perdure.store.errors import (
    DB_INDEX_OUT_OF_RANGE,
    CommandError,
    unknown_command,
    unknown_subcommand,
    wrong_arity,
)
from perdure.store.tx import Tx

_MARKERS = frozenset((b"MULTI", b"EXEC"))
_KEEP_RECORDS = 1024
_NO_LIMIT = 1 << 62
"""What was allowed when it was logged is allowed now, whatever proto-max-bulk-len is today."""


class ReplayError(Exception):
    """A command of the log could not be run.

    ``name`` is the command's name, ``reason`` what it answered, ``index`` its number
    among the commands given (from 0).
    """

    def __init__(self, name: bytes, reason: bytes, index: int = 0) -> None:
        shown = name[:128].decode("ascii", "backslashreplace")
        super().__init__(f"{shown}: {reason.decode('utf-8', 'backslashreplace')}")
        self.name = name
        self.reason = reason
        self.index = index


def replay(tx: Tx, commands: Iterable[list[bytes]]) -> int:
    """Run command lines of the log in the loading state; how many there were, markers included.

    The database selected carries over between calls, as it does between batches.
    """
    limit = tx.max_bulk_bytes
    tx.max_bulk_bytes = _NO_LIMIT
    try:
        return _replay(tx, commands)
    finally:
        tx.max_bulk_bytes = limit
        tx.records.clear()


def _replay(tx: Tx, commands: Iterable[list[bytes]]) -> int:
    records = tx.records
    db = tx.db
    index = -1
    for index, argv in enumerate(commands):
        if len(argv) == 3 and (argv[0] == b"SET" or argv[0] == b"set"):
            _, key, value = argv
            if key not in db:
                db.order.append(key)
            elif key in db.expires:
                del db.expires[key]
            db[key] = value
            continue
        if not argv:
            raise ReplayError(b"", b"ERR a command without a name", index)
        upper = argv[0].upper()
        if upper == b"SELECT":
            _select(tx, argv, index)
        elif upper not in _MARKERS:
            _run(tx, argv, index)
            if len(records) > _KEEP_RECORDS:
                records.clear()
        db = tx.db
    return index + 1


def _run(tx: Tx, argv: list[bytes], index: int) -> None:
    """One command through its handler."""
    name = argv[0]
    entry = find(argv, LOGGED)
    if entry is None:
        raise ReplayError(name, unknown_command(argv), index)
    if entry.subcommands:
        raise ReplayError(name, unknown_subcommand(argv[1] if len(argv) > 1 else b"", entry.name), index)
    if not entry.arity_fits(len(argv)):
        raise ReplayError(name, wrong_arity(entry.lower_name), index)
    try:
        reply = entry.handler(tx, argv)
    except CommandError as refused:
        raise ReplayError(name, refused.text, index) from None
    except (MemoryError, OverflowError):
        raise ReplayError(name, b"ERR out of memory", index) from None
    if reply[:1] == b"-":
        raise ReplayError(name, reply[1:-2], index)


def _select(tx: Tx, argv: list[bytes], index: int) -> None:
    """SELECT is the client's affair when it comes from one; here it says where the next commands belong."""
    if len(argv) != 2:
        raise ReplayError(argv[0], wrong_arity(b"select"), index)
    number = int(argv[1]) if argv[1].isdigit() and len(argv[1]) < 10 else -1
    if not 0 <= number < len(tx.keyspace.databases):
        raise ReplayError(argv[0], DB_INDEX_OUT_OF_RANGE, index)
    tx.select(number)
