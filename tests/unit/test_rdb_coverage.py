"""Every encoding that the reader knows is reached by the tests' own encoders, whoever wrote it and however long ago.

What counts is each line of the modules that read: each branch there is an encoding, or a way
to be wrong, which damage to the same files reaches.  Lines that raise are apart: ``test_rdb_reader``
has what reaches them.
"""

from __future__ import annotations

import ast
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest
from rdb_forms import (
    FORMS,
    FUTURE_MS,
    VALKEY_HASH,
    crc64,
    file,
    key,
    length,
    listpack,
    lzf_repeated,
    small_files,
    stream,
    text,
    ziplist,
)

from perdure.snapshot.rdb import packs, reader, source, stream_values, values
from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.format import OPCODE_NAMES
from perdure.snapshot.rdb.reader import Reader, read_file
from perdure.snapshot.rdb.source import Source, open_source, source_of
from perdure.snapshot.rdb.values import READERS, VALKEY_READERS
from perdure.wal.filesystem import RealFilesystem

MODULES = (packs, reader, source, stream_values, values)
_DAMAGED_BYTES = 1000
_BYTES = 257
"""A file comes so many at a time, so that values go across the ends of chunks."""


def files() -> list[bytes]:
    """Each form by itself, long ones too, and the small files."""
    out = [file(key(code, b"k", value)) for _, code, value, _ in FORMS]
    out += [file(key(code, b"s", stream(generation))) for generation, code in ((1, 15), (2, 19), (3, 21))]
    out += [file(key(22, b"h", VALKEY_HASH[0]), version=80, valkey=True), *small_files().values()]
    # What only a large entry has: lengths behind it of two bytes and of three, and a length before it of four.
    large = [b"x" * n for n in (200, 20_000, 70_000)] + [b"y"]
    out += [file(key(10, b"l", text(ziplist(large)))), file(key(18, b"l", b"\1\2" + text(listpack(large))))]
    strings = [text(b"v"), text(b"v" * 100), text(b"v" * 250), text(b"v" * 20_000), b"\xc0\5", b"\xc1\5\5",
               b"\xc2\5\5\5\5", text(b"v", 32), lzf_repeated(b"x", 50)]  # fmt: skip
    before = [b"", b"\xfc" + struct.pack("<q", FUTURE_MS), b"\xfc" + struct.pack("<q", -1), b"\xfd\5\0\0\0", b"\xf9\5"]
    # So many that each meets the fast path, its margin and the ends of chunks.
    some = [head + key(0, name, value) for name in (b"k", b"k" * 100) for head in before for value in strings]
    out += [file(*Random(seed).choices(some, k=200)) for seed in range(4)]
    out += [file(b"\xfe" + length(100, 14) + b"\xfe" + length(5, 32) + b"\xfe" + length(5, 64), checksum=0)]
    out += [file(b"\xf6" + text(b"old") + text(b"LUA") + b"\1" + text(b"about") + text(b"code"))]
    return out


def damaged(data: bytes, rng: Random) -> Iterator[bytes]:
    """The same, cut off in places, with bytes changed in others, and as a file of other kinds."""
    for _ in range(30):
        at = rng.randrange(len(data))
        yield data[:at]
        yield data[:at] + b"\xff" + bytes(8)
        for byte in (0, 1, 0x80, 0xFF, rng.randrange(256)):
            changed = data[:at] + bytes((byte,)) + data[at + 1 : -8]
            yield changed + struct.pack("<Q", crc64(changed))


def broken() -> list[bytes]:
    """What no chance finds: a text that is no number, a wrong length of two bytes, deadlines before a string."""
    return [
        file(key(3, b"z", b"\1\1a\xfd")),
        file(key(18, b"l", b"\1\2" + text(listpack([b"x" * 200]).replace(b"x\1\xca", b"x\1\x4a")))),
        file(b"\xfa" + text(b"perdure-field-deadlines") + text(bytes(8) + b"\1f") + key(0, b"s", b"\1x")),
    ]


def raising(tree: ast.AST) -> set[int]:
    """Lines of statements that raise, and of the handlers of exceptions."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise | ast.ExceptHandler)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def lines_of(module: ModuleType) -> dict[int, str]:
    """Lines of the module's functions that can run and do not raise: number and text."""
    path = Path(module.__file__ or "")
    text = path.read_text(encoding="utf-8")
    found: set[int] = set()

    def walk(code: CodeType, inside: bool) -> None:
        for part in code.co_consts:
            if isinstance(part, CodeType):
                is_class = not part.co_flags & 1  # CO_OPTIMIZED: a function
                walk(part, not is_class)
        if inside:
            found.update(line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno)

    walk(compile(text, str(path), "exec"), False)
    texts = text.splitlines()
    return {line: texts[line - 1].strip() for line in sorted(found - raising(ast.parse(text)))}


def in_pieces(data: bytes) -> Source:
    return Source("in pieces", len(data), lambda offset, size: data[offset : offset + size])


def reached(path: Path) -> dict[str, set[int]]:
    """Lines that run while all files are read, by file name."""
    seen: dict[str, set[int]] = {str(Path(module.__file__ or "")): set() for module in MODULES}

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        seen[frame.f_code.co_filename].add(frame.f_lineno)
        return local

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        return local if frame.f_code.co_filename in seen else None

    before = sys.gettrace()
    rng = Random(1)
    sys.settrace(trace)
    try:
        for data in files():
            list(Reader(source_of(data)))
            found = Reader(in_pieces(data))
            assert len(list(found)) and found.offset <= found.size
            path.write_bytes(data)
            list(read_file(open_source(RealFilesystem(), str(path))))
            for wrong in damaged(data, rng) if len(data) < _DAMAGED_BYTES else ():
                with suppress(RdbError):
                    list(Reader(source_of(wrong), modules=rng.random() < 0.9))
        for wrong in broken():
            with pytest.raises(RdbError):
                list(Reader(source_of(wrong)))
    finally:
        sys.settrace(before)
    return seen


def test_every_encoding_of_the_reader_is_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(source, "CHUNK_BYTES", _BYTES)
    monkeypatch.setattr(source, "_PIECE_BYTES", 1000)
    seen = reached(tmp_path / "dump.rdb")
    missed = [
        f"{module.__name__}, line {line}: {text}"
        for module in MODULES
        for line, text in lines_of(module).items()
        if line not in seen[str(Path(module.__file__ or ""))]
    ]
    assert not missed, "\n".join(missed)


def test_every_type_and_opcode_is_in_a_file() -> None:
    opcodes: set[int] = set()
    types: set[int] = set()
    valkey: set[int] = set()
    for data in files():
        found = Reader(source_of(data))
        for event in found:
            if found._opcode in OPCODE_NAMES:
                opcodes.add(found._opcode)
            elif hasattr(event, "code"):
                (valkey if found.valkey else types).add(event.code)  # type: ignore[union-attr, arg-type]
    assert types == set(READERS)
    assert valkey >= VALKEY_READERS.keys() - READERS.keys() | {22}
    of_keys = {248, 249, 252, 253}  # which have no event of their own
    assert opcodes | of_keys == OPCODE_NAMES.keys()
