"""KeyOrder: the guarantee of SCAN on changing tables, and fair random members."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.store.key_order import KeyOrder


class Table(dict[bytes, None]):
    """A dict with its order, and the keys that were there all the time since ``begin``."""

    def __init__(self, keys: list[bytes]) -> None:
        super().__init__((key, None) for key in keys)
        self.order = KeyOrder(self)
        self.steady: set[bytes] = set()

    def add(self, key: bytes) -> None:
        if key not in self:
            self[key] = None
            self.order.append(key)

    def drop(self, key: bytes) -> None:
        if key in self:
            del self[key]
            self.order.removed(key)
            self.steady.discard(key)

    def take(self, rng: Random) -> bytes:
        at = self.order.draw(rng)
        key = self.order.entries[at]
        del self[key]
        self.order.drop(at)
        self.steady.discard(key)
        return key


def names(numbers: range) -> list[bytes]:
    return [b"%d" % n for n in numbers]


step = st.tuples(st.sampled_from(["add", "drop", "take", "page", "churn"]), st.integers(0, 400), st.integers(1, 60))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 400), st.lists(step, max_size=60))
def test_a_scan_returns_every_key_that_stays(size: int, steps: list[tuple[str, int, int]]) -> None:
    table = Table(names(range(size)))
    table.steady = set(table)
    cursor = 0
    seen: set[bytes] = set()
    started = ended = False
    for kind, n, many in steps:
        if kind == "add":
            for i in range(many):
                table.add(b"%d" % (n + i))
        elif kind == "drop":
            for i in range(many):
                table.drop(b"%d" % (n + i))
        elif kind == "take":
            rng = Random(n)
            for _ in range(min(many, len(table))):
                table.take(rng)
        elif kind == "churn":
            for i in range(many * 4):
                table.add(b"c%d.%d" % (n, i))
                table.drop(b"c%d.%d" % (n, i // 2))
        elif not ended:
            if not started:
                table.steady = set(table)
                started = True
            cursor, page = table.order.page(cursor, many)
            assert len(page) <= many and all(key in table for key in page)
            seen.update(page)
            ended = cursor == 0
        table.order._check(table)
    if not started:
        table.steady = set(table)
    while not ended:
        cursor, page = table.order.page(cursor, 7)
        seen.update(page)
        ended = cursor == 0
    assert table.steady <= seen


def test_a_scan_of_a_still_table_returns_each_key_once() -> None:
    table = Table(names(range(1000)))
    cursor, seen = table.order.page(0, 10)
    calls = 1
    while cursor:
        cursor, page = table.order.page(cursor, 10)
        seen += page
        calls += 1
    assert sorted(seen) == sorted(table)
    assert calls == 100


def test_a_scan_ends_while_keys_arrive_and_leave_faster_than_it_goes() -> None:
    table = Table(names(range(5000)))
    fresh = 5000
    cursor, _ = table.order.page(0, 10)
    calls = 1
    while cursor:
        for _ in range(30):
            table.add(b"%d" % fresh)
            table.drop(b"%d" % (fresh - 5000))
            fresh += 1
        cursor, _ = table.order.page(cursor, 10)
        calls += 1
        assert calls < 1000
    table.order._check(table)


def test_a_scan_that_deletes_what_it_sees_sees_everything() -> None:
    table = Table(names(range(5000)))
    seen: set[bytes] = set()
    cursor = -1
    while cursor:
        cursor, page = table.order.page(max(cursor, 0), 10)
        seen.update(page)
        for key in page:
            table.drop(key)
    assert len(seen) == 5000
    assert not table


def test_taking_at_random_leaves_no_holes_and_moves_the_list_never() -> None:
    table = Table(names(range(5000)))
    entries = table.order.entries
    rng = Random(5)
    taken = [table.take(rng) for _ in range(4000)]
    assert len(set(taken)) == 4000
    assert table.order.entries is entries
    assert len(entries) == 1000
    table.order._check(table)


@pytest.mark.parametrize("which", ["oldest", "newest", "random", "every third"])
def test_no_removal_costs_more_than_a_few_entries(which: str) -> None:
    """However long the list is, and whichever keys leave: nothing is ever made anew."""
    table = Table(names(range(50_000)))
    leaving = names(range(50_000))
    if which == "newest":
        leaving.reverse()
    elif which == "random":
        Random(8).shuffle(leaving)
    elif which == "every third":
        leaving = [leaving[n] for start in range(3) for n in range(start, len(leaving), 3)]
    entries = table.order.entries
    for n, key in enumerate(leaving):
        before = len(entries)
        table.drop(key)
        assert before - len(entries) <= 256
        assert len(table.order.gone) <= len(entries) // 6 + 64
        if n % 5000 == 0:
            table.order._check(table)
    assert table.order.entries is entries
    assert len(entries) <= 64


def test_any_cursor_is_harmless() -> None:
    table = Table(names(range(100)))
    for key in names(range(90)):
        table.drop(key)
    rng = Random(3)
    for bits in range(65):
        cursor, page = table.order.page(rng.getrandbits(bits), 1 << 62)
        assert cursor == 0
        assert set(page) <= set(table)


def test_the_list_stays_bounded_when_the_same_key_comes_and_goes() -> None:
    table = Table(names(range(10)))
    for _ in range(10_000):
        table.drop(b"3")
        table.add(b"3")
    assert len(table.order.entries) == 10


def test_random_members_are_fair_after_changes() -> None:
    table = Table(names(range(20)))
    for _ in range(100):
        for key in names(range(5)):
            table.drop(key)
            table.add(key)
    for key in names(range(10, 20)):
        table.drop(key)
    rng = Random(11)
    counts = Counter(table.order.choose(rng) for _ in range(20_000))
    assert set(counts) == set(table)
    assert max(counts.values()) < 1.25 * min(counts.values())
