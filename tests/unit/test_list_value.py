"""The value of a list: any change as on a plain list, blocks that stay whole, costs that do not grow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

import perdure.store.commands  # noqa: F401 - fills the command table
from perdure.store import list_blocks, list_value, value_types
from perdure.store.command import TABLE
from perdure.store.database import Keyspace
from perdure.store.list_blocks import BLOCK_BYTES, SHORT, Block, content
from perdure.store.list_value import List
from perdure.store.resp import bulk
from perdure.store.tx import NoLog, Tx


class Twins:
    """A list and the plain list that it must be like."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.value = List()
        self.model: list[bytes] = []

    def element(self) -> bytes:
        rng = self.rng
        if rng.random() < 0.8:
            return b"%d" % rng.randrange(5)
        return b"x" * rng.choice((0, 9, 10, 245, 248, 249, 250, 300, 3000))

    def some(self) -> list[bytes]:
        return [self.element() for _ in range(self.rng.randrange(20))]

    def grow(self) -> None:
        value, model, element, some = self.value, self.model, self.element(), self.some()
        way = self.rng.randrange(4)
        if way == 0:
            value.push_left(bulk(element))
            model.insert(0, element)
        elif way == 1:
            value.push_right(bulk(element))
            model.append(element)
        elif way == 2:
            value.extend_left(map(bulk, some))
            model[:0] = some[::-1]
        else:
            value.extend_right(map(bulk, some))
            model += some

    def shrink(self) -> None:
        value, model, rng = self.value, self.model, self.rng
        count = rng.randrange(min(len(model), rng.choice((5, 500))))
        way = rng.randrange(6)
        if way == 0:
            assert content(value.pop_left()) == model.pop(0)
        elif way == 1:
            assert content(value.pop_right()) == model.pop()
        elif way == 2:
            value.drop_left(count)
            del model[:count]
        elif way == 3:
            value.drop_right(count)
            del model[len(model) - count :]
        elif way == 4:
            assert list(map(content, value.take_right(count))) == model[::-1][:count]
            del model[len(model) - count :]
        else:
            indexes = sorted(rng.sample(range(len(model)), count))
            value.remove(indexes)
            for index in reversed(indexes):
                del model[index]

    def change(self) -> None:
        index, element = self.rng.randrange(len(self.model)), self.element()
        if self.rng.random() < 0.5:
            self.value.set(index, bulk(element))
            self.model[index] = element
        else:
            self.value.insert(index, bulk(element))
            self.model.insert(index, element)

    def read(self) -> None:
        value, model, rng, count = self.value, self.model, self.rng, len(self.model)
        index, element, limit = rng.randrange(count), self.element(), rng.randrange(1, count + 2)
        assert value.item(index) == bulk(model[index])
        stop = rng.randrange(index, count + 1)
        assert value.items(index, stop) == b"".join(map(bulk, model[index:stop]))
        assert value.elements(index, stop) == model[index:stop]
        found = [at for at in range(count) if model[at] == element]
        assert list(value.find(bulk(element))) == found
        assert list(value.find(bulk(element), backwards=True)) == found[::-1]
        assert list(value.find(bulk(element), limit=limit)) == [at for at in found if at < limit]
        assert list(value.find(bulk(element), True, limit)) == [at for at in found[::-1] if at >= count - limit]

    def check(self) -> None:
        assert list(self.value) == self.model
        assert len(self.value) == len(self.model)
        if self.model:
            self.value._check()


