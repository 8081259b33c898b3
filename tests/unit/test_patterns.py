"""Glob patterns: the translated matcher, the direct one and stock's agree, and none runs away."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.store import patterns
from perdure.store.patterns import LONGEST_TRANSLATED, matcher, matches_directly, matches_ignoring_case

ALPHABET = b"ab*?[]^-\\\x00\n\x80\xff"
piece = st.lists(st.sampled_from(list(ALPHABET)), max_size=12).map(bytes)


@given(piece, piece)
def test_translated_and_direct_matchers_agree(pattern: bytes, text: bytes) -> None:
    assert bool(matcher(pattern)(text)) == matches_directly(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"h?llo", [b"hello", b"h\nllo"], [b"hllo", b"heello"]),
        (b"h*llo", [b"hllo", b"heeello"], [b"hell"]),
        (b"h[ae]llo", [b"hallo"], [b"hillo", b"hllo"]),
        (b"h[^e]llo", [b"hallo"], [b"hello"]),
        (b"h[a-c]llo", [b"hbllo"], [b"hdllo", b"h-llo"]),
        (b"h[c-a]llo", [b"hbllo"], [b"hdllo"]),
        (b"[a-]", [b"a", b"]", b"_"], [b"-", b"b"]),
        (b"[a-", [b"a", b"-"], [b"b"]),
        (b"[\\]]", [b"]"], [b"\\"]),
        (b"[^", [b"a"], [b""]),
        (b"[", [], [b"[", b""]),
        (b"\\*", [b"*"], [b"a", b"\\*"]),
        (b"a\\", [b"a\\"], [b"a"]),
        (b"[\x7f-\x80]", [b"\x7f", b"\x80", b"\x00", b"a"], []),
        (b"[a-\xff]", [b"a", b"\xff", b"\x00"], [b"b", b"\x80"]),
        (b"user:*", [b"user:", b"user:1"], [b"user"]),
        (b"*", [b"a"], [b""]),
        (b"", [b""], [b"a"]),
        (b"**", [b"a"], [b""]),
        (b"a**", [b"a", b"ab"], [b"b"]),
        (b"*a*b*c", [b"abc", b"xaybzc"], [b"acb"]),
    ],
)
def test_known_patterns_match_what_they_should(pattern: bytes, yes: list[bytes], no: list[bytes]) -> None:
    for match in (matcher(pattern), lambda text: matches_directly(pattern, text)):
        assert [text for text in yes if not match(text)] == []
        assert [text for text in no if match(text)] == []


@pytest.mark.parametrize(
    "pattern",
    [b"*a" * 200 + b"b", b"a*" * 300 + b"b", b"*?a" * 300 + b"c", b"*[ab]?" * 150 + b"c", b"*a" * 2000 + b"b"],
)
def test_no_pattern_backtracks_exponentially(pattern: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"a" * 2000
    steps = 0
    step = patterns._step

    def counted(pattern: bytes, at: int, byte: int) -> int:
        nonlocal steps
        steps += 1
        return step(pattern, at, byte)

    monkeypatch.setattr(patterns, "_step", counted)
    assert not matches_directly(pattern, text)
    assert steps <= len(pattern) * len(text)
    assert not matcher(pattern)(text)


def test_long_patterns_match_without_being_translated() -> None:
    pattern = b"x" * LONGEST_TRANSLATED + b"*[yz]"
    assert matcher(pattern)(b"x" * LONGEST_TRANSLATED + b"--z")
    assert not matcher(pattern)(b"x" * LONGEST_TRANSLATED + b"--")


def test_case_can_be_ignored() -> None:
    assert matches_ignoring_case(b"MAX*[A-F]", b"maxmemory-polic\x65")
    assert not matches_ignoring_case(b"MAX*", b"min")


@pytest.mark.oracle
def test_keys_with_generated_patterns_finds_what_stock_finds() -> None:
    from oracle_harness import Oracle, plain

    rng = Random(7)
    keys = {bytes(rng.choices(b"ab[]^-\\*\x00\x7f\x80\xff", k=rng.randrange(1, 6))) for _ in range(300)} | {b""}
    made = {bytes(rng.choices(ALPHABET, k=rng.randrange(9))) for _ in range(3000)} | {b"*", b"**", b""}
    tried = sorted(made)
    stock = Oracle()
    try:
        stock(b"MSET", *(arg for key in sorted(keys) for arg in (key, b"x")))
        for pattern, raw in zip(tried, stock.run([[b"KEYS", pattern] for pattern in tried]), strict=True):
            match = matcher(pattern)
            found = keys if pattern == b"*" else {key for key in keys if match(key)}
            assert found == set(plain(raw)), pattern
    finally:
        stock.close()
