"""Pairs of score and member in order: by score, and by the members' bytes where scores are equal.

Structure
    A list of blocks of up to ``_FULL`` pairs.  A block is two parallel lists, scores and
    members, so that every search is a ``bisect`` in C over plain floats or bytes and a pair
    costs two pointers; the objects themselves are those of the sorted set's dict.
    ``last_scores`` and ``last_members`` have each block's last pair: where to look is a
    bisect over them.

    Ranks come from a Fenwick tree over the blocks' lengths.  It is made when a rank is first
    asked for that the two ends do not answer, and writes only note which block they changed
    (``moved``); the notes are worked off by the next rank.  A change in the number of blocks,
    which is rare, or too many notes drop the tree.

Cost, for n pairs
    ``add``, ``remove``, ``move``, ``rank``, ``below``, ``lex_below``: O(log n) comparisons and
    a shift of at most ``_FULL`` pointers; a tree is made anew in O(n / _FULL), paid by at least
    that many writes.  ``slice`` and ``cut``: O(log n + m) for m pairs.

Invariants (``_check``): the pairs ascend; no block is empty, none has more than ``_FULL``
pairs, and of two neighbours at least one has ``_LOW``; the tree, with ``moved`` worked off, has
the blocks' lengths.

It must not know: what a sorted set is, limits, commands.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise

_FULL = 1024
_HALF = _FULL // 2
_LOW = _FULL // 4
_MERGED = 3 * _FULL // 4
"""What two blocks may have together to become one: far enough from full not to be cut again soon."""
_APPENDED = _FULL - _FULL // 8
"""Where a block is cut that grows at the end of everything: what arrives in order fills its blocks."""


class ScoreOrder:
    """An ordered list of pairs; a member stands in it once, which its owner sees to."""

    __slots__ = ("last_members", "last_scores", "members", "moved", "scores", "size", "tree")

    def __init__(self, members: list[bytes], scores: list[float]) -> None:
        """Of pairs that are in order; the lists are taken over."""
        self.size = len(members)
        self.members: list[list[bytes]]
        self.scores: list[list[float]]
        if not members:
            self.members, self.scores = [], []
        elif len(members) <= _MERGED:
            self.members, self.scores = [members], [scores]
        else:
            starts = range(0, len(members), _MERGED)
            self.members = [members[start : start + _MERGED] for start in starts]
            self.scores = [scores[start : start + _MERGED] for start in starts]
        self.last_members: list[bytes] = [block[-1] for block in self.members]
        self.last_scores: list[float] = [block[-1] for block in self.scores]
        self.tree: list[int] | None = None
        self.moved: list[int] = []

    # ---- where ---------------------------------------------------------------------

    def _block(self, score: float, member: bytes) -> int:
        """The block in which a pair stands or would stand; their number if it is behind everything."""
        last = self.last_scores
        b = bisect_left(last, score)
        if b < len(last) and last[b] == score:
            return bisect_left(self.last_members, member, b, bisect_right(last, score, b))
        return b

    def _index(self, b: int, score: float, member: bytes) -> int:
        """Where in a block a pair stands or would stand."""
        scores = self.scores[b]
        i = bisect_left(scores, score)
        if i < len(scores) and scores[i] == score:
            return bisect_left(self.members[b], member, i, bisect_right(scores, score, i))
        return i

    def rank(self, score: float, member: bytes) -> int:
        """How many pairs stand before this one, which is here."""
        b = self._block(score, member)
        return self._before(b) + self._index(b, score, member)

    def below(self, score: float, inclusive: bool) -> int:
        """How many pairs have a lower score, or with ``inclusive`` no higher one."""
        cut = bisect_right if inclusive else bisect_left
        b = cut(self.last_scores, score)
        if b == len(self.scores):
            return self.size
        return self._before(b) + cut(self.scores[b], score)

    def lex_below(self, member: bytes, inclusive: bool) -> int:
        """The same by member, where all scores are equal; where they are not, some number up to ``size``."""
        cut = bisect_right if inclusive else bisect_left
        b = cut(self.last_members, member)
        if b == len(self.members):
            return self.size
        return self._before(b) + cut(self.members[b], member)

    # ---- ranks -----------------------------------------------------------------------

    def _before(self, b: int) -> int:
        """How many pairs stand in the blocks before block ``b``."""
        if b == 0:
            return 0
        if b >= len(self.scores) - 1:
            return self.size if b >= len(self.scores) else self.size - len(self.scores[-1])
        tree = self._current_tree()
        count = 0
        while b:
            count += tree[b]
            b &= b - 1
        return count

    def _place(self, rank: int) -> tuple[int, int]:
        """Block and index in it of the pair of a rank in 0 <= rank < size."""
        first = len(self.scores[0])
        if rank < first:
            return 0, rank
        at_end = rank - self.size + len(self.scores[-1])
        if at_end >= 0:
            return len(self.scores) - 1, at_end
        tree = self._current_tree()
        b = 0
        step = 1 << (len(tree) - 1).bit_length()
        while step:
            if b + step < len(tree) and tree[b + step] <= rank:
                b += step
                rank -= tree[b]
            step >>= 1
        return b, rank

    def _current_tree(self) -> list[int]:
        """The Fenwick tree of the blocks' lengths: ``tree[i]`` has the sum of the ``i & -i`` blocks up to i."""
        tree = self.tree
        if tree is None:
            tree = [0, *map(len, self.scores)]
            n = len(tree)
            for i in range(1, n):
                above = i + (i & -i)
                if above < n:
                    tree[above] += tree[i]
            self.tree = tree
            return tree
        n = len(tree)
        for b in self.moved:
            change = 1
            if b < 0:
                b = ~b
                change = -1
            b += 1
            while b < n:
                tree[b] += change
                b += b & -b
        self.moved.clear()
        return tree

    def _note(self, b: int) -> None:
        """Block ``b`` has one pair more, or with ``~b`` one less."""
        self.moved.append(b)
        if len(self.moved) > len(self.scores):
            self._drop_tree()

    def _drop_tree(self) -> None:
        self.tree = None
        self.moved.clear()

    # ---- changing ----------------------------------------------------------------------

    def add(self, score: float, member: bytes) -> None:
        """Put a pair in whose member is not here."""
        self.size += 1
        b = self._block(score, member)
        if b < len(self.scores):
            i = self._index(b, score, member)
            scores = self.scores[b]
            scores.insert(i, score)
            self.members[b].insert(i, member)
        elif b:
            b -= 1
            scores = self.scores[b]
            scores.append(score)
            self.members[b].append(member)
            self.last_scores[b] = score
            self.last_members[b] = member
        else:
            self.scores.append([score])
            self.members.append([member])
            self.last_scores.append(score)
            self.last_members.append(member)
            return
        if len(scores) > _FULL:
            self._split(b, _APPENDED if self.last_members[-1] is member else _HALF)
        elif self.tree is not None:
            self._note(b)

    def remove(self, score: float, member: bytes) -> bytes:
        """Take a pair out that is here; its member as it stood here."""
        b = self._block(score, member)
        return self._remove_at(b, self._index(b, score, member))

    def _remove_at(self, b: int, i: int) -> bytes:
        self.size -= 1
        scores = self.scores[b]
        members = self.members[b]
        member = members.pop(i)
        del scores[i]
        if len(scores) < _LOW and (not scores or len(self.scores) > 1):
            if self.tree is not None:
                self._note(~b)
            self._mend(b)
        else:
            if i == len(scores):
                self.last_scores[b] = scores[-1]
                self.last_members[b] = members[-1]
            if self.tree is not None:
                self._note(~b)
        return member

    def move(self, old: float, score: float, member: bytes) -> None:
        """Give a member that is here another score."""
        b = self._block(old, member)
        i = self._index(b, old, member)
        scores = self.scores[b]
        # Most changes are small: between the same neighbours only the score is another.
        if 0 < i < len(scores) - 1 and scores[i - 1] < score < scores[i + 1]:
            scores[i] = score
            return
        self.add(score, self._remove_at(b, i))

    def cut(self, start: int, stop: int) -> list[bytes]:
        """Take the pairs of ranks start <= rank < stop out, 0 <= start <= stop <= size; their members."""
        gone: list[bytes] = []
        left = stop - start
        if not left:
            return gone
        if left == 1:
            return [self._remove_at(*self._place(start))]
        b, i = self._place(start)
        self.size -= left
        self._drop_tree()
        while left:
            members = self.members[b]
            gone += members[i : i + left]
            taken = min(left, len(members) - i)
            left -= taken
            if taken == len(members):
                end = b + 1
                while end < len(self.members) and left >= len(self.members[end]):
                    gone += self.members[end]
                    left -= len(self.members[end])
                    end += 1
                del self.members[b:end], self.scores[b:end], self.last_members[b:end], self.last_scores[b:end]
            else:
                del members[i : i + taken], self.scores[b][i : i + taken]
                self.last_members[b] = members[-1]
                self.last_scores[b] = self.scores[b][-1]
                b += 1
            i = 0
        for near in (b, b - 1, b - 2):
            if 0 <= near < len(self.scores):
                self._mend(near)
        return gone

    def _split(self, b: int, at: int) -> None:
        """Cut a block in two."""
        members = self.members[b]
        scores = self.scores[b]
        self.members.insert(b + 1, members[at:])
        self.scores.insert(b + 1, scores[at:])
        del members[at:], scores[at:]
        self.last_members.insert(b, members[-1])
        self.last_scores.insert(b, scores[-1])
        self._drop_tree()

    def _mend(self, b: int) -> None:
        """A block has lost pairs: give it its last pair, join it with a neighbour or remove it."""
        scores = self.scores[b]
        if scores:
            self.last_scores[b] = scores[-1]
            self.last_members[b] = self.members[b][-1]
            if len(scores) >= _LOW:
                return
            for a in (b, b - 1):
                if 0 <= a < len(self.scores) - 1 and len(self.scores[a]) + len(self.scores[a + 1]) <= _MERGED:
                    self.scores[a] += self.scores[a + 1]
                    self.members[a] += self.members[a + 1]
                    del self.scores[a + 1], self.members[a + 1], self.last_scores[a], self.last_members[a]
                    self._drop_tree()
                    return
            return
        del self.scores[b], self.members[b], self.last_scores[b], self.last_members[b]
        self._drop_tree()

    # ---- reading -----------------------------------------------------------------------

    def slice(self, start: int, stop: int) -> tuple[list[bytes], list[float]]:
        """Members and scores of the ranks start <= rank < stop, 0 <= start <= stop <= size, in order."""
        left = stop - start
        if left <= 0:
            return [], []
        b, i = self._place(start)
        members = self.members[b][i : i + left]
        scores = self.scores[b][i : i + left]
        while len(members) < left:
            b += 1
            more = left - len(members)
            members += self.members[b][:more]
            scores += self.scores[b][:more]
        return members, scores

    def at(self, rank: int) -> bytes:
        """The member of a rank."""
        b, i = self._place(rank)
        return self.members[b][i]

    def _check(self) -> None:
        pairs = [pair for s, m in zip(self.scores, self.members, strict=True) for pair in zip(s, m, strict=True)]
        assert len(pairs) == self.size
        assert all(a < b for a, b in pairwise(pairs)), "the pairs ascend"
        lengths = [len(block) for block in self.scores]
        assert all(0 < n <= _FULL for n in lengths)
        assert all(max(a, b) >= _LOW for a, b in pairwise(lengths))
        assert self.last_scores == [block[-1] for block in self.scores]
        assert self.last_members == [block[-1] for block in self.members]
        assert len(self.moved) <= len(lengths)
        if self.tree is not None:
            self._current_tree()
            assert [self._before(b) for b in range(len(lengths) + 1)] == [sum(lengths[:b]) for b in
                                                                          range(len(lengths) + 1)]  # fmt: skip
