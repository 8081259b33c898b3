"""The value of a stream: ids, listpacks' lengths, stock's tree, copies that share nothing, costs that do not grow."""

from __future__ import annotations

from operator import attrgetter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import perdure.store.commands  # noqa: F401 - fills the command table
from perdure.store import stream_value, value_types
from perdure.store.command import TABLE
from perdure.store.commands.streams import entries_reply
from perdure.store.database import Keyspace
from perdure.store.resp import bulk_array
from perdure.store.stream_ids import ID_MAX, print_id, read_id, read_partial_id
from perdure.store.stream_nodes import Node, int_size, pairs_of, radix_nodes, signed, text_size
from perdure.store.stream_value import Stream, TrimRule
from perdure.store.tx import NoLog, Tx

ids = st.integers(0, ID_MAX)


def new_tx(**limits: int) -> Tx:
    tx = Tx(Keyspace(1), NoLog(), Random(1), {name.replace("_", "-"): n for name, n in limits.items()})
    tx.now_ms = tx.clock_ms = 1_700_000_000_000
    return tx


def run(tx: Tx, *argv: bytes) -> bytes:
    entry = TABLE[argv[0]]
    return (entry.subcommands[argv[1]] if entry.subcommands else entry).handler(tx, list(argv))


def filled(count: int, tx: Tx | None = None) -> Stream:
    """A stream with the ids 1-0 to count-0."""
    tx = tx or new_tx()
    for n in range(1, count + 1):
        run(tx, b"XADD", b"k", b"%d-0" % n, b"f", b"%d" % n)
    stream: Stream = tx.db[b"k"]
    return stream


# ---- ids -------------------------------------------------------------------------------


@given(ids)
def test_an_id_is_read_as_it_is_printed(entry_id: int) -> None:
    assert read_id(print_id(entry_id)) == entry_id
    assert read_partial_id(print_id(entry_id)) is None


@given(st.integers(0, (1 << 64) - 1))
def test_a_missing_sequence_is_filled_in(ms: int) -> None:
    assert read_id(b"%d" % ms, 7) == ms << 64 | 7
    assert read_partial_id(b"%d-*" % ms) == ms


# ---- nodes -----------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "size"), [
    (b"0", 2), (b"127", 2), (b"128", 3), (b"-1", 3), (b"4095", 3), (b"4096", 4), (b"32768", 5), (b"8388608", 6),
    (b"2147483648", 10), (b"9223372036854775808", 21), (b"01", 4), (b"", 2), (b"-", 3), (b"x" * 63, 65),
    (b"x" * 64, 67), (b"x" * 126, 130), (b"x" * 4096, 4103),
])  # fmt: skip
def test_an_element_is_as_long_as_in_a_listpack(text: bytes, size: int) -> None:
    assert text_size(text) == size


def test_differences_are_stored_as_signed_numbers() -> None:
    assert signed(-1) == -1
    assert signed((1 << 64) - 1) == -1
    assert signed(1 << 63) == -(1 << 63)
    assert int_size(signed(5)) == 2


@given(st.lists(st.binary(max_size=70), min_size=2, max_size=8).filter(lambda words: not len(words) % 2))
def test_fields_and_values_come_back_out_of_an_entry(pairs: list[bytes]) -> None:
    assert pairs_of(bulk_array(pairs)) == pairs


def tree_size(keys: list[bytes], depth: int = 0) -> int:
    """Nodes of stock's radix tree below a place, counted by making it."""
    if not keys:
        return 1
    if depth == 16:
        return 1
    heads = sorted({key[depth] for key in keys})
    if len(heads) > 1:
        return 1 + sum(tree_size([key for key in keys if key[depth] == head], depth + 1) for head in heads)
    end = depth
    while end < 16 and len({key[end] for key in keys}) == 1:
        end += 1
    return 1 + tree_size(keys, end)


near = st.builds(lambda ms, seq: ms << 64 | seq, st.sampled_from([0, 1, 255, 256, 65_535, 65_536, 1 << 40]),
                 st.sampled_from([0, 1, 2, 255, 256, 1 << 63]))  # fmt: skip


@given(st.lists(st.one_of(near, ids), max_size=20, unique=True).map(sorted))
def test_the_tree_has_as_many_nodes_as_one_that_is_made(keys: list[int]) -> None:
    assert radix_nodes(keys) == tree_size([key.to_bytes(16, "big") for key in keys])


# ---- streams ---------------------------------------------------------------------------


