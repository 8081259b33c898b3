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
from pathlib import Path
from random import Random

import pytest
from oracle_harness import plain
from rdb_forms import FORMS, SMALL_BYTES, crc64, small_files, stream
from rdb_stock import contents, file_of, keyspace_of
from server_in_process import InProcess

from perdure.snapshot.rdb import payload as payloads
from perdure.snapshot.rdb.errors import RdbError
from perdure.store.database import Keyspace

FULL = os.environ.get("PERDURE_FULL") == "1"
SAMPLE = 40
"""One of so many single-byte changes, if not all."""
RANDOM_DAMAGE = 5000 if FULL else 150
"""For each file; 100,000 in all."""
MOST_BYTES = 64 << 20
FILES = small_files()


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


@pytest.mark.timeout(1800)  # it never hangs, whatever was said to make crash
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


@pytest.mark.timeout(1800)  # it never hangs, whatever was said to make crash
@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_an_error(name: str) -> None:
    data = FILES[name]
    with little_memory():
        for end in range(len(data)):
            assert read(data[:end]) is None, end
            damaged = data[:end] + b"\xff" + bytes(8)
            check(damaged, False)


@pytest.mark.timeout(1800)  # it never hangs, whatever was said to make crash
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


@pytest.mark.timeout(1800)
def test_a_server_refuses_damaged_payloads_and_lives(tmp_path: Path) -> None:
    """RESTORE with a right checksum over damage: stock's error or a sound value, which DUMP gives back."""
    rng = Random(4)
    parts = [bytes((code,)) + value for _, code, value, _ in FORMS if len(value) < SMALL_BYTES]
    parts += [bytes((code,)) + stream(generation) for generation, code in ((1, 15), (2, 19), (3, 21))]
    server = InProcess(tmp_path)
    taken = refused = 0
    try:
        for part in parts:
            for _ in range(2000 if FULL else 60):
                damaged = bytearray(part)
                for _ in range(rng.randint(1, 3)):
                    byte = rng.choice((0, 1, 0x7F, 0x80, 0xC3, 0xFE, 0xFF, rng.randrange(256)))
                    damaged[rng.randrange(len(damaged))] = byte
                if rng.random() < 0.2:
                    del damaged[rng.randrange(1, len(damaged)) :]
                payload = payloads.finished(damaged[0], bytes(damaged[1:]), rng.choice((9, 10, 12, 80)))
                reply = server(b"RESTORE", b"k", b"0", payload, b"REPLACE")
                assert reply in (b"+OK\r\n", b"-ERR Bad data format\r\n")
                taken += reply == b"+OK\r\n"
                refused += reply != b"+OK\r\n"
                server.server.keyspace._check()
                value = server.server.keyspace.databases[0].get(b"k")
                if hasattr(value, "_check"):
                    value._check()
                if reply == b"+OK\r\n":
                    again = plain(server(b"DUMP", b"k"))
                    assert again is None or server(b"RESTORE", b"k", b"0", again, b"REPLACE") == b"+OK\r\n"
        assert server(b"PING") == b"+PONG\r\n"
    finally:
        server.close()
    assert taken > 100 and refused > 100


def test_damaged_payloads_are_refused() -> None:
    rng = Random(3)
    parts = [bytes((code,)) + value for _, code, value, _ in FORMS if len(value) < SMALL_BYTES]
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
