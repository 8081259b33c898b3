"""Files of every version beside stock: what both hold of each, and what stock holds of what ours writes of it.

Files that stock 7.0 loads must come out the same, in contents, encodings and digest.  Those that
it cannot load (values of modules, version 11 and later, Valkey's) are written again as version 10:
stock must hold of that what ours holds of the file, and what version 10 cannot hold must be told.

``PERDURE_CORPUS`` names a folder with a collection of old files (``rdb/*.rdb``, versions 2 to 9,
of the redis-rdb-tools project); without it the test of these is skipped.  Each test prints its
table (``-s``, or ``-rP``).
"""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import oracle_generators  # noqa: F401 - how each type is read
import pytest
from oracle_harness import Oracle, assert_same_state, oracle_state
from rdb_forms import FORMS, MODULE_DATA, MODULE_ID, VALKEY_HASH, file, key, length, stream
from rdb_stock import check_against_stock, digest, events_of, file_of, loaded, state_of, stock_loads

from perdure.snapshot.rdb.events import Entry, SkippedModule
from perdure.snapshot.rdb.format import TYPE_NAMES

pytestmark = pytest.mark.oracle

CORPUS = os.environ.get("PERDURE_CORPUS", "")
FILES = sorted(Path(CORPUS, "rdb").glob("*.rdb")) if CORPUS else []
WITH_MODULES = {"redis_40_with_module.rdb", "redis_60_with_module_aux.rdb"}
"""Stock ends at once without the module."""

HEAD = ["| file | version | bytes | keys | types | stock loads | stock holds of what ours writes |", "|---" * 7 + "|"]
LOST_DEADLINES = "version 10 cannot hold when fields of a hash expire"


def row(name: str, data: bytes, loads: str, held: str) -> str:
    """A line of the table."""
    found = events_of(data)
    types = Counter(TYPE_NAMES[event.code] for event in found if isinstance(event, Entry))
    types["module's data, skipped"] = sum(isinstance(event, SkippedModule) for event in found)
    shown = ", ".join(f"{count} {kind}" for kind, count in types.items() if count)
    keys = sum(isinstance(event, Entry) for event in found)
    version = int(data[6:9])
    return f"| {name} | {version} | {len(data)} | {keys} | {shown} | {loads} | {held} |"


def without_deadlines(state: dict[int, dict[bytes, Any]]) -> dict[int, dict[bytes, Any]]:
    """The same, but that no field of a hash expires."""
    return {
        index: {
            name: (kind, value[0] if kind == b"hash" and isinstance(value, tuple) else value, at)
            for name, (kind, value, at) in db.items()
        }
        for index, db in state.items()
    }


def written_for_stock(stock: Oracle, data: bytes) -> tuple[str, set[str]]:
    """Ours writes version 10 of a file; stock holds the same of it: its digest, and what was told to be lost."""
    found = loaded(data)
    lost: list[tuple[bytes | None, str]] = []
    stock_loads(stock, file_of(found.keyspace, lost=lambda name, what: lost.append((name, what))))
    assert_same_state(oracle_state(stock), without_deadlines(state_of(found.keyspace)), tolerance_ms=0)
    return digest(stock).decode(), {what for _, what in lost}


@pytest.mark.skipif(not FILES, reason="PERDURE_CORPUS names no folder with rdb/*.rdb")
def test_old_files_are_what_stock_makes_of_them(stock: Oracle) -> None:
    assert len(FILES) == 28
    table = HEAD.copy()
    for path in FILES:
        data = path.read_bytes()
        if path.name in WITH_MODULES:
            assert loaded(data).modules == 1
            summed, lost = written_for_stock(stock, data)
            assert not lost
            table.append(row(path.name, data, "no: it lacks the module", f"all but that; {summed[:8]}"))
        else:
            summed = check_against_stock(stock, data).decode()
            table.append(row(path.name, data, "yes", f"the same; {summed[:8]}"))
    print("\n".join(table))


LATER: dict[str, tuple[bytes, set[str]]] = {
    **{
        name: (
            file(key(code, b"k", value), version=11 if code < 22 else 12),
            {LOST_DEADLINES} if isinstance(expected, tuple) else set(),
        )
        for name, code, value, expected in FORMS
        if code > 19
    },
    "a stream of 7.2": (file(key(21, b"s", stream(3)), version=11), set()),
    "Valkey's hash with field expiry": (
        file(b"\xf4\1\2\3", key(22, b"h", VALKEY_HASH[0]), version=80, valkey=True), {LOST_DEADLINES},
    ),
    "Valkey's file of old types": (
        file(*(key(code, name.encode(), value) for name, code, value, to in FORMS if code < 22 and to != []),
             version=80, valkey=True), set(),
    ),
    "a module's value": (file(key(7, b"m", length(MODULE_ID) + MODULE_DATA), key(0, b"a", b"\1x"), version=9), set()),
}  # fmt: skip


def test_files_that_stock_cannot_load_are_written_for_it(stock: Oracle) -> None:
    table = HEAD.copy()
    for name, (data, expected) in LATER.items():
        summed, lost = written_for_stock(stock, data)
        assert lost == expected, name
        held = f"all but {lost.pop().removeprefix('version 10 cannot hold ')}" if lost else "the same"
        table.append(row(name, data, "no", f"{held}; {summed[:8]}"))
    print("\n".join(table))


@pytest.mark.parametrize("version", [9, 11, 12])
def test_what_other_versions_cannot_hold_is_told_and_the_rest_is_held(version: int) -> None:
    """Read back by ours: stock 7.0 reads nothing later than 10."""
    for name, (data, expected) in LATER.items():
        before = loaded(data).keyspace
        told: set[str] = set()
        written = file_of(before, version=version, lost=partial(_note, told))
        assert written[:9] == b"REDIS%04d" % version
        after = state_of(loaded(written).keyspace)
        deadlines = {what for what in expected if version < 12}
        assert {what.replace(f"version {version}", "version 10") for what in told} >= deadlines, name
        assert bool(told) <= (version == 9 or bool(deadlines)), name
        if not told:
            assert after == state_of(before), name
        elif deadlines:
            assert after == without_deadlines(state_of(before)), name


def _note(told: set[str], name: bytes | None, what: str) -> None:
    told.add(what)
