"""The wheel of deadlines: nothing due is missed, nothing is returned early, and it stays small."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.store.deadlines import Deadlines

keys = st.integers(0, 30).map(lambda n: b"%d" % n)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), keys, st.integers(-10, 9000)),
        st.tuples(st.just("drop"), keys, st.just(0)),
        st.tuples(st.just("wait"), keys, st.integers(0, 1500)),
        st.tuples(st.just("take"), keys, st.integers(1, 5)),
        st.tuples(st.just("refuse"), keys, st.integers(1, 5)),
    ),
    max_size=80,
)


def drain(wheel: Deadlines, expires: dict[bytes, int], now_ms: int) -> set[bytes]:
    out: set[bytes] = set()
    while True:
        entries = wheel.entries
        found = wheel.take_due(expires, now_ms, 1000)
        out.update(found)
        if not found and wheel.entries == entries:
            return out


@settings(max_examples=200, deadline=None)
@given(steps)
def test_take_due_gives_exactly_the_keys_that_are_due(script: list[tuple[str, bytes, int]]) -> None:
    wheel, expires, now_ms = Deadlines(), dict[bytes, int](), 0
    for kind, key, n in script:
        if kind == "set":
            wheel.set(key, expires.get(key), now_ms + n)
            expires[key] = now_ms + n
            wheel.trim(expires)
        elif kind == "drop":
            expires.pop(key, None)
        elif kind == "wait":
            now_ms += n
        else:
            found = wheel.take_due(expires, now_ms, n)
            assert len(found) <= n and len(set(found)) == len(found)
            assert all(expires[key] <= now_ms for key in found)
            if kind == "refuse":
                wheel.put_back(found, expires)
            else:
                for key in found:
                    del expires[key]
        wheel._check(expires)
    assert drain(wheel, expires, now_ms) == {key for key, deadline in expires.items() if deadline <= now_ms}


def test_a_key_due_this_millisecond_is_found_among_many_that_are_due_soon() -> None:
    wheel = Deadlines()
    expires = {b"%d" % n: 900 for n in range(1000)}
    expires[b"first"] = 10
    for key, deadline in expires.items():
        wheel.set(key, None, deadline)
    found: list[bytes] = []
    for _ in range(11):
        found += wheel.take_due(expires, 10, 100)
    assert found == [b"first"]
    assert wheel.take_due(expires, 899, 100) == []


def test_refreshing_a_deadline_over_and_over_keeps_the_wheel_small() -> None:
    wheel, expires = Deadlines(), {}
    for n in range(100_000):
        key = b"%d" % (n % 50)
        new_ms = 60_000 + n
        wheel.set(key, expires.get(key), new_ms)
        expires[key] = new_ms
        wheel.trim(expires)
    assert wheel.entries == 50


def test_keys_that_come_and_go_keep_the_wheel_small() -> None:
    wheel, expires = Deadlines(), {}
    for n in range(20_000):
        key = b"%d" % n
        wheel.set(key, None, 1_000_000 + n)
        expires[key] = 1_000_000 + n
        wheel.trim(expires)
        del expires[key]
    assert wheel.entries <= 1030
