"""What holds for every command of the table, whatever its data type: facts, replies, LOG-FIRST, replay."""

from __future__ import annotations

from typing import Any

import oracle_bits_lines  # noqa: F401 - plugs in its generators
import oracle_dumps_lines  # noqa: F401
import oracle_geo_lines  # noqa: F401
import oracle_keys_lines  # noqa: F401
import oracle_lists_lines  # noqa: F401
import oracle_sets_lines  # noqa: F401
import oracle_streams_lines  # noqa: F401
import oracle_zsets_lines  # noqa: F401
import pytest
from oracle_differences import NEWER_ARITY, NEWER_COMMANDS
from oracle_harness import (
    Oracle,
    Ours,
    assert_same,
    assert_same_state,
    check_all_log_first,
    check_replay,
    commands_of,
    oracle_state,
    plain,
)
from oracle_lines import Lines

from perdure.store.command import FLAG_NAMES, Command, KeySpec, _check, every_command, find

pytestmark = pytest.mark.oracle

COMMANDS = [entry for entry in every_command() if entry.handler.__module__.startswith("perdure.store.")]


def _pairs(flat: list[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _spec_of_stock(flat: list[Any]) -> tuple[Any, ...]:
    spec = _pairs(flat)
    parts = []
    for name in (b"begin_search", b"find_keys"):
        part = _pairs(spec[name])
        parts.append((part[b"type"].decode(), *(_pairs(part[b"spec"]).values() if part[b"spec"] else ())))
    return frozenset(flag.decode() for flag in spec[b"flags"]), *parts


def _spec_of_ours(spec: KeySpec) -> tuple[Any, ...]:
    encoded = [tuple(x.encode() if i and isinstance(x, str) else x for i, x in enumerate(part)) for part in
               (spec.begin, spec.find)]  # fmt: skip
    return frozenset(spec.flags), *encoded


def _stock_info(stock: Oracle, entry: Command) -> list[Any] | None:
    info: list[Any] | None = plain(stock(b"COMMAND", b"INFO", entry.lower_name))[0]
    return info


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name.decode())
def test_facts_of_the_command_are_those_of_stock(stock: Oracle, entry: Command) -> None:
    stock.reset()
    info = _stock_info(stock, entry)
    if info is None:
        assert entry.since > "7.0.15", "stock does not know it"
        return
    name, arity, flags, first, last, step, acl, tips, specs, _ = info
    assert entry.lower_name == name
    assert entry.arity == NEWER_ARITY.get(entry.name, arity)
    assert {text for bit, text in FLAG_NAMES.items() if entry.flags & bit} == set(flags)
    assert entry.keys_at == (first, last, step)
    assert {b"@" + word.encode() for word in entry.acl} == set(acl)
    assert set(entry.tips) == {tip.decode() for tip in tips}
    assert [_spec_of_ours(spec) for spec in entry.key_specs] == [_spec_of_stock(spec) for spec in specs]
    docs = _pairs(plain(stock(b"COMMAND", b"DOCS", entry.lower_name))[1])
    assert entry.since.encode() == docs[b"since"]
    assert entry.group.encode() == docs[b"group"]
    assert entry.deprecated_since.encode() == docs.get(b"deprecated_since", b"")
    assert entry.replaced_by.encode() == docs.get(b"replaced_by", b"")
    assert {flag.encode() for flag in entry.doc_flags} == set(docs.get(b"doc_flags", []))
    history = [version.encode() for version, _ in entry.history if version <= "7.0.15"]
    assert history == [line[0] for line in docs.get(b"history", [])]
    assert entry.summary.encode() != docs[b"summary"] + b"."


def test_the_table_is_sound() -> None:
    _check()


def test_every_command_is_among_the_generated_lines() -> None:
    """And each succeeds and fails among them, except those that cannot do one of the two."""
    ours = Ours()
    worked: set[bytes] = set()
    failed: set[bytes] = set()
    for argv in Lines(1).many(1000 * len(COMMANDS)):
        entry = find(argv)
        reply = ours(*argv)
        if entry is not None:
            (failed if reply.startswith(b"-") else worked).add(entry.name)
    names = {entry.name for entry in COMMANDS if not entry.subcommands} - NEWER_COMMANDS
    assert names - worked <= {b"OBJECT|FREQ", b"OBJECT|HELP", b"PFSELFTEST"}
    assert names - failed <= {b"OBJECT|HELP"}


@pytest.mark.parametrize("seed", range(14))
def test_generated_commands_answer_as_stock_does(stock: Oracle, seed: int) -> None:
    """2,000 command lines over all groups, in each protocol and for each seed: 56,000 in all."""
    assert_same(stock, Lines(seed).many(2000))


@pytest.mark.parametrize("seed", range(3))
def test_a_log_that_refuses_leaves_memory_untouched(seed: int) -> None:
    """LOG-FIRST, for every command."""
    check_all_log_first([], Lines(100 + seed).many(1500))


@pytest.mark.parametrize("seed", range(3))
def test_what_was_logged_replays_to_the_same_keyspace(stock: Oracle, seed: int) -> None:
    """Here, in a stock server that is sent the records, and in one that loads them as its log."""
    ours = Ours()
    ours.run(Lines(200 + seed).many(2500))
    check_replay(ours, stock)
    stock.reset()
    payload = b"".join(ours.records)
    replies = stock.feed(payload, len(commands_of(payload)))
    assert not [reply for reply in replies if reply.startswith(b"-")]
    assert_same_state(oracle_state(stock), ours.state(), tolerance_ms=0)
