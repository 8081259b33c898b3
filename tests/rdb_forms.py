"""Encoders of what stock 7.0 does not write: old encodings, those of later versions, and Valkey's.

Made by the layouts in the docstrings of ``snapshot.rdb`` and with no code of it, but the
listpacks of streams.  ``file`` puts a file together, ``FORMS`` has a key of every type and
what must come of it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from anycrc import Model

crc64 = Model("CRC64-REDIS").calc

FUTURE_MS = 4_000_000_000_000

# ---- strings ---------------------------------------------------------------------------


def length(n: int, wide: int = 0) -> bytes:
    """A length in its shortest form, or in one of 14, 32 or 64 bits."""
    if n < 64 and not wide:
        return bytes((n,))
    if n < 1 << 14 and wide in (0, 14):
        return struct.pack(">H", 0x4000 | n)
    if n < 1 << 32 and wide in (0, 32):
        return b"\x80" + struct.pack(">I", n)
    return b"\x81" + struct.pack(">Q", n)


def text(data: bytes, wide: int = 0) -> bytes:
    """A string as it is."""
    return length(len(data), wide) + data


def lzf_literal(data: bytes) -> bytes:
    """A string in LZF that saves nothing: runs of literals."""
    runs = b"".join(bytes((len(run) - 1,)) + run for at in range(0, len(data), 32) for run in (data[at : at + 32],))
    return b"\xc3" + length(len(runs)) + length(len(data)) + runs


def lzf_repeated(byte: bytes, count: int) -> bytes:
    """One byte repeated, in LZF: a literal, and one copy of all that is behind it, 3 to 264 bytes."""
    copied = count - 1
    head = bytes((copied - 2 << 5, 0)) if copied < 9 else bytes((7 << 5, copied - 9, 0))
    packed = b"\0" + byte + head
    return b"\xc3" + length(len(packed)) + length(count) + packed


# ---- packs -----------------------------------------------------------------------------


def _number(item: bytes) -> int | None:
    try:
        n = int(item)
    except ValueError:
        return None
    return n if b"%d" % n == item and -(1 << 63) <= n < 1 << 63 else None


def _signed(n: int, size: int) -> bytes:
    return n.to_bytes(size, "little", signed=True)


def _ziplist_body(item: bytes) -> bytes:
    n = _number(item)
    if n is None:
        size = len(item)
        head = bytes((size,)) if size < 64 else struct.pack(">H", 0x4000 | size) if size < 1 << 14 else (
            b"\x80" + struct.pack(">I", size)
        )  # fmt: skip
        return head + item
    if 0 <= n <= 12:
        return bytes((0xF1 + n,))
    for code, size in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8)):
        if -(1 << 8 * size - 1) <= n < 1 << 8 * size - 1:
            return bytes((code,)) + _signed(n, size)
    raise AssertionError(n)


def ziplist(items: Sequence[bytes], counted: bool = True) -> bytes:
    """A ziplist; not ``counted``: with the count that says walk it."""
    body = b""
    previous = 0
    last = 10
    for item in items:
        last = 10 + len(body)
        before = bytes((previous,)) if previous < 254 else b"\xfe" + struct.pack("<I", previous)
        entry = before + _ziplist_body(item)
        previous = len(entry)
        body += entry
    return struct.pack("<IIH", len(body) + 11, last, len(items) if counted else 0xFFFF) + body + b"\xff"


def _listpack_body(item: bytes) -> bytes:
    n = _number(item)
    if n is None:
        size = len(item)
        if size < 64:
            return bytes((0x80 | size,)) + item
        if size < 4096:
            return struct.pack(">H", 0xE000 | size) + item
        return b"\xf0" + struct.pack("<I", size) + item
    if 0 <= n < 128:
        return bytes((n,))
    if -4096 <= n < 4096:
        return struct.pack(">H", 0xC000 | n & 0x1FFF)
    for code, size in ((0xF1, 2), (0xF2, 3), (0xF3, 4), (0xF4, 8)):
        if -(1 << 8 * size - 1) <= n < 1 << 8 * size - 1:
            return bytes((code,)) + _signed(n, size)
    raise AssertionError(n)


def _backwards(n: int) -> bytes:
    out = [n & 127]
    limits = [128, 16383, 2097151, 268435455]
    while len(out) <= sum(n >= limit for limit in limits):
        out.append(n >> 7 * len(out) & 127)
    return bytes(group | 128 if at else group for at, group in enumerate(reversed(out)))


def listpack(items: Sequence[bytes], counted: bool = True) -> bytes:
    """A listpack."""
    body = b"".join(part + _backwards(len(part)) for part in map(_listpack_body, items))
    return struct.pack("<IH", len(body) + 7, len(items) if counted else 0xFFFF) + body + b"\xff"


def zipmap(items: Sequence[bytes], unused: int = 0, counted: bool = True) -> bytes:
    """A zipmap of keys and values, with so many unused bytes behind each value."""

    def size(n: int) -> bytes:
        return bytes((n,)) if n < 254 else b"\xfe" + struct.pack("<I", n)

    body = b"".join(
        size(len(key)) + key + size(len(value)) + bytes((unused,)) + value + b"?" * unused
        for key, value in zip(items[::2], items[1::2], strict=True)
    )
    return bytes((len(items) // 2 if counted else 254,)) + body + b"\xff"


def intset(integers: Sequence[int], width: int) -> bytes:
    """An intset."""
    return struct.pack("<II", width, len(integers)) + b"".join(_signed(n, width) for n in integers)


# ---- streams ---------------------------------------------------------------------------


def stream_node(first: tuple[int, int], entries: Sequence[tuple[tuple[int, int], Sequence[bytes], bool]]) -> bytes:
    """An id and a listpack; an entry is (id, fields and values, deleted?)."""
    fields = [b"f"]
    items = [b"%d" % sum(not gone for *_, gone in entries), b"%d" % sum(gone for *_, gone in entries)]
    items += [b"%d" % len(fields), *fields, b"0"]
    for (ms, seq), pairs, gone in entries:
        same = list(pairs[::2]) == fields
        head = [b"%d" % (gone + 2 * same), b"%d" % (ms - first[0]), b"%d" % (seq - first[1])]
        if same:
            items += [*head, *pairs[1::2], b"%d" % (3 + len(fields))]
        else:
            items += [*head, b"%d" % (len(pairs) // 2), *pairs, b"%d" % (4 + len(pairs))]
    return text(struct.pack(">QQ", *first)) + text(listpack(items))


def pending(entry_id: tuple[int, int], time_ms: int, deliveries: int) -> bytes:
    """An entry of a group's pending ones."""
    return struct.pack(">QQq", *entry_id, 0)[:16] + struct.pack("<q", time_ms) + length(deliveries)


