"""What a random sequence of writes logged makes the same keyspace: replayed here, and sent to stock.

Short sequences, each on an empty keyspace, so that much happens to few keys; each is mostly of one
or two groups of commands, so that they meet values of their type.
"""

from __future__ import annotations

from random import Random

import pytest
from oracle_differences import NEWER_COMMANDS
from oracle_generators import FILLING
from oracle_harness import Oracle, Ours, assert_same_state, commands_of, oracle_state, replayed
from oracle_lines import APART, GENERATORS, Argv, Lines

from perdure.store.command import LOGGED, WRITE, Command

pytestmark = pytest.mark.oracle

SEQUENCES = 1250


def entry_of(name: bytes) -> Command:
    container, _, sub = name.partition(b"|")
    return LOGGED[container].subcommands[sub] if sub else LOGGED[container]


OTHERS = NEWER_COMMANDS | APART | {b"SELECT"}
WRITES = [name for name in sorted(GENERATORS.keys() - OTHERS) if entry_of(name).flags & WRITE]
OF_GROUP = {
    group: [name for name in WRITES if LOGGED[name.partition(b"|")[0]].group == group]
    for group in {LOGGED[name.partition(b"|")[0]].group for name in WRITES}
}


def sequence(lines: Lines) -> list[Argv]:
    """4 to 20 command lines that write."""
    groups = lines.rng.sample(sorted(OF_GROUP), 2)
    names = WRITES + [name for group in groups for name in OF_GROUP[group] * 4 + FILLING.get(group, []) * 6]
    return [argv for argv in lines.many(lines.rng.randint(4, 20), names) if argv[0].upper() not in NEWER_COMMANDS]


@pytest.mark.parametrize("seed", range(4))
def test_what_a_sequence_logged_makes_the_same_keyspace_here_and_in_stock(stock: Oracle, seed: int) -> None:
    stock.reset()
    rng = Random(seed)
    written = 0
    for number in range(SEQUENCES):
        lines = Lines(rng.getrandbits(60))
        ours = Ours(now_ms=1_800_000_000_000)
        ours.run(sequence(lines))
        payload = b"".join(ours.records)
        if not payload:
            continue
        written += 1
        replay = replayed(payload, ours.tx.clock_ms + 600_000)
        assert replay.raw_state() == ours.raw_state(), number
        stock(b"FLUSHALL")
        replies = stock.feed(payload, len(commands_of(payload)))
        assert not [reply for reply in replies if reply.startswith(b"-")], number
        assert_same_state(oracle_state(stock), ours.state(), tolerance_ms=0)
    assert written > SEQUENCES * 0.9
