"""Damaged RDB files: the reader fails with its own error, or reads what is there, and takes little memory.

Every single-byte change and every truncation of some twenty small files of every type and
opcode, and random damage of many bytes, with the checksum made right again.  A sample of it in
``make test``, all of it in ``make crash``.  What is read in spite of the damage is a sound
keyspace, and comes back when it is written.
"""

from __future__ import annotations

import os
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
from rdb_forms import (
    FORMS,
    FUTURE_MS,
    MODULE_DATA,
    MODULE_ID,
    VALKEY_HASH,
    crc64,
    file,
    key,
    length,
    lzf_repeated,
    stream,
    text,
)
from rdb_stock import contents, file_of, keyspace_of

from perdure.snapshot.rdb import payload as payloads
from perdure.snapshot.rdb.errors import RdbError
from perdure.store.database import Keyspace

FULL = os.environ.get("PERDURE_FULL") == "1"
SAMPLE = 40
"""One of so many single-byte changes, if not all."""
RANDOM_DAMAGE = 5000 if FULL else 150
"""For each file; 100,000 in all."""
MOST_BYTES = 64 << 20
_SMALL = 600


def _files() -> dict[str, bytes]:
    small = [form for form in FORMS if len(form[2]) < _SMALL]
    by_type: dict[int, list[bytes]] = {}
    for n, (_, code, value, _) in enumerate(small):
        by_type.setdefault(code, []).append(key(code, b"k%d" % n, value))
    out = {f"type {code}": file(*keys[:3], version=9 if code % 2 else 4) for code, keys in by_type.items()}
    for generation, code in ((1, 15), (2, 19), (3, 21)):
        out[f"type {code}"] = file(key(code, b"s", stream(generation)), version=4)
    out["valkey"] = file(key(22, b"h", VALKEY_HASH[0]), version=80, valkey=True)
    out["opcodes"] = file(
        b"\xfa" + text(b"a") + text(b"b"), b"\xf5" + text(b"code"), b"\xfe\3", b"\xfb\2\1", b"\xf4\1\2\3",
        b"\xf6" + text(b"n") + text(b"LUA") + b"\0" + text(b"c"), b"\xf3" + text(b"job") + b"\1\2\3",
        b"\xfc" + struct.pack("<q", FUTURE_MS) + b"\xf8\5" + key(0, b"x", text(b"1")),
        b"\xfd" + struct.pack("<i", 2_000_000_000) + b"\xf9\5" + key(0, b"y", lzf_repeated(b"z", 100)),
    )  # fmt: skip
    out["modules"] = file(
        b"\xf7" + length(MODULE_ID) + b"\2\1" + MODULE_DATA, key(7, b"m", length(MODULE_ID) + MODULE_DATA), version=4
    )
    out["own facts"] = file(
        b"\xfa" + text(b"perdure-field-deadlines") + text(struct.pack("<q", FUTURE_MS) + text(b"f")),
        key(4, b"h", b"\2" + text(b"f") + text(b"1") + text(b"g") + text(b"2")),
    )
    return out


FILES = _files()


@contextmanager
def little_memory() -> Iterator[None]:
    """No more than 64 MiB above what the process has."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + MOST_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def read(data: bytes) -> Keyspace | None:
    """What a damaged file gives: a keyspace, or None for the reader's error."""
    try:
        keyspace = keyspace_of(data)
    except RdbError as error:
        assert error.offset is not None and 0 <= error.offset <= len(data)
        assert str(error)
        return None
    for db in keyspace.databases:
        for value in db.values():
            if hasattr(value, "_check"):
                value._check()
    return keyspace


def check(data: bytes, again: bool) -> bool:
    keyspace = read(data)
    if keyspace is not None and again:
        assert contents(keyspace_of(file_of(keyspace, own_facts=True))) == contents(keyspace)
    return keyspace is not None


def with_checksum(data: bytes) -> bytes:
    """The same, with the checksum that it should have."""
    return data[:-8] + struct.pack("<Q", crc64(data[:-8]))


@pytest.mark.parametrize("name", FILES)
def test_every_single_byte_change(name: str) -> None:
    data = FILES[name]
    old = data[5:9] == b"0004"
    rng = Random(len(data))
    assert read(data) is not None
    survivors = 0
    with little_memory():
        for at in range(len(data)):
            for value in range(256):
                if value == data[at] or (not FULL and rng.randrange(SAMPLE)):
                    continue
                damaged = data[:at] + bytes((value,)) + data[at + 1 :]
                survivors += check(damaged if old or rng.random() < 0.1 else with_checksum(damaged), not at % 4)
    assert survivors, "nothing of it was ever read, so nothing was shown"


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_an_error(name: str) -> None:
    data = FILES[name]
    with little_memory():
        for end in range(len(data)):
            assert read(data[:end]) is None, end
            damaged = data[:end] + b"\xff" + bytes(8)
            check(damaged, False)


@pytest.mark.parametrize("name", FILES)
def test_random_damage(name: str) -> None:
    rng = Random(1000 + len(FILES[name]))
    data = FILES[name]
    others = list(FILES.values())
    with little_memory():
        for _ in range(RANDOM_DAMAGE):
            damaged = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                at = rng.randrange(9, len(damaged))
                roll = rng.random()
                if roll < 0.4:
                    damaged[at] = rng.choice((0, 1, 0x7F, 0x80, 0x81, 0xC3, 0xFE, 0xFF, rng.randrange(256)))
                elif roll < 0.6:
                    del damaged[at : at + rng.randint(1, 9)]
                elif roll < 0.8:
                    other = rng.choice(others)
                    start = rng.randrange(len(other))
                    damaged[at:at] = other[start : start + rng.randint(1, 40)]
                else:
                    damaged[at : at + 8] = rng.choice((b"\xff" * 8, bytes(8), struct.pack("<q", -1 << 63), b"\x81" * 8))
                if len(damaged) < 20:
                    damaged = bytearray(data)
            check(with_checksum(bytes(damaged)), rng.random() < 0.3)


def test_damaged_payloads_are_refused() -> None:
    rng = Random(3)
    parts = [bytes((code,)) + value for _, code, value, _ in FORMS if len(value) < _SMALL]
    with little_memory():
        for part in parts:
            for _ in range(2000 if FULL else 40):
                damaged = bytearray(part)
                damaged[rng.randrange(len(part))] = rng.randrange(256)
                payload = payloads.finished(damaged[0], bytes(damaged[1:]), rng.choice((10, 12, 80)))
                try:
                    payloads.load(payload)
                except RdbError as error:
                    assert error.offset is not None
                with pytest.raises(RdbError):
                    payloads.verify(payload[:-1] + bytes((payload[-1] ^ 1,)))
