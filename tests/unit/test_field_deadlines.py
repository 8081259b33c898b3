"""The deadlines of one hash's fields: which are due, and what is kept of those that changed."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from perdure.store.field_deadlines import NEVER, FieldDeadlines


class StandingClock:
    """A clock, and its owner."""

    now_ms = 0

    @property
    def clock(self) -> StandingClock:
        return self


steps = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(1, 50)), max_size=200)


@given(steps)
def test_due_fields_are_those_whose_last_deadline_has_passed(script: list[tuple[int, int, int]]) -> None:
    clock = StandingClock()
    deadlines = FieldDeadlines(clock)
    model: dict[bytes, int] = {}
    for kind, number, moment in script:
        field = b"f%d" % number
        if kind == 0:
            deadlines.drop(field)
            model.pop(field, None)
        elif kind == 1:
            clock.now_ms = moment
        else:
            deadlines.set(field, moment)
            model[field] = moment
        due = {f for f, deadline in model.items() if deadline <= clock.now_ms}
        assert set(deadlines.due()) == due
        assert len(deadlines.due(2)) == min(2, len(due))
        assert {f for f in model if deadlines.is_due(f)} == due
        assert deadlines.first_ms() == min(model.values(), default=NEVER)
        assert deadlines.any_due() == bool(due)
        assert deadlines.by_field == model
        deadlines._check()


def test_a_copy_shares_nothing_changeable() -> None:
    deadlines = FieldDeadlines(StandingClock())
    deadlines.set(b"a", 5)
    twin = deadlines.copy()
    twin.set(b"b", 3)
    twin.drop(b"a")
    assert (deadlines.by_field, deadlines.first_ms()) == ({b"a": 5}, 5)
    assert (twin.by_field, twin.first_ms()) == ({b"b": 3}, 3)


def test_refreshing_one_field_for_ever_keeps_the_heap_small() -> None:
    deadlines = FieldDeadlines(StandingClock())
    rng = Random(1)
    for n in range(10):
        deadlines.set(b"f%d" % n, 1)
    for n in range(10_000):
        deadlines.set(b"f%d" % rng.randrange(10), n)
    deadlines._check()


def test_finding_what_is_due_looks_at_little_else() -> None:
    """Of a hundred thousand fields three are due: some twenty entries are looked at."""

    class Counting(dict[bytes, int]):
        looks = 0

        def get(self, key: bytes, default: int | None = None) -> int | None:  # type: ignore[override]
            Counting.looks += 1
            return dict.get(self, key, default)

    clock = StandingClock()
    deadlines = FieldDeadlines(clock)
    for n in range(100_000):
        deadlines.set(b"%d" % n, 10 + n)
    deadlines.by_field = Counting(deadlines.by_field)
    clock.now_ms = 12
    assert sorted(deadlines.due()) == [b"0", b"1", b"2"]
    assert Counting.looks < 20
