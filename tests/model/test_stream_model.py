"""A hypothesis machine over one stream and its groups, against a plain dict and plain lists.

After each step the structures' own ``_check`` hold; at the end the log replays to the same stream, and so does
what ``rebuild`` gives.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from oracle_harness import Ours, plain, replayed

import perdure.store.commands  # noqa: F401 - fills the command table
from perdure.store import value_types

LIMITS = {"stream-node-max-entries": 4, "stream-node-max-bytes": 120}
ids = st.integers(1, 40)
consumers = st.sampled_from([b"c", b"d"])


class ModelGroup:
    """How far it has read, and id -> [consumer, deliveries]."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.pending: dict[int, list[Any]] = {}
        self.consumers: set[bytes] = set()


class StreamMachine(RuleBasedStateMachine):
    """Ids are ``n-0``; time goes on by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.ours = Ours(now_ms=1_000_000)
        self.ours.tx.limits.update(LIMITS)
        self.entries: dict[int, bytes] = {}
        self.last = 0
        self.made = False
        self.groups: dict[bytes, ModelGroup] = {}

    def run(self, line: str, *more: bytes) -> Any:
        self.ours.set_time(self.ours.tx.now_ms + 1)
        return self.ours(*line.encode().split(), *more)

    def shown(self, numbers: list[int]) -> list[Any]:
        return [[b"%d-0" % n, [b"f", self.entries[n]]] for n in numbers]

    # ---- entries -----------------------------------------------------------------------

    @rule(step=st.integers(0, 3), value=st.binary(max_size=40))
    def add(self, step: int, value: bytes) -> None:
        reply = self.run(f"XADD k {self.last + step}-0 f", value)
        if not step:
            assert reply.startswith(b"-ERR The ID specified")
            return
        self.last += step
        self.entries[self.last] = value
        self.made = True

    @rule(values=st.lists(st.binary(max_size=10), min_size=3, max_size=12))
    def add_many(self, values: list[bytes]) -> None:
        for value in values:
            self.add(1, value)

    @rule(some=st.lists(ids, min_size=1, max_size=6))
    def delete(self, some: list[int]) -> None:
        gone = {n for n in some if n in self.entries}
        assert plain(self.run("XDEL k", *(b"%d" % n for n in some))) == len(gone)
        for n in gone:
            del self.entries[n]

    @rule(most=st.integers(0, 20))
    def trim_to_length(self, most: int) -> None:
        gone = sorted(self.entries)[: max(0, len(self.entries) - most)]
        assert plain(self.run(f"XTRIM k MAXLEN {most}")) == len(gone)
        for n in gone:
            del self.entries[n]

    @rule(least=ids)
    def trim_to_id(self, least: int) -> None:
        gone = [n for n in self.entries if n < least]
        assert plain(self.run(f"XTRIM k MINID = {least}")) == len(gone)
        for n in gone:
            del self.entries[n]

    @rule(most=st.integers(0, 20))
    def trim_about(self, most: int) -> None:
        """Whole nodes: never too many, and less than a node too few."""
        before = len(self.entries)
        gone = plain(self.run(f"XTRIM k MAXLEN ~ {most}"))
        assert before - gone >= min(most, before)
        for n in sorted(self.entries)[:gone]:
            del self.entries[n]
        stream = self.ours.tx.db.get(b"k")
        if stream is not None and len(self.entries) > most:
            assert len(self.entries) - stream.nodes[stream.head].count < most

    @rule(start=ids, end=ids, count=st.integers(1, 8))
    def read_ranges(self, start: int, end: int, count: int) -> None:
        found = sorted(n for n in self.entries if start <= n <= end)
        assert plain(self.run(f"XRANGE k {start} {end}")) == self.shown(found)
        assert plain(self.run(f"XRANGE k {start} {end} COUNT {count}")) == self.shown(found[:count])
        assert plain(self.run(f"XREVRANGE k {end} {start} COUNT {count}")) == self.shown(found[::-1][:count])
        behind = sorted(n for n in self.entries if n > start)[:count]
        reply = plain(self.run(f"XREAD COUNT {count} STREAMS k {start}"))
        assert reply == ([[b"k", self.shown(behind)]] if behind else None)

    # ---- groups ------------------------------------------------------------------------

    @rule(name=st.sampled_from([b"g", b"h"]), start=st.integers(0, 40))
    def create_group(self, name: bytes, start: int) -> None:
        reply = self.run("XGROUP CREATE k", name, b"%d" % start, b"MKSTREAM")
        assert reply.startswith(b"-BUSYGROUP" if name in self.groups else b"+OK")
        self.groups.setdefault(name, ModelGroup(start))
        self.made = True

    @rule(name=st.sampled_from([b"g", b"h"]))
    def destroy_group(self, name: bytes) -> None:
        if self.made:
            assert plain(self.run("XGROUP DESTROY k", name)) == (name in self.groups)
        self.groups.pop(name, None)

    @rule(consumer=consumers, count=st.integers(1, 5), no_ack=st.booleans())
    def read_new(self, consumer: bytes, count: int, no_ack: bool) -> None:
        group = self.groups.get(b"g")
        words = [b"NOACK"] if no_ack else []
        reply = self.run("XREADGROUP GROUP g", consumer, *words, b"COUNT", b"%d" % count, b"STREAMS", b"k", b">")
        if group is None:
            assert reply.startswith(b"-NOGROUP")
            return
        found = sorted(n for n in self.entries if n > group.last)[:count]
        assert plain(reply) == ([[b"k", self.shown(found)]] if found else None)
        for n in found:
            group.last = n
            group.consumers.add(consumer)
            if not no_ack:
                group.pending[n] = [consumer, 1]

    @rule(consumer=consumers, behind=st.integers(0, 40))
    def read_history(self, consumer: bytes, behind: int) -> None:
        group = self.groups.get(b"g")
        reply = self.run("XREADGROUP GROUP g", consumer, b"STREAMS", b"k", b"%d" % behind)
        if group is None:
            return
        group.consumers.add(consumer)
        told = []
        for n, pending in sorted(group.pending.items()):
            if pending[0] == consumer and n > behind:
                told.append([b"%d-0" % n, [b"f", self.entries[n]] if n in self.entries else None])
                pending[1] += n in self.entries
        assert plain(reply) == [[b"k", told]]

    @rule(some=st.lists(ids, min_size=1, max_size=5))
    def acknowledge(self, some: list[int]) -> None:
        group = self.groups.get(b"g", ModelGroup(0))
        gone = {n for n in some if n in group.pending}
        assert plain(self.run("XACK k g", *(b"%d" % n for n in some))) == len(gone)
        for n in gone:
            del group.pending[n]

    @rule(consumer=consumers, some=st.lists(ids, min_size=1, max_size=5), force=st.booleans())
    def claim(self, consumer: bytes, some: list[int], force: bool) -> None:
        words = [b"FORCE"] if force else []
        reply = self.run("XCLAIM k g", consumer, b"0", *(b"%d" % n for n in some), b"JUSTID", *words)
        group = self.groups.get(b"g")
        if group is None:
            return
        told = []
        for n in some:
            if n not in self.entries:
                group.pending.pop(n, None)
            elif n in group.pending or force:
                group.pending.setdefault(n, [consumer, 1])[0] = consumer
                group.consumers.add(consumer)
                told.append(b"%d-0" % n)
        assert plain(reply) == told

    @rule(consumer=consumers, start=ids, count=st.integers(1, 4))
    def claim_what_is_next(self, consumer: bytes, start: int, count: int) -> None:
        reply = self.run("XAUTOCLAIM k g", consumer, b"0", b"%d" % start, b"COUNT", b"%d" % count)
        group = self.groups.get(b"g")
        if group is None:
            return
        due = sorted(n for n in group.pending if n >= start)
        cursor = b"%d-0" % due[count] if len(due) > count else b"0-0"
        taken = [n for n in due[:count] if n in self.entries]
        gone = [n for n in due[:count] if n not in self.entries]
        assert plain(reply) == [cursor, self.shown(taken), [b"%d-0" % n for n in gone]]
        for n in gone:
            del group.pending[n]
        for n in taken:
            group.pending[n] = [consumer, group.pending[n][1] + 1]
            group.consumers.add(consumer)

    @rule(consumer=consumers)
    def delete_consumer(self, consumer: bytes) -> None:
        reply = self.run("XGROUP DELCONSUMER k g", consumer)
        group = self.groups.get(b"g")
        if group is None:
            return
        gone = [n for n, pending in group.pending.items() if pending[0] == consumer]
        assert plain(reply) == len(gone)
        group.consumers.discard(consumer)
        for n in gone:
            del group.pending[n]

    # ---- what always holds -------------------------------------------------------------

    @invariant()
    def the_stream_is_sound_and_holds_the_model(self) -> None:
        self.ours.check()
        stream = self.ours.tx.db.get(b"k")
        assert (stream is not None) == self.made
        if stream is None:
            return
        entries, last_id, _, _, groups = value_types.of(stream).plain(stream)
        assert entries == tuple((n << 64, (b"f", value)) for n, value in sorted(self.entries.items()))
        assert last_id == self.last << 64
        assert plain(self.ours(b"XLEN", b"k")) == len(self.entries)
        told = {name: (last >> 64, {n >> 64: [who, count] for n, who, _, count in pending}, set(names))
                for name, last, _, pending, names in groups}  # fmt: skip
        assert told == {name: (group.last, group.pending, group.consumers) for name, group in self.groups.items()}

    def teardown(self) -> None:
        now_ms = self.ours.tx.now_ms + 1_000_000
        again = replayed(b"".join(self.ours.records), now_ms)
        assert again.raw_state() == self.ours.raw_state()
        again.check()
        fresh = Ours(now_ms)
        for key, value in self.ours.tx.db.items():
            for line in value_types.of(value).rebuild(key, value):
                assert not fresh(*line).startswith(b"-"), line
        assert fresh.raw_state() == self.ours.raw_state()


TestStreamMachine = StreamMachine.TestCase
TestStreamMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
