"""The keys of a command line and what the command would do to each, by its key specifications.

Specifications are taken by their word, as stock takes them.  Where one does not say where
keys are (SORT STORE), or finds none, the command's own finder knows them, and those
that no specification found have the flags of the last one.

It must not know: users, connections.
"""

from __future__ import annotations

from collections.abc import Callable

from perdure.store.command import Command, KeySpec

KeyUse = tuple[bytes, tuple[str, ...]]
"""A key and the flags of the specification that found it: ("RW", "access", "update")."""


def _set_flags(argv: list[bytes]) -> tuple[str, ...]:
    if any(word.upper() == b"GET" for word in argv[3:]):
        return ("RW", "access", "update")
    return ("OW", "update")


def _bitfield_flags(argv: list[bytes]) -> tuple[str, ...]:
    """Only GET, and OVERFLOW between, reads; so as not to allow too much, what is no syntax writes."""
    at = 2
    while at < len(argv):
        word, more = argv[at].upper(), len(argv) - at - 1
        if word == b"GET" and more >= 2:
            at += 3
        elif word == b"OVERFLOW" and more >= 1:
            at += 2
        else:
            return ("RW", "access", "update")
    return ("RO", "access")


VARIABLE_FLAGS: dict[bytes, Callable[[list[bytes]], tuple[str, ...]]] = {
    b"SET": _set_flags,
    b"BITFIELD": _bitfield_flags,
}
"""Commands that do to their keys what their arguments say (key specifications flagged ``variable_flags``)."""


def keys_with_flags(entry: Command, line: list[bytes]) -> list[KeyUse]:
    """Every key of a command line whose arity fits."""
    if not entry.key_specs and entry.find_keys is None:
        return [(key, ()) for key in entry.keys(line)]
    specs = [spec for spec in entry.key_specs if "not_key" not in spec.flags]
    if not specs and entry.key_specs:
        return []  # shard channels
    found: list[KeyUse] = []
    complete = bool(specs)
    for spec in specs:
        flags = spec.flags
        if "variable_flags" in flags and entry.name in VARIABLE_FLAGS:
            flags = VARIABLE_FLAGS[entry.name](line)
        keys = _keys_by_spec(spec, line)
        complete = complete and bool(keys) and "incomplete" not in flags
        found += [(key, flags) for key in keys]
    if complete:
        return found
    unknown = specs[-1].flags if specs else ()
    return [(key, found[i][1] if i < len(found) else unknown) for i, key in enumerate(entry.keys(line))]


def _keys_by_spec(spec: KeySpec, line: list[bytes]) -> list[bytes]:
    """The keys that one specification finds; [] if it does not say where they are, or they are not there."""
    kind, *rest = spec.begin
    if kind == "index":
        first = rest[0]
    elif kind == "keyword":
        word, start = rest[0].upper().encode(), rest[1]
        words = [argument.upper() for argument in line]
        places = range(start, len(line)) if start > 0 else range(len(line) + start, 0, -1)
        first = next((place + 1 for place in places if words[place] == word), 0)
    else:
        first = 0
    if not 0 < first < len(line):
        return []
    how, *numbers = spec.find
    if how == "range":
        last, step, limit = numbers
        if last >= 0:
            end = first + last
        elif limit <= 1:
            end = len(line) + last
        else:
            end = first + (len(line) - first) // limit + last
    elif how == "keynum":
        index, begin, step = numbers
        if first + index >= len(line):
            return []
        count = line[first + index]
        first += begin
        end = first + (int(count) - 1) * step if count.isdigit() and len(count) < 10 else 0
    else:
        return []
    return line[first : end + 1 : step] if end < len(line) else []
