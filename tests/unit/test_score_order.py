"""Pairs in order: against a sorted list, in blocks so small that all of it happens, and what it costs counted."""

from __future__ import annotations

import sys
from math import log2
from random import Random
from types import FrameType
from typing import Any

import pytest

from perdure.store import score_order
from perdure.store.score_order import ScoreOrder

SIZES = {"_FULL": 16, "_HALF": 8, "_LOW": 4, "_MERGED": 12, "_APPENDED": 14}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in SIZES.items():
        monkeypatch.setattr(score_order, name, size)


class Model:
    """A ``ScoreOrder`` beside a dict that is sorted anew for every question."""

    def __init__(self, rng: Random, scores: int) -> None:
        self.rng = rng
        self.scores = scores
        self.scored: dict[bytes, float] = {}
        self.order = ScoreOrder([], [])

    def pairs(self) -> list[tuple[float, bytes]]:
        return sorted((score, member) for member, score in self.scored.items())

    def put(self) -> None:
        member, score = b"%d" % self.rng.randrange(300), float(self.rng.randrange(self.scores))
        if member not in self.scored:
            self.order.add(score, member)
        elif self.scored[member] != score:
            self.order.move(self.scored[member], score, member)
        self.scored[member] = score

    def remove(self) -> None:
        if self.scored:
            member = self.rng.choice(list(self.scored))
            assert self.order.remove(self.scored.pop(member), bytes(bytearray(member))) == member

    def cut(self) -> None:
        start = self.rng.randrange(len(self.scored) + 1)
        stop = self.rng.randrange(start, min(len(self.scored), start + 40) + 1)
        gone = [member for _, member in self.pairs()[start:stop]]
        assert self.order.cut(start, stop) == gone
        for member in gone:
            del self.scored[member]

    def ask(self) -> None:
        pairs = self.pairs()
        start, stop = sorted(self.rng.randrange(len(pairs) + 1) for _ in range(2))
        assert list(zip(*self.order.slice(start, stop), strict=True)) == [(m, s) for s, m in pairs[start:stop]]
        for bound in (-1.0, 0.0, self.scores / 2, self.scores + 1.0):
            assert self.order.below(bound, False) == sum(score < bound for score, _ in pairs)
            assert self.order.below(bound, True) == sum(score <= bound for score, _ in pairs)
        if self.scores == 1:
            members = [member for _, member in pairs]
            for bound in (b"", b"15", b"2", b"299", b"a"):
                assert self.order.lex_below(bound, False) == sum(member < bound for member in members)
                assert self.order.lex_below(bound, True) == sum(member <= bound for member in members)
        if pairs:
            rank = self.rng.randrange(len(pairs))
            assert self.order.rank(*pairs[rank]) == rank
            assert self.order.at(rank) == pairs[rank][1]


@pytest.mark.parametrize("seed", range(12))
def test_any_script_leaves_what_a_sorted_list_has(small_blocks: None, seed: int) -> None:
    model = Model(Random(seed), seed % 6 + 1)
    steps = [*[model.put] * 6, *[model.remove] * (2 + seed % 4), model.cut, model.ask]
    for _ in range(700):
        model.rng.choice(steps)()
        model.order._check()
        assert model.order.size == len(model.scored)


def test_what_arrives_in_order_fills_its_blocks() -> None:
    order = ScoreOrder([], [])
    for n in range(20_000):
        order.add(float(n), b"%d" % n)
    order._check()
    assert len(order.scores) <= 20_000 / (0.8 * score_order._FULL)


def test_an_order_of_any_size_is_made_of_sorted_lists(small_blocks: None) -> None:
    for n in (0, 1, 12, 13, 24, 25, 100):
        order = ScoreOrder([b"%03d" % i for i in range(n)], [0.0] * n)
        order._check()
        assert order.size == n


# ---- costs -------------------------------------------------------------------------------------


class Counted(float):
    """A score that counts its comparisons."""

    count = 0

    def _counting(name: str) -> Any:  # type: ignore[misc]
        plain = getattr(float, name)

        def compare(self: float, other: object) -> Any:
            Counted.count += 1
            return plain(self, other)

        return compare

    __lt__, __gt__, __eq__ = _counting("__lt__"), _counting("__gt__"), _counting("__eq__")
    __hash__ = float.__hash__


def lines_run(function: Any) -> int:
    """How many lines of Python a call runs."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def ten_from(order: ScoreOrder, score: float, member: bytes) -> None:
    """What ZRANGEBYSCORE with LIMIT does."""
    start = order.below(score, False)
    order.slice(start, min(start + 10, order.size))


OPERATIONS = {
    "rank": lambda order, score, member: order.rank(score, member),
    "range by score with a limit": ten_from,
    "add": lambda order, score, member: order.add(Counted(score + 0.25), member + b"x"),
    "remove": lambda order, score, member: order.remove(score, member),
    "pop": lambda order, score, member: order.cut(0, 1),
}


def cost(operation: Any, size: int) -> tuple[int, int]:
    """The most comparisons and the most lines that one of some calls takes, on members from all over."""
    order = ScoreOrder([b"%07d" % n for n in range(size)], [float(n // 2) for n in range(size)])
    order.rank(size // 4, b"%07d" % (size // 2))  # the tree is made once, and paid by what came before
    comparisons = lines = 0
    for n in range(0, size, size // 37):
        Counted.count = 0
        score, member = Counted(n // 2), b"%07d" % n
        lines = max(lines, lines_run(lambda score=score, member=member: operation(order, score, member)))
        comparisons = max(comparisons, Counted.count)
    if size <= 1000:
        order._check()
    return comparisons, lines


@pytest.mark.parametrize("name", OPERATIONS)
def test_costs_grow_with_the_logarithm(name: str) -> None:
    costs = {size: cost(OPERATIONS[name], size) for size in (10**3, 10**5, 10**6)}
    for size, (comparisons, lines) in costs.items():
        assert comparisons <= 6 * log2(size) + 12, costs
        assert lines <= 20 * log2(size) + 60, costs


def test_ranks_between_writes_do_not_make_the_tree_anew_each_time() -> None:
    size = 10**5
    order = ScoreOrder([b"%07d" % n for n in range(size)], [float(n) for n in range(size)])
    order.rank(50_000.0, b"%07d" % 50_000)
    made = 0
    for n in range(2000):
        tree = order.tree
        order.add(n * 40 + 0.5, b"new%d" % n)
        order.rank(50_000.0, b"%07d" % 50_000)
        made += order.tree is not tree
    assert made < 10
    order._check()
