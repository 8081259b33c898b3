"""A script's first line, ``#!lua flags=no-writes,...``, and a library's, ``#!lua name=...``.

It must not know: Lua, what flags do.
"""

from __future__ import annotations

from dataclasses import dataclass

from perdure.store import script_errors
from perdure.store.errors import CommandError
from perdure.wal.words import split_words

NO_WRITES = 1 << 0
ALLOW_OOM = 1 << 1
ALLOW_STALE = 1 << 2
NO_CLUSTER = 1 << 3
ALLOW_CROSS_SLOT_KEYS = 1 << 4
COMPATIBLE = 1 << 5
"""A script without a first line of its kind: nothing is checked before it runs."""

FLAGS = {
    b"no-writes": NO_WRITES,
    b"allow-oom": ALLOW_OOM,
    b"allow-stale": ALLOW_STALE,
    b"no-cluster": NO_CLUSTER,
    b"allow-cross-slot-keys": ALLOW_CROSS_SLOT_KEYS,
}


def flags_of(script: bytes) -> tuple[int, bytes]:
    """A script's flags and its source, whose lines are numbered as before.  CommandError if its first line is wrong."""
    if not script.startswith(b"#!"):
        return COMPATIBLE, script
    end = script.find(b"\n")
    if end < 0:
        raise CommandError(script_errors.INVALID_SHEBANG)
    words = _words(script[:end])
    if not words:
        raise CommandError(script_errors.INVALID_SHEBANG_ENGINE)
    if words[0] != b"#!lua":
        raise CommandError(script_errors.unexpected_engine(words[0]))
    flags = 0
    for word in words[1:]:
        if not word.startswith(b"flags="):
            raise CommandError(script_errors.unknown_shebang_option(word))
        for name in word[6:].split(b",") if len(word) > 6 else ():
            if name not in FLAGS:
                raise CommandError(script_errors.unexpected_flag(name))
            flags |= FLAGS[name]
    return flags, script[end:]


@dataclass(frozen=True, slots=True)
class LibraryHead:
    """What a library's first line says: its engine and its name; and the source behind it."""

    engine: bytes
    name: bytes
    source: bytes


def library_head(code: bytes) -> LibraryHead:
    """Read a library's first line.  CommandError if it is wrong."""
    if not code.startswith(b"#!"):
        raise CommandError(script_errors.NO_LIBRARY_METADATA)
    end = code.find(b"\n")
    words = _words(code[:end]) if end >= 0 else []
    if not words:
        raise CommandError(script_errors.INVALID_LIBRARY_METADATA)
    name: bytes | None = None
    for word in words[1:]:
        if word[:5].lower() != b"name=":
            raise CommandError(script_errors.invalid_library_option(word))
        if name is not None:
            raise CommandError(script_errors.LIBRARY_NAMED_TWICE)
        name = word[5:]
    if name is None:
        raise CommandError(script_errors.LIBRARY_WITHOUT_NAME)
    return LibraryHead(words[0][2:], name, code[end:])


def _words(line: bytes) -> list[bytes]:
    return split_words(line) or []
