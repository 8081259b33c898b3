"""Manifest: stock's rules for what loads, and our own for what was not tampered with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.wal.damage import LogDamaged
from perdure.wal.manifest import (
    Entry,
    base_name,
    incr_name,
    manifest_name,
    parse,
    render,
    render_stock,
    seq_in_name,
)

LOG_ID = b"0123456789abcdef" * 2
OURS = (
    Entry("appendonly.aof.1.base.aof", 1, "b", lsn=10, prev=0xAB, bytes=99, crc32c=0xDEADBEEF),
    Entry("appendonly.aof.1.incr.aof", 1, "h"),
    Entry("appendonly.aof.2.incr.aof", 2, "i", lsn=10, prev=0xAB),
    Entry("appendonly.aof.4.incr.aof", 4, "i"),
)

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)


def test_rendered_entries_are_parsed_back() -> None:
    parsed = parse(render(LOG_ID, OURS), "m")
    assert (parsed.log_id, parsed.entries, parsed.verified) == (LOG_ID, OURS, True)
    assert parsed.base == OURS[0]
    assert parsed.incrs == OURS[2:]


@given(names)
def test_any_name_survives_quoting(name: str) -> None:
    entries = (Entry(name, 1, "i", lsn=0, prev=0),)
    assert parse(render(LOG_ID, entries), "m").entries == entries
    assert parse(render_stock((Entry(name, 1, "i"),)), "m").entries == (Entry(name, 1, "i"),)


@pytest.mark.parametrize("line", [
    b"file a.1.incr.aof seq 1 type i\n",
    b'FILE "a.1.incr.aof" SEQ 1 TYPE i\n',
    b"# a remark\nfile a.1.incr.aof seq 1 type i\n",
    b"  file  'a.1.incr.aof'\tseq 1 type i \r\n",
    b"file a.1.incr.aof seq 1 type i startoffset 12 endoffset 99\n",
    b'file "a.1.inc\\x72.aof" seq 1 type i\n',
])  # fmt: skip
def test_what_stock_accepts_is_accepted_unverified(line: bytes) -> None:
    parsed = parse(line, "m")
    assert parsed.entries == (Entry("a.1.incr.aof", 1, "i"),)
    assert not parsed.verified
    assert parsed.log_id is None


@pytest.mark.parametrize("text", [
    b"",
    b"\n",
    b"file a seq 1 type i\n\n",
    b"file a seq 1 type i",
    b"file a seq 0 type i\n",
    b"file a seq -1 type i\n",
    b"file a seq x type i\n",
    b"file a seq 1 type z\n",
    b"file a seq 1 type\n",
    b"file a seq 1\n",
    b"seq 1 type i bytes 3\n",
    b"file a/b seq 1 type i\n",
    b"file .. seq 1 type i\n",
    b'file "" seq 1 type i\n',
    b'file "a seq 1 type i\n',
    b'file "a"b seq 1 type i\n',
    b"file a seq 1 type b\nfile b seq 2 type b\n",
    b"file a seq 2 type i\nfile b seq 2 type i\n",
    b"file a seq 2 type i\nfile b seq 1 type i\n",
    b"file a seq 1 type i\nfile a seq 2 type i\n",
    b"file a seq 1 seq 2 type i x y\n",
    b"file " + b"a" * 1010 + b" seq 1 type i\n",
    b"file a seq 1 type i lsn 0 prev 00000000\n",
    b"#PERDURE 1 " + LOG_ID + b"\nfile a seq 1 type i\n",
    b"file a seq 1 type i\n#CRC32C 00000000\n",
    b"garbage\n",
    b"\0" * 100,
])  # fmt: skip
def test_a_manifest_that_is_wrong_is_refused(text: bytes) -> None:
    with pytest.raises(LogDamaged) as caught:
        parse(text, "dir/x.manifest")
    assert "dir/x.manifest" in str(caught.value)


def test_every_flipped_bit_is_noticed() -> None:
    whole = render(LOG_ID, OURS)
    for at in range(len(whole) * 8):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(LogDamaged):
            parse(bytes(flipped), "m")


def test_every_shortened_manifest_is_refused() -> None:
    whole = render(LOG_ID, OURS)
    for length in range(len(whole)):
        with pytest.raises(LogDamaged):
            parse(whole[:length], "m")


def test_names_are_stocks_names() -> None:
    assert manifest_name("a.aof") == "a.aof.manifest"
    assert incr_name("a.aof", 7) == "a.aof.7.incr.aof"
    assert base_name("a.aof", 7) == "a.aof.7.base.aof"
    assert seq_in_name("a.aof", "a.aof.7.incr.aof") == 7
    assert seq_in_name("a.aof", "a.aof.12.base.rdb") == 12
    assert seq_in_name("a.aof", "b.aof.7.incr.aof") is None
    assert seq_in_name("a.aof", "a.aof.7.incr.aof.cut-9") is None


@pytest.mark.parametrize("name", ["a/b", "..", "", "x" * 1100])
def test_a_name_that_no_manifest_may_hold_is_not_rendered(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        render(LOG_ID, (Entry(name, 1, "i"),))
