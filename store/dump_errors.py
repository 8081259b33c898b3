"""Error texts of DUMP, RESTORE and MIGRATE; the rest, and what holds for all, is in ``errors``."""

from __future__ import annotations

BUSY_KEY = b"BUSYKEY Target key name already exists."
INVALID_RESTORE_TTL = b"ERR Invalid TTL value, must be >= 0"
INVALID_IDLETIME = b"ERR Invalid IDLETIME value, must be >= 0"
INVALID_FREQ = b"ERR Invalid FREQ value, must be >= 0 and <= 255"
BAD_DUMP_CHECKSUM = b"ERR DUMP payload version or checksum are wrong"
BAD_DUMP_DATA = b"ERR Bad data format"
MIGRATE_KEYS_AND_KEY = b"ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
MIGRATE_CANNOT_CONNECT = b"IOERR error or timeout connecting to the client"
MIGRATE_CANNOT_WRITE = b"IOERR error or timeout writing to target instance"
MIGRATE_CANNOT_READ = b"IOERR error or timeout reading to target instance"


def target_refused(text: bytes) -> bytes:
    """MIGRATE: ``text`` is the target's error, with its code."""
    return b"ERR Target instance replied with error: " + text