def test_nodes_are_cut_by_count_and_by_bytes() -> None:
    assert [node.count for node in filled(250).nodes] == [100, 100, 50]
    few = filled(10, new_tx(stream_node_max_entries=4))
    assert [node.count for node in few.nodes] == [4, 4, 2]
    tx = new_tx(stream_node_max_bytes=200)
    for _ in range(4):
        run(tx, b"XADD", b"k", b"*", b"f", b"v" * 70)
    assert [node.count for node in tx.db[b"k"].nodes] == [2, 2]


def test_a_copy_shares_nothing_changeable() -> None:
    tx = new_tx()
    filled(5, tx)
    run(tx, b"XGROUP", b"CREATE", b"k", b"g", b"0")
    run(tx, b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", b"k", b">")
    value = tx.db[b"k"]
    kind = value_types.of(value)
    before = kind.plain(value)
    twin = kind.copy(value)
    assert kind.plain(twin) == before
    tx.db[b"k"] = twin
    for line in ([b"XDEL", b"k", b"3"], [b"XADD", b"k", b"*", b"a", b"b"], [b"XACK", b"k", b"g", b"1"],
                 [b"XCLAIM", b"k", b"g", b"d", b"0", b"2"], [b"XGROUP", b"DELCONSUMER", b"k", b"g", b"c"],
                 [b"XTRIM", b"k", b"MAXLEN", b"1"], [b"XSETID", b"k", b"18446744073709551615"]):  # fmt: skip
        run(tx, *line)
        assert kind.plain(value) == before
        twin._check()
        value._check()


def test_an_entry_read_is_the_entry_added() -> None:
    stream = filled(3)
    assert (
        entries_reply(*stream.collect(2 << 64, ID_MAX, 1)) == b"*1\r\n*2\r\n$3\r\n2-0\r\n*2\r\n$1\r\nf\r\n$1\r\n2\r\n"
    )
    assert stream.collect(0, ID_MAX, 2, True)[0] == [3 << 64, 2 << 64]
    assert stream.collect(5 << 64, 4 << 64) == ([], [])


def test_the_longest_entry_has_stocks_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    from perdure.store.commands import streams
    from perdure.store.errors import XADD_TOO_LARGE, CommandError

    monkeypatch.setattr(streams, "MAX_LISTPACK", 5000)
    tx = new_tx()
    run(tx, b"XADD", b"k", b"*", b"f", b"v" * 4999)
    for key in (b"k", b"new"):
        with pytest.raises(CommandError) as refused:
            run(tx, b"XADD", key, b"*", b"f", b"v" * 5000)
        assert refused.value.text == XADD_TOO_LARGE
    assert b"new" not in tx.db


# ---- costs, counted --------------------------------------------------------------------


class Count:
    """Counts how many nodes a bisection looks at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks = 0
        first = attrgetter("first")

        def look(node: Node) -> Any:
            self.looks += 1
            return first(node)

        monkeypatch.setattr(stream_value, "_first", look)


@pytest.mark.parametrize("count", [1_000, 100_000])
def test_a_range_looks_at_the_nodes_that_it_shows(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = filled(count)
    counter = Count(monkeypatch)
    for reverse in (False, True):
        found, items = stream.collect(count // 2 << 64, (count // 2 + 500) << 64, 10, reverse)
        assert len(found) == len(items) == 10
    assert counter.looks <= 2 * (count // 100).bit_length() + 2


@pytest.mark.parametrize("count", [1_000, 100_000])
def test_trimming_moves_each_node_once_or_twice(count: int) -> None:
    stream = filled(count)
    moved = 0
    for least in range(100, count + 1, 100):
        head = stream.head
        trim = stream.plan_trim(TrimRule(True, (least + 1) << 64, True))
        assert (trim.nodes, trim.deleted) == (1, 100)
        stream.trim(trim)
        moved += len(stream.nodes) - stream.head if stream.head <= head else 0
    assert moved <= 2 * (count // 100)
    assert stream.length == 0
    stream._check()


def test_deleting_in_the_middle_touches_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = filled(20_000)
    counter = Count(monkeypatch)
    before = [id(node) for node in stream.nodes]
    for n in range(5_001, 5_100):
        assert stream.delete(n << 64)
    assert [id(node) for node in stream.nodes] == before
    assert stream.delete(5_100 << 64)
    assert len(stream.nodes) == len(before) - 1
    assert counter.looks <= 100 * 9
    stream._check()
