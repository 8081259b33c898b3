"""Numbers: what is read, what is refused, how sums are rounded and printed.  ``tests/oracle`` compares with stock."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.store.errors import CommandError
from perdure.store.numbers import (
    INFINITE,
    INT64_MAX,
    INT64_MIN,
    add_long_doubles,
    parse_double,
    parse_integer,
    parse_score,
    print_double,
    print_long_double,
    read_c_double,
    read_double,
    read_integer,
    read_long_double,
)

NO_INTEGERS = [
    b"", b" ", b"-", b"+1", b"01", b"-01", b"-0", b" 1", b"1 ", b"1\n", b"1.0", b"1e3", b"0x1", b"1_0", b"\xd9\xa1",
    b"1\x00", b"9223372036854775808", b"-9223372036854775809", b"99999999999999999999", b"1" * 100_000,
]  # fmt: skip


@given(st.integers(INT64_MIN, INT64_MAX))
def test_every_64_bit_integer_is_read_in_its_canonical_form(n: int) -> None:
    assert read_integer(b"%d" % n) == parse_integer(bytearray(b"%d" % n)) == n


@pytest.mark.parametrize("text", NO_INTEGERS)
def test_other_forms_are_no_integers(text: bytes) -> None:
    assert read_integer(text) is None
    with pytest.raises(CommandError, match="my own text"):
        parse_integer(text, b"my own text")


@given(st.floats(allow_nan=False))
def test_a_double_is_read_as_it_was_printed(value: float) -> None:
    assert read_double(print_double(value)) == value


@pytest.mark.parametrize(
    "text", [b"nan", b"", b" 1", b"1 ", b"1e400", b"1e-400", b"-1e-400", b"0x", b"1_0", b"0x1p2000", b"0x1p-2000"]
)
def test_other_forms_are_no_doubles(text: bytes) -> None:
    assert read_double(text) is None
    with pytest.raises(CommandError, match="valid float"):
        parse_double(text)


def test_doubles_are_read_in_every_form_of_c() -> None:
    for text, value in ((b"0x1.8p1", 3.0), (b"-.5", -0.5), (b"5.", 5.0), (b"+1e2", 100.0), (b"-Inf", float("-inf")),
                        (b"iNfInItY", float("inf")), (b"0e999", 0.0), (b"0x.1", 0.0625)):  # fmt: skip
        assert read_double(text) == value


@given(st.integers(-(1 << 64), 1 << 64), st.integers(-200, 200))
def test_a_long_double_of_64_bits_is_read_exactly(m: int, e: int) -> None:
    text = b"%s0x%xp%d" % (b"-" if m < 0 else b"", abs(m), e)
    value = read_long_double(text)
    assert value is not None
    assert Fraction(value[0]) * Fraction(2) ** value[1] == Fraction(m) * Fraction(2) ** e


@given(st.fractions(min_value=-(10**30), max_value=10**30), st.fractions(min_value=-(10**9), max_value=10**9))
def test_a_sum_is_the_nearest_long_double(a: Fraction, b: Fraction) -> None:
    x, y = (read_long_double(b"%d.%d" % (int(f), abs(f.denominator))) for f in (a, b))
    assert x is not None
    assert y is not None
    total = add_long_doubles(x, y)
    assert total is not None
    exact = sum(Fraction(m) * Fraction(2) ** e for m, e in (x, y))
    got = Fraction(total[0]) * Fraction(2) ** total[1]
    assert abs(got - exact) <= Fraction(2) ** (total[1] - 1)
    assert abs(total[0]) <= 1 << 64


def test_a_tie_is_rounded_to_even() -> None:
    for n, rounded in (((1 << 64) + 1, 1 << 64), ((1 << 64) + 3, (1 << 64) + 4), ((1 << 65) - 1, 1 << 65)):
        value = read_long_double(b"%d" % n)
        assert value is not None
        assert value[0] << value[1] == rounded


@pytest.mark.parametrize(("text", "printed"), [
    (b"3.0", b"3"), (b"-0", b"0"), (b"-0.0", b"0"), (b"-1e-30", b"0"), (b"0.1", b"0.1"), (b"5.0e3", b"5000"),
    (b"1e-17", b"0.00000000000000001"), (b"6e-18", b"0.00000000000000001"), (b"4e-18", b"0"),
    (b"1e20", b"1" + b"0" * 20), (b"-2.50", b"-2.5"),
])  # fmt: skip
def test_printing_for_people(text: bytes, printed: bytes) -> None:
    value = read_long_double(text)
    assert value is not None
    assert print_long_double(value) == printed


def test_the_largest_long_double_is_printed_in_full_and_not_exceeded() -> None:
    largest = read_long_double(b"0x1.fffffffffffffffep16383")
    assert largest is not None
    assert len(print_long_double(largest)) == 4933
    assert add_long_doubles(largest, largest) is None
    assert read_long_double(b"0x1.ffffffffffffffffp16383") is None
    assert add_long_doubles(INFINITE, (1, 0)) is None


@pytest.mark.parametrize("text", [b"1e999999999999999999", b"0x1p999999999999", b"1" * 5120, b"1e-99999999999", b"nan"])
def test_a_hostile_number_costs_nothing(text: bytes) -> None:
    assert read_long_double(text) is None


# ---- scores and their bounds ---------------------------------------------------------


NEARLY = st.text("0123456789.-+eEx_ ", max_size=8).map(str.encode)


@given(st.one_of(st.floats(allow_nan=False).map(lambda x: b"%.17g" % x), NEARLY, st.binary(max_size=6)))
def test_the_quick_way_to_read_a_score_reads_what_the_other_does(text: bytes) -> None:
    value = read_double(text)
    if value is None:
        with pytest.raises(CommandError):
            parse_score(text)
    else:
        assert print_double(parse_score(text)) == print_double(value)


@pytest.mark.parametrize("text", [b"1" * 299, b"1" * 400, b"0.%b1" % (b"0" * 297), b"0.%b1" % (b"0" * 400), b"-" * 9])
def test_long_scores_are_read_as_by_the_other_way(text: bytes) -> None:
    value = read_double(text)
    if value is None:
        with pytest.raises(CommandError):
            parse_score(text)
    else:
        assert parse_score(text) == value


@pytest.mark.parametrize(("text", "value"), [
    (b"", 0.0), (b"\x00abc", 0.0), (b"5\x00abc", 5.0), (b" \t5", 5.0), (b"1e400", float("inf")),
    (b"-1e400", float("-inf")), (b"1e-400", 0.0), (b"+inf", float("inf")), (b"-Infinity", float("-inf")),
    (b"0x10", 16.0), (b"0x1p9999", float("inf")), (b"-0x1p9999", float("-inf")), (b" ", None), (b"5 ", None),
    (b"nan", None), (b"x", None), (b"-", None), (b"1-2", None), (b"1_0", None), (b"(5", None),
    (b"1" * 400, float("inf")),
])  # fmt: skip
def test_bounds_of_scores_are_read_as_c_reads_them(text: bytes, value: float | None) -> None:
    """``tests/oracle`` compares with stock."""
    assert read_c_double(text) == value
