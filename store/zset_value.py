"""The value of a sorted set.

``scores``  a dict from member to score
``order``   the same pairs in order (``store.score_order``): by score, then by the members' bytes
``big``     not None: stock would have it as a skiplist, as it once had more members than
            ``zset-max-listpack-entries``, or one longer than ``zset-max-listpack-value``;
            it never turns small again.  What only a big one may have is in there: ``scan``,
            the members' order for ZSCAN, made when that first needs it and kept up from then on
``packed``  a small sorted set that was not used for a while is one byte string and nothing
            else (``store.warm``); None while it is unpacked

Whoever gets the value out of a database calls ``unpack`` before anything else if it is
packed, and adds its key to the keyspace's ``warm``; the functions at the end, for COPY and its
kind, read a packed one as it is.

Scores are floats, never NaN.  A small sorted set keeps no negative zero, as stock's listpack
keeps whole numbers as integers; a big one does.

Cost: ``put`` and ``remove`` O(log n), a member's score O(1), packing and unpacking O(n) for
n <= ``_MOST_PACKED``.

Invariants (``_check``): the order has the dict's pairs, as the same objects, so that a
member costs its memory once; a packed one is not big and has no dict and no order; it has a
member.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator
from typing import Any

from perdure.store import value_types
from perdure.store.key_order import KeyOrder
from perdure.store.numbers import print_double
from perdure.store.score_order import ScoreOrder
from perdure.store.value_types import Limits, ValueType

MAX_ENTRIES = "zset-max-listpack-entries"
MAX_VALUE = "zset-max-listpack-value"
value_types.DEFAULT_LIMITS[MAX_ENTRIES] = 128
value_types.DEFAULT_LIMITS[MAX_VALUE] = 64

_MOST_PACKED = 128
_REBUILD_MEMBERS = 64
_REBUILD_BYTES = 1 << 20
_MARSHAL_VERSION = 4

_NO_SCORES: dict[bytes, float] = {}
_NO_ORDER = ScoreOrder([], [])


class Big:
    """What only a big sorted set has."""

    __slots__ = ("scan",)

    def __init__(self) -> None:
        self.scan: KeyOrder | None = None


class ZSet:
    """A sorted set."""

    __slots__ = ("big", "order", "packed", "scores")

    def __init__(self) -> None:
        self.big: Big | None = None
        self.packed: bytes | None = None
        self.scores: dict[bytes, float] = {}
        self.order = ScoreOrder([], [])

    def __len__(self) -> int:
        return len(self.scores) if self.packed is None else len(marshal.loads(self.packed)) // 2

    # ---- packing ---------------------------------------------------------------------

    def pack(self) -> None:
        """Take the packed form, if it is small and not packed yet."""
        if self.big is not None or self.packed is not None or not 0 < len(self.scores) <= _MOST_PACKED:
            return
        order = self.order
        self.packed = marshal.dumps((*order.members[0], *order.scores[0]), _MARSHAL_VERSION)
        self.scores = _NO_SCORES
        self.order = _NO_ORDER

    def unpack(self) -> None:
        """Take the usual form; the value is packed."""
        members, scores = next(self.pairs())
        self.packed = None
        self.scores = dict(zip(members, scores, strict=True))
        self.order = ScoreOrder(members, scores)

    def make_big(self) -> None:
        """Be big from now on, whatever the size: stock's SORT does that, too."""
        if self.packed is not None:
            self.unpack()
        if self.big is None:
            self.big = Big()

    def pairs(self) -> Iterator[tuple[list[bytes], list[float]]]:
        """Members and scores in order, a block at a time, packed or not."""
        if self.packed is not None:
            both = marshal.loads(self.packed)
            count = len(both) // 2
            yield list(both[:count]), list(both[count:])
        else:
            yield from zip(self.order.members, self.order.scores, strict=True)

    # ---- changing --------------------------------------------------------------------

    def put(self, member: bytes, score: float, limits: Limits) -> None:
        """Set a member's score; the member may be new."""
        scores = self.scores
        old = scores.get(member)
        if old is None:
            if self.big is None:
                if len(scores) >= limits[MAX_ENTRIES] or len(member) > limits[MAX_VALUE]:
                    self.big = Big()
                elif not score:
                    score = 0.0
            elif self.big.scan is not None:
                self.big.scan.append(member)
            scores[member] = score
            self.order.add(score, member)
        elif old != score:
            if not score and self.big is None:
                score = 0.0
            scores[member] = score
            self.order.move(old, score, member)

    def remove(self, member: bytes) -> None:
        """Take a member that is here away."""
        self.order.remove(self.scores.pop(member), member)
        if self.big is not None and self.big.scan is not None:
            self.big.scan.removed(member)

    def cut(self, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        """Take the members of the ranks start <= rank < stop away; them and their scores."""
        members = self.order.cut(start, stop)
        pop = self.scores.pop
        scores = [pop(member) for member in members]
        if self.big is not None and self.big.scan is not None:
            for member in members:
                self.big.scan.removed(member)
        return members, scores

    def scanned(self, big: Big) -> KeyOrder:
        """The members' order for ZSCAN of a sorted set that is ``big``, made now if it was not yet."""
        if big.scan is None:
            big.scan = KeyOrder(self.scores)
        return big.scan

    def _check(self) -> None:
        if self.packed is not None:
            assert self.big is None
            assert self.scores is _NO_SCORES and self.order is _NO_ORDER and not _NO_SCORES and not _NO_ORDER.size
            twin = _copy(self)
            twin.unpack()
            twin._check()
            return
        assert self.scores
        assert self.order.size == len(self.scores)
        self.order._check()
        own = {member: member for member in self.scores}
        for members, scores in self.pairs():
            assert all(own[member] is member for member in members)
            assert all(self.scores[member] is score for member, score in zip(members, scores, strict=True))
        assert all(m.__class__ is bytes and s.__class__ is float and s == s for m, s in self.scores.items())
        if self.big is not None and self.big.scan is not None:
            self.big.scan._check(self.scores)


def zset_of(scores: dict[bytes, float], limits: Limits, packed: bool = False) -> ZSet:
    """A sorted set of these members, at least one; the dict is taken over.  O(n log n).

    ``packed``: nobody will use it soon, so it is packed if it is small.
    """
    longest = max(map(len, scores))
    made = ZSet()
    if len(scores) > limits[MAX_ENTRIES] or longest > limits[MAX_VALUE]:
        made.big = Big()
    else:
        scores = {member: score or 0.0 for member, score in scores.items()}
    members, ordered = ordered_pairs(scores)
    if packed and made.big is None and len(members) <= _MOST_PACKED:
        made.packed = marshal.dumps((*members, *ordered), _MARSHAL_VERSION)
        made.scores = _NO_SCORES
        made.order = _NO_ORDER
    else:
        made.scores = scores
        made.order = ScoreOrder(members, ordered)
    return made


def ordered_pairs(scores: dict[bytes, float]) -> tuple[list[bytes], list[float]]:
    """Members and scores in order."""
    members = sorted(scores)
    members.sort(key=scores.__getitem__)
    return members, [scores[member] for member in members]


def _copy(value: ZSet) -> ZSet:
    twin = ZSet()
    if value.big is not None:
        twin.big = Big()
    if value.packed is not None:
        twin.packed = value.packed
        twin.scores = _NO_SCORES
        twin.order = _NO_ORDER
        return twin
    twin.scores = dict(value.scores)
    members: list[bytes] = []
    scores: list[float] = []
    for some, their_scores in value.pairs():
        members += some
        scores += their_scores
    twin.order = ScoreOrder(members, scores)
    twin.pack()
    return twin


def _encoding(value: ZSet, limits: Limits) -> bytes:
    return b"listpack" if value.big is None else b"skiplist"


def _rebuild(key: bytes, value: ZSet) -> Iterator[list[bytes]]:
    line = [b"ZADD", key]
    size = 0
    for members, scores in value.pairs():
        for member, score in zip(members, scores, strict=True):
            line += (print_double(score), member)
            size += len(member)
            if size > _REBUILD_BYTES or len(line) >= 2 * _REBUILD_MEMBERS:
                yield line
                line = [b"ZADD", key]
                size = 0
    if len(line) > 2:
        yield line


def _plain(value: ZSet) -> Any:
    return frozenset(pair for members, scores in value.pairs() for pair in zip(members, scores, strict=True))


def _slice(value: ZSet, start: int, stop: int) -> list[bytes]:
    if value.packed is not None:
        return next(value.pairs())[0][start:stop]
    return value.order.slice(start, stop)[0]


def _pack(value: ZSet) -> ZSet:
    value.pack()
    return value


def _parts(value: ZSet) -> Iterable[Any]:
    order, value.order = value.order, _NO_ORDER
    return [value.scores, *order.members, *order.scores]


value_types.register(
    ZSet, ValueType(b"zset", _copy, _encoding, _rebuild, _plain, members=_slice, parts=_parts, pack=_pack)
)
