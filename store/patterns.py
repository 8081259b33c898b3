"""Glob patterns, as KEYS, SCAN ... MATCH and their kind take them.

=========  ==================================================================
``*``      any bytes, also none
``?``      any one byte
``[...]``  one byte of a set: ``[abc]``, ``[a-z]`` (bytes compare as signed
           chars, as in a C program), ``[^...]`` one byte that is not of it;
           the set ends with the pattern if no ``]`` does it
``\\\\x``    the byte x itself, in a set as well
=========  ==================================================================

A pattern matches the empty string only if it is empty itself: stock's matcher has
this, and its commands treat a lone ``*`` apart, as ours do.

No pattern takes more than O(len(pattern) * len(text)): after a star, the leftmost
place where the part up to the next star fits is as good as any other, so nothing
is ever tried twice.  The translation to ``re`` says so with atomic groups; a long
pattern is not translated (that takes about a microsecond a byte, wanted or not)
but walked along directly, which ends at the first byte that differs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from operator import methodcaller

Matcher = Callable[[bytes], object]
"""Says with a true value that a text matches."""

LONGEST_TRANSLATED = 1024
_STAR, _BACKSLASH, _OPEN, _CLOSE, _CARET, _DASH, _ANY = b"*\\[]^-?"


def matcher(pattern: bytes) -> Matcher:
    """The matcher of a pattern; those of short patterns are kept for the next call."""
    if len(pattern) > LONGEST_TRANSLATED:
        return lambda text: matches_directly(pattern, text)
    return _translated(pattern)


def matches_ignoring_case(pattern: bytes, text: bytes) -> bool:
    """Does the pattern match, ASCII letters taken without their case?"""
    return bool(matcher(pattern.lower())(text.lower()))


def _byte_set(pattern: bytes, at: int, text_byte: int) -> tuple[int, bool]:
    """``pattern[at]`` is behind a ``[``: the position behind the set, and is the byte in it?"""
    end = len(pattern)
    negated = at < end and pattern[at] == _CARET
    if negated:
        at += 1
    found = False
    while at < end:
        here = pattern[at]
        if here == _BACKSLASH and at + 1 < end:
            at += 1
            found = found or pattern[at] == text_byte
        elif here == _CLOSE:
            return at + 1, found != negated
        elif at + 2 < end and pattern[at + 1] == _DASH:
            a, b = (here ^ 128), (pattern[at + 2] ^ 128)
            found = found or min(a, b) <= text_byte ^ 128 <= max(a, b)
            at += 2
        else:
            found = found or here == text_byte
        at += 1
    return at, found != negated


def _step(pattern: bytes, at: int, text_byte: int) -> int:
    """The position behind the token at ``at``, which is no star, if it matches the byte; else -1."""
    here = pattern[at]
    if here == _ANY:
        return at + 1
    if here == _OPEN:
        after, found = _byte_set(pattern, at + 1, text_byte)
        return after if found else -1
    if here == _BACKSLASH and at + 1 < len(pattern):
        at += 1
        here = pattern[at]
    return at + 1 if here == text_byte else -1


def matches_directly(pattern: bytes, text: bytes) -> bool:
    """Does the pattern match?  Nothing prepared, nothing kept."""
    if not text:
        return not pattern
    at, end = 0, len(pattern)
    behind_star, resume = -1, 0
    position = 0
    while position < len(text):
        if at < end and pattern[at] == _STAR:
            at += 1
            behind_star, resume = at, position
            if at == end:
                return True
            continue
        after = _step(pattern, at, text[position]) if at < end else -1
        if after >= 0:
            at = after
            position += 1
        elif behind_star >= 0:
            resume += 1
            at, position = behind_star, resume
        else:
            return False
    return not pattern[at:].strip(b"*")


def _token(pattern: bytes, at: int) -> tuple[int, bytes]:
    """The token at ``at``, which is no star: the position behind it, and its regular expression."""
    here = pattern[at]
    if here == _ANY:
        return at + 1, b"."
    if here == _OPEN:
        members = [byte for byte in range(256) if _byte_set(pattern, at + 1, byte)[1]]
        after, _ = _byte_set(pattern, at + 1, 0)
        if not members:
            return after, b"(?!)"
        return after, b"[%b]" % b"".join(b"\\x%02x" % byte for byte in members)
    if here == _BACKSLASH and at + 1 < len(pattern):
        at += 1
    return at + 1, re.escape(pattern[at : at + 1])


@lru_cache(maxsize=256)
def _translated(pattern: bytes) -> Matcher:
    """The matcher of a pattern, by the cheapest means that it allows."""
    if not pattern.strip(b"*"):
        return bool if pattern else b"".__eq__
    if not re.search(rb"[*?\[\\]", pattern):
        return pattern.__eq__
    if not re.search(rb"[*?\[\\]", pattern[:-1]) and pattern.endswith(b"*"):
        return methodcaller("startswith", pattern[:-1])
    segments = [b""]
    at = 0
    while at < len(pattern):
        if pattern[at] == _STAR:
            at += 1
            if segments[-1] or len(segments) == 1:
                segments.append(b"")
        else:
            at, expression = _token(pattern, at)
            segments[-1] += expression
    first, *middle, last = segments if len(segments) > 1 else (segments[0], b"")
    expression = first + b"".join(b"(?>.*?%b)" % segment for segment in middle)
    if len(segments) > 1:
        expression += b".*" + last
    return re.compile(expression, re.DOTALL).fullmatch
