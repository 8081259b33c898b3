"""Words by stock's quoting rules, with and without comments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.wal.words import split_words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b"  a\tb\v c ", [b"a", b"b\v", b"c"]),
        (rb'"a b" c', [b"a b", b"c"]),
        (rb'"\x41\n\r\t\b\a\q\"\\" x', [b'A\n\r\t\b\aq"\\', b"x"]),
        (rb'"\x4"', [b"x4"]),
        (rb"'it\'s' '\n'", [b"it's", rb"\n"]),
        (rb'a"b c"', [b"ab c"]),
        (b'""', [b""]),
        (b'"a"b', None),
        (b'"a', None),
        (b"'a", None),
        (b"a'b", None),
        (b"save 900 1   # at least one", [b"save", b"900", b"1"]),
        (b"appendonly yes  # it's on", [b"appendonly", b"yes"]),
        (b"requirepass #secret", [b"requirepass", b"#secret"]),
        (b"requirepass '#' #", [b"requirepass", b"#"]),
        (b"requirepass a#", [b"requirepass", b"a#"]),
        (b"requirepass ##", [b"requirepass", b"##"]),
    ],
)
def test_line_splits_into_words(line, words):
    assert split_words(line, comments=True) == words


@given(st.lists(st.binary(max_size=8), max_size=5))
def test_quoted_words_come_back(words):
    line = b" ".join(b'"%b"' % b"".join(b"\\x%02x" % c for c in word) for word in words)
    assert split_words(line, comments=True) == words


@given(st.binary(max_size=60))
def test_any_bytes_split_or_are_unbalanced(line):
    words = split_words(line, comments=False)
    assert words is None or all(isinstance(word, bytes) for word in words)


def test_split_words_knows_its_quotes() -> None:
    assert split_words(b"") == []
    assert split_words(b'set k "a b\\x41\\n"') == [b"set", b"k", b"a bA\n"]
    assert split_words(b"set k 'it\\'s \\n'") == [b"set", b"k", b"it's \\n"]
    assert split_words(b'set k "open') is None
    assert split_words(b"set k 'a'b") is None


def test_a_zero_byte_ends_the_line_outside_of_quotes_only() -> None:
    assert split_words(b"a\0b c") == [b"a"]
    assert split_words(b'"a\0b" c') == [b"a\0b", b"c"]
    assert split_words(b'"a"\0"') == [b"a"]


def test_vertical_tabs_and_form_feeds_part_words_only_between_them() -> None:
    assert split_words(b"\v\fa\vb\f c") == [b"a\vb\f", b"c"]
    assert split_words(b'"a"\vb') == [b"a", b"b"]
