"""Active expiry: bounded, logged first, fair between databases, off while a log is replayed."""

from __future__ import annotations

from oracle_harness import Ours, commands_of, words

from perdure.store.expiry import expire_cycle


def filled(count: int, databases: int = 1) -> Ours:
    """``count`` keys that are due in each of some databases, and one that is not."""
    ours = Ours(now_ms=1_000_000)
    for index in range(databases):
        ours(b"SELECT", b"%d" % index)
        for n in range(count):
            ours(b"SET", b"%d" % n, b"v")
            ours(b"PEXPIRE", b"%d" % n, b"10")
        ours.run(words("SET stays v", "SET later v", "PEXPIRE later 20"))
    ours(b"SELECT", b"0")
    ours.set_time(1_000_010)
    return ours


def test_keys_that_are_due_go_in_few_records() -> None:
    ours = filled(250)
    assert expire_cycle(ours.tx, 1000) == 250
    lines = commands_of(ours.tx.take())
    assert [line[0] for line in lines] == [b"SELECT", b"DEL", b"DEL", b"DEL"]
    assert sorted(key for line in lines[1:] for key in line[1:]) == sorted(b"%d" % n for n in range(250))
    assert set(ours.tx.db) == {b"stays", b"later"}
    ours.check()


def test_a_step_is_bounded_and_the_next_goes_on() -> None:
    ours = filled(250)
    steps = [expire_cycle(ours.tx, 100) for _ in range(4)]
    assert max(steps) <= 100
    assert sum(steps) == 250
    assert steps[3] == 0
    ours.check()


def test_what_the_log_refuses_stays_and_goes_later() -> None:
    ours = filled(250)
    ours.sink.refuses = True
    assert expire_cycle(ours.tx, 1000) == 0
    assert len(ours.tx.db) == 252
    ours.check()
    ours.sink.refuses = False
    assert expire_cycle(ours.tx, 1000) == 250


def test_every_database_has_its_turn_and_the_selected_one_stays_selected() -> None:
    ours = filled(200, databases=3)
    ours(b"SELECT", b"1")
    for _ in range(80):
        expire_cycle(ours.tx, 10)
    assert [len(db) for db in ours.keyspace.databases[:3]] == [2, 2, 2]
    assert ours.tx.db_index == 1
    assert ours.tx.db is ours.keyspace.databases[1]


def test_nothing_expires_while_a_log_is_replayed() -> None:
    ours = filled(5)
    ours.tx.now_ms = 0
    assert expire_cycle(ours.tx, 1000) == 0
    assert len(ours.tx.db) == 7
