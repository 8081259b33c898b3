"""Rot: every single flipped bit is found, and other damage is not taken for one."""

from __future__ import annotations

import random

import pytest
from log_builder import LOG_ID, command, payload

from perdure.wal import format as lines
from perdure.wal.rot import POLYNOMIAL, Flip, distance_of_flip, find_single_flip

SEED = lines.seed_of(LOG_ID)
BODY = payload(("SET", "k", b"\x00\xff value"), ("INCR", "n"))
BATCH = lines.batch_header(SEED, 100, BODY, 90, 1_700_000_000_000, 7)[0] + BODY


@pytest.mark.parametrize("line", [
    BATCH,
    lines.batch_header(SEED, 100, b"", 100, 5, 7)[0],
    lines.end_line(SEED, 100, 7)[0],
    lines.start_line(LOG_ID, 100, 7)[0],
])  # fmt: skip
def test_every_flipped_bit_of_a_line_and_payload_is_found(line: bytes) -> None:
    for at in range(len(line) * 8):
        flipped = bytearray(line + b"#W 1 2")
        flipped[at // 8] ^= 1 << at % 8
        assert find_single_flip(bytes(flipped), SEED, 100, 7) == Flip(at // 8, at % 8)


def test_a_flip_that_spoils_a_time_line_is_found() -> None:
    line = lines.time_line(1_700_000_000)
    assert find_single_flip(b"#\x17" + line[2:], SEED, 0, 0) is None
    assert find_single_flip(b"#U" + line[2:], SEED, 0, 0) == Flip(1, 0)


def test_damage_of_more_than_one_bit_is_not_rot() -> None:
    rng = random.Random(4)
    for _ in range(300):
        spoiled = bytearray(BATCH)
        for _ in range(2):
            at = rng.randrange(len(BATCH) * 8)
            spoiled[at // 8] ^= 1 << at % 8
        if bytes(spoiled) != BATCH:
            assert find_single_flip(bytes(spoiled), SEED, 100, 7) is None


def test_a_cut_or_zeroed_batch_is_not_rot() -> None:
    for length in range(1, len(BATCH)):
        assert find_single_flip(BATCH[:length], SEED, 100, 7) is None
        assert find_single_flip(BATCH[:length] + bytes(len(BATCH) - length), SEED, 100, 7) is None


def test_a_batch_of_another_place_is_not_mended() -> None:
    flipped = bytearray(BATCH)
    flipped[-9] ^= 4
    assert find_single_flip(bytes(flipped), SEED, 101, 7) is None
    assert find_single_flip(bytes(flipped), SEED, 100, 8) is None
    assert find_single_flip(bytes(flipped), SEED + 1, 100, 7) is None


def test_a_flip_in_a_large_payload_is_found_by_algebra() -> None:
    body = command("SET", "k", random.Random(1).randbytes(3 << 20))
    batch = bytearray(lines.batch_header(SEED, 0, body, 0, 1, 0)[0] + body)
    batch[2_000_003] ^= 0x20
    assert find_single_flip(bytes(batch), SEED, 0, 0) == Flip(2_000_003, 5)


def test_distance_is_bounded_by_the_length() -> None:
    assert distance_of_flip(POLYNOMIAL, 1) == 0
    assert distance_of_flip(0, 100) is None
    assert distance_of_flip(POLYNOMIAL, 0) is None
    difference = POLYNOMIAL
    for k in range(3000):
        assert distance_of_flip(difference, 3000) == k
        assert distance_of_flip(difference, k) is None
        difference = (difference >> 1) ^ (POLYNOMIAL if difference & 1 else 0)