def stream(generation: int) -> bytes:
    """A stream: 1-1, 1-2 (deleted), 2-5 with a field of its own; a group with a consumer that has 1-1 pending."""
    node = stream_node((1, 1), [((1, 1), [b"f", b"1"], False), ((1, 2), [b"f", b"2"], True),
                                ((2, 5), [b"other", b"x"], False)])  # fmt: skip
    out = b"\1" + node + b"\2" + b"\2\5"
    if generation > 1:
        out += b"\1\1" + b"\1\2" + b"\3"
    out += b"\1" + text(b"group") + b"\1\1" + (b"\1" if generation > 1 else b"")
    out += b"\1" + pending((1, 1), 1234, 3)
    out += b"\1" + text(b"consumer") + struct.pack("<q", 5678)
    if generation > 2:
        out += struct.pack("<q", 4321)
    return out + b"\1" + struct.pack(">QQ", 1, 1)


STREAM_ID = 1 << 64 | 1

# ---- files -----------------------------------------------------------------------------


def file(*parts: bytes, version: int = 9, valkey: bool = False, checksum: int | None = None) -> bytes:
    """A file of opcodes and keys, with the checksum that it should have, or one given."""
    head = b"VALKEY%03d" % version if valkey else b"REDIS%04d" % version
    data = head + b"".join(parts) + b"\xff"
    if version < 5:
        return data
    return data + struct.pack("<Q", crc64(data) if checksum is None else checksum)


def key(code: int, name: bytes, value: bytes) -> bytes:
    """A key."""
    return bytes((code,)) + text(name) + value


MODULE_ID = sum("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(char) << 10 + 6 * (8 - at)
                for at, char in enumerate("testmodul"))  # fmt: skip
MODULE_DATA = (
    b"\1" + length(7) + b"\2" + length(1 << 40) + b"\3" + b"\0\0\x80\x3f" + b"\4" + bytes(8) + b"\5" + text(b"x" * 70)
    + b"\0"
)  # fmt: skip

LONG = b"long" * 30
HUGE = b"huge" * 5000
MIXED = [b"a", b"", b"7", b"12", b"13", b"-1", b"127", b"-128", b"300", b"-4097", b"40000", b"-70000", b"9000000",
         b"-3000000000", b"9223372036854775807", b"007", LONG, HUGE, b"last"]  # fmt: skip
PAIRS = [b"f", b"1", b"g", LONG, b"h", b"", LONG, b"x"]
HASH = dict(zip(PAIRS[::2], PAIRS[1::2], strict=True))
SCORED = [b"a", b"-inf", b"b", b"-2.5", b"c", b"0", b"d", b"3", b"e", b"inf"]
SCORES = {b"a": float("-inf"), b"b": -2.5, b"c": 0.0, b"d": 3.0, b"e": float("inf")}


def _f64(value: float) -> bytes:
    return struct.pack("<d", value)


def _ms(value: int) -> bytes:
    return struct.pack("<q", value)


