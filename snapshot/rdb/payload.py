"""A value by itself: the payload of DUMP and RESTORE.

::

    payload = type value u16-version u64-checksum

The version is little-endian, the checksum that of everything before it.  Bytes between the
value and the version are passed over, as stock does.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from perdure.snapshot.rdb import format as f
from perdure.snapshot.rdb.encoder import Encoder
from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.events import FieldsWithExpiry
from perdure.snapshot.rdb.source import crc64, source_of
from perdure.snapshot.rdb.values import reader_of

FOOTER_BYTES = 10
_footer = struct.Struct("<HQ")
_version = struct.Struct("<H").pack
_u64 = struct.Struct("<Q").pack


class Payload(NamedTuple):
    """A value; names as in ``events.Entry``."""

    type: bytes
    value: Any
    code: int
    version: int


def version_for(value: Any) -> int:
    """The version that a payload has: 10, stock 7.0's, unless that cannot hold the value."""
    return f.FIELD_EXPIRY_SINCE if isinstance(value, FieldsWithExpiry) and value.expires_ms else 10


def closed(body: bytes, version: int) -> bytes:
    """Bytes with the footer of a payload."""
    data = body + _version(version)
    return data + _u64(crc64(data))


def finished(code: int, body: bytes, version: int) -> bytes:
    """A payload of an encoded value."""
    return closed(bytes((code,)) + body, version)


def dump(kind: bytes, value: Any, encoder: Encoder, big: bool | None = None) -> bytes:
    """A value, as in ``events``, as a payload of the encoder's version."""
    code, pieces = encoder.value(kind, value, big)
    return finished(code, b"".join(pieces), encoder.version)


def verify(payload: bytes) -> int:
    """The version of a payload; RdbError unless it is one that is read and the checksum is right."""
    if len(payload) < FOOTER_BYTES:
        raise RdbError("a payload ends with its version and its checksum")
    version, checksum = _footer.unpack_from(payload, len(payload) - FOOTER_BYTES)
    if version > f.NEWEST and version != f.VALKEY:
        raise RdbError(f"RDB version {version} is none that is read")
    if crc64(memoryview(payload)[:-8]) != checksum:
        raise RdbError("the payload's checksum is wrong")
    return int(version)


def load(payload: bytes) -> Payload:
    """The value of a payload that has been verified; RdbError if it is none, or a module's."""
    version = verify(payload)
    source = source_of(payload[:-FOOTER_BYTES])
    code = None
    try:
        code = source.byte() if source.left() else -1
        kind, read = reader_of(code, version == f.VALKEY)
        value = read(source)
    except RdbError as error:
        raise error.at("", source.offset(), code, None) from None
    return Payload(kind, value, code, version)