@pytest.mark.parametrize("block_bytes", [60, BLOCK_BYTES])
@pytest.mark.parametrize("seed", range(3))
def test_any_change_is_as_on_a_plain_list(seed: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (list_blocks, list_value):
        monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(list_value, "_SMALL", block_bytes // 4)
    twins = Twins(seed)
    for _ in range(2000):
        if len(twins.model) < 2:
            twins.grow()
        elif len(twins.model) > 400:
            twins.shrink()
        else:
            twins.rng.choice((twins.grow, twins.grow, twins.shrink, twins.change, twins.read))()
        twins.check()


def test_the_longest_short_item_and_the_shortest_long_one_keep_their_sizes() -> None:
    elements = [b"x" * n for n in range(SHORT - 12, SHORT + 3)]
    value = List(elements)
    assert {len(bulk(element)) for element in elements} >= {SHORT - 1, SHORT, SHORT + 1}
    value._check()
    assert [content(value.item(index)) for index in range(len(elements))] == elements


def test_a_copy_shares_nothing_changeable() -> None:
    value = List([b"%d" % n for n in range(2000)])
    twin = value_types.of(value).copy(value)
    before = list(value)
    twin.push_left(b"$1\r\na\r\n")
    twin.set(1000, b"$1\r\nb\r\n")
    twin.drop_right(700)
    assert list(value) == before
    value._check()
    twin._check()


@pytest.mark.parametrize("size", [1, 30, 300, 400_000])
def test_rebuild_makes_the_same_list_in_bounded_commands(size: int) -> None:
    tx = Tx(Keyspace(1), NoLog(), Random(1), {})
    value = List([b"%d" % n + b"x" * size for n in range(200 if size < 1000 else 7)])
    for line in value_types.of(value).rebuild(b"k", value):
        assert len(line) <= 66
        assert sum(map(len, line)) < 2 << 20
        TABLE[b"RPUSH"].handler(tx, line)
    assert list(tx.db[b"k"]) == list(value)


def test_removing_bit_by_bit_leaves_no_crumbs() -> None:
    value = List([b"%d" % (n % 100) for n in range(20_000)])
    for n in range(99):
        value.remove(list(value.find(bulk(b"%d" % n))))
    value._check()
    assert len(list(value.blocks())) <= 4 * sum(len(blob) for blob, _ in value.blocks()) // BLOCK_BYTES + 2


# ---- what it costs ---------------------------------------------------------------------


class Counted(deque[Block]):
    """Blocks that count who looks at them."""

    looks = 0

    def _counted(self, blocks: Iterator[Block]) -> Iterator[Block]:
        for block in blocks:
            self.looks += 1
            yield block

    def __iter__(self) -> Iterator[Block]:
        return self._counted(super().__iter__())

    def __reversed__(self) -> Iterator[Block]:  # type: ignore[override]
        return self._counted(super().__reversed__())


def looks_of(value: List, job: Any) -> int:
    """How many blocks of the middle a job looks at."""
    value.middle = middle = Counted(value.middle_blocks())
    job()
    return middle.looks


@pytest.mark.parametrize("count", [10**4, 10**6])
def test_ends_cost_the_same_however_long_the_list_is(count: int) -> None:
    value = List(b"%07d" % n for n in range(count))
    item = bulk(b"new")
    for near in (0, 99, count - 100, count - 1):
        assert looks_of(value, lambda at=near: value.item(at)) <= 2
        assert looks_of(value, lambda at=near: value.set(at, item)) <= 2
    for start, stop in ((0, 100), (0, 600), (count - 600, count), (500, 600)):
        assert looks_of(value, lambda a=start, b=stop: value.items(a, b)) <= 8
    assert looks_of(value, lambda: value.items(count - 1100, count - 1000)) <= 12
    assert looks_of(value, lambda: next(value.find(bulk(b"%07d" % (count - 2)), backwards=True))) <= 2
    assert looks_of(value, lambda: value.drop_left(1000)) == 0
    assert looks_of(value, lambda: value.take_right(1000)) == 0
    assert looks_of(value, lambda: value.insert(50, item)) <= 1
    value._check()


def test_the_middle_of_a_million_is_a_walk_over_blocks_not_over_elements() -> None:
    value = List(b"%07d" % n for n in range(10**6))
    blocks = len(value.middle_blocks())
    assert blocks < 10**6 / 100
    assert looks_of(value, lambda: value.item(500_000)) <= blocks // 2 + 1
    assert looks_of(value, lambda: value.insert(500_000, bulk(b"new"))) <= blocks // 2 + 1
    assert content(value.item(500_000)) == b"new"
    long = List([b"x" * SHORT] * 10_000)
    assert looks_of(long, lambda: long.item(5000)) == 0


def test_what_is_left_of_a_big_list_is_freed_in_pieces() -> None:
    tx = Tx(Keyspace(1), NoLog(), Random(1), {})
    TABLE[b"RPUSH"].handler(tx, [b"RPUSH", b"k", *[b"x" * SHORT] * 10_000])
    TABLE[b"DEL"].handler(tx, [b"DEL", b"k"])
    assert [rubbish.__class__ for rubbish in tx.keyspace.garbage] == [list]
    steps = 1
    while tx.keyspace.free_some(1000):
        steps += 1
    assert steps == 10
