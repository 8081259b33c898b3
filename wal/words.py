"""The words of a line by stock's quoting rules: of the manifest, redis.conf and inline commands.

::

    line  = blank* [ word ( blank+ word )* ] blank*
    word  = plain* [ "..." | '...' ]         a blank or the line's end must follow the closing quote
    in "...":  \\xHH \\n \\r \\t \\b \\a, and \\c for any other c
    in '...':  \\' only

A zero byte outside of quotes ends the line, and vertical tabs and form feeds part words
only where no word has begun: stock's words are C strings.

It must not know: what a line means, and how long it may be.
"""

from __future__ import annotations

_BLANKS = b" \t\n\r\v\f"
_WORD_ENDS = b" \t\n\r\0"
_AFTER_QUOTE = _BLANKS + b"\0"
_DOUBLE, _SINGLE, _BACKSLASH, _HASH = b"\"'\\#"
_ESCAPES = {ord("n"): 0x0A, ord("r"): 0x0D, ord("t"): 0x09, ord("b"): 0x08, ord("a"): 0x07}
_HEX = b"0123456789abcdefABCDEF"


def split_words(line: bytes, *, comments: bool = False) -> list[bytes] | None:
    """The words of a line; None if quotes do not balance.  ``comments``: a word that is a bare ``#`` ends the line."""
    words: list[bytes] = []
    at, end = 0, len(line)
    while True:
        while at < end and line[at] in _BLANKS:
            at += 1
        if at == end or line[at] == 0:
            return words
        if comments and line[at] == _HASH and (at + 1 == end or line[at + 1] in _BLANKS):
            return words
        word = bytearray()
        while at < end and line[at] not in _WORD_ENDS:
            if line[at] == _DOUBLE or line[at] == _SINGLE:
                behind = _quoted(line, at, word)
                if behind is None:
                    return None
                at = behind
                break
            word.append(line[at])
            at += 1
        words.append(bytes(word))


def _quoted(line: bytes, at: int, word: bytearray) -> int | None:
    """Append what the quotes that open at ``at`` hold; the position behind them, None if they do not end well."""
    quote, end = line[at], len(line)
    at += 1
    while at < end:
        c = line[at]
        at += 1
        if c == quote:
            return at if at == end or line[at] in _AFTER_QUOTE else None
        if c == _BACKSLASH and at < end and (quote == _DOUBLE or line[at] == _SINGLE):
            c = line[at]
            at += 1
            if quote == _DOUBLE:
                digits = line[at : at + 2]
                if c == ord("x") and len(digits) == 2 and digits[0] in _HEX and digits[1] in _HEX:
                    c = int(digits, 16)
                    at += 2
                else:
                    c = _ESCAPES.get(c, c)
        word.append(c)
    return None