_many = [b"%d" % n for n in range(300)]
FORMS: list[tuple[str, int, bytes, Any]] = [
    ("a string", 0, text(b"value"), b"value"),
    ("a string of 14 bits length", 0, text(LONG), LONG),
    ("a string of 32 bits length", 0, text(b"abc", 32), b"abc"),
    ("a string of 64 bits length", 0, text(b"abc", 64), b"abc"),
    ("an 8-bit integer", 0, b"\xc0\x80", b"-128"),
    ("a 16-bit integer", 0, b"\xc1\x00\x80", b"-32768"),
    ("a 32-bit integer", 0, b"\xc2\xff\xff\xff\x7f", b"2147483647"),
    ("LZF of literals", 0, lzf_literal(LONG), LONG),
    ("LZF of a short copy", 0, lzf_repeated(b"x", 6), b"x" * 6),
    ("LZF of a long copy", 0, lzf_repeated(b"x", 265), b"x" * 265),
    ("a list", 1, length(3) + text(b"a") + text(LONG, 64) + b"\xc0\x05", [b"a", LONG, b"5"]),
    ("a set", 2, length(2) + text(b"a") + text(b"b"), [b"a", b"b"]),
    ("a zset of texts", 3, length(4) + text(b"a") + b"\xff" + text(b"b") + b"\4-2.5" + text(b"d") + b"\0013"
     + text(b"e") + b"\xfe", {m: s for m, s in SCORES.items() if m != b"c"}),
    ("a hash", 4, length(4) + b"".join(map(text, PAIRS)), HASH),
    ("a zset", 5, length(5) + b"".join(text(m) + _f64(s) for m, s in SCORES.items()), SCORES),
    ("a zipmap", 9, text(zipmap(PAIRS)), HASH),
    ("a zipmap with unused bytes", 9, text(zipmap(PAIRS, 3)), HASH),
    ("a zipmap without a count", 9, text(zipmap([*PAIRS, b"w" * 300, b"v" * 400], counted=False)),
     {**HASH, b"w" * 300: b"v" * 400}),
    ("a ziplist", 10, text(ziplist(MIXED)), MIXED),
    ("a ziplist without a count", 10, text(ziplist(MIXED, counted=False)), MIXED),
    ("an empty ziplist", 10, text(ziplist([])), []),
    ("an intset of 16 bits", 11, text(intset([-5, 1, 300], 2)), [b"-5", b"1", b"300"]),
    ("an intset of 32 bits", 11, text(intset([-70000, 1], 4)), [b"-70000", b"1"]),
    ("an intset of 64 bits", 11, lzf_literal(intset([-(1 << 63), 0, (1 << 63) - 1], 8)),
     [b"-9223372036854775808", b"0", b"9223372036854775807"]),
    ("a zset in a ziplist", 12, text(ziplist(SCORED)), SCORES),
    ("a hash in a ziplist", 13, text(ziplist(PAIRS)), HASH),
    ("a quicklist", 14, length(3) + text(ziplist(MIXED)) + text(ziplist(_many)) + text(ziplist([b"z"])),
     [*MIXED, *_many, b"z"]),
    ("a hash in a listpack", 16, text(listpack(PAIRS)), HASH),
    ("a hash in a listpack without a count", 16, text(listpack(PAIRS, counted=False)), HASH),
    ("a zset in a listpack", 17, text(listpack(SCORED)), SCORES),
    ("a quicklist 2", 18, length(3) + b"\2" + text(listpack(MIXED)) + b"\1" + text(b"plain") + b"\2"
     + text(listpack(_many)), [*MIXED, b"plain", *_many]),
    ("a set in a listpack", 20, text(listpack([b"a", b"1", LONG])), [b"a", b"1", LONG]),
    ("a hash with field expiry of 7.4's release candidates", 22, length(2) + length(FUTURE_MS) + text(b"a") + text(b"1")
     + b"\0" + text(b"b") + text(b"2"), ({b"a": b"1", b"b": b"2"}, {b"a": FUTURE_MS})),
    ("a listpack with field expiry of 7.4's release candidates", 23,
     text(listpack([b"a", b"1", b"%d" % FUTURE_MS, b"b", b"2", b"0"])),
     ({b"a": b"1", b"b": b"2"}, {b"a": FUTURE_MS})),
    ("a hash with field expiry", 24, _ms(FUTURE_MS) + length(3) + b"\1" + text(b"a") + text(b"1") + b"\0" + text(b"b")
     + text(b"2") + b"\x40\x65" + text(b"c") + text(b"3"),
     ({b"a": b"1", b"b": b"2", b"c": b"3"}, {b"a": FUTURE_MS, b"c": FUTURE_MS + 100})),
    ("a listpack with field expiry", 25, _ms(FUTURE_MS)
     + text(listpack([b"a", b"1", b"%d" % FUTURE_MS, b"b", b"2", b"0"])),
     ({b"a": b"1", b"b": b"2"}, {b"a": FUTURE_MS})),
]  # fmt: skip
"""A name, the type, the value as the file has it, and what it is: fields and deadlines where fields expire."""

VALKEY_HASH = (
    length(2) + text(b"a") + text(b"1") + _ms(FUTURE_MS) + text(b"b") + text(b"2") + _ms(-1),
    ({b"a": b"1", b"b": b"2"}, {b"a": FUTURE_MS}),
)

SMALL_BYTES = 600
"""A form with a longer value is in none of the small files."""


def small_files() -> dict[str, bytes]:
    """Files of every type and opcode, by what is in them."""
    small = [form for form in FORMS if len(form[2]) < SMALL_BYTES]
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
