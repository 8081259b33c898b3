"""What FUNCTION DUMP and RESTORE exchange: libraries as an RDB file has them, and the footer of DUMP.

::

    payload = ( 0xF5 string )*  version  checksum

Strings and footer are those of ``snapshot.rdb.payload``; stock 7.0's version is written and
no later one is taken, as in stock.

It must not know: Lua, what a library is.
"""

from __future__ import annotations

from perdure.snapshot.rdb import format as f
from perdure.snapshot.rdb import payload as payloads
from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.packing import string_of
from perdure.snapshot.rdb.source import source_of
from perdure.store import script_errors
from perdure.store.errors import CommandError

_STOCK = 10


def dump(codes: list[bytes]) -> bytes:
    """The payload of libraries' codes."""
    return payloads.closed(b"".join([bytes((f.FUNCTION,)) + string_of(code, False) for code in codes]), _STOCK)


def restore(payload: bytes) -> list[bytes]:
    """The codes of libraries in a payload.  CommandError if it is none."""
    try:
        version = payloads.verify(payload)
    except RdbError:
        version = f.NEWEST
    if version > _STOCK:
        raise CommandError(script_errors.BAD_PAYLOAD)
    source = source_of(payload[: -payloads.FOOTER_BYTES])
    codes: list[bytes] = []
    while source.left():
        kind = source.byte()
        if kind != f.FUNCTION:
            old = kind == f.FUNCTION_PRE_RELEASE
            raise CommandError(script_errors.OLD_FUNCTIONS if old else script_errors.NOT_A_FUNCTION)
        try:
            codes.append(source.string())
        except RdbError:
            raise CommandError(script_errors.FUNCTIONS_NOT_LOADED) from None
    return codes
