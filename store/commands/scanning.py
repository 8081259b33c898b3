"""What SCAN, HSCAN and their kind share: cursors and options in, a page out.

A page looks at COUNT entries and shows those that pass the filters, so that a call
is bounded whatever the pattern; it may show none while the scan goes on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from perdure.store.errors import INVALID_CURSOR, SYNTAX, CommandError
from perdure.store.numbers import parse_integer
from perdure.store.patterns import Matcher, matcher
from perdure.store.resp import bulk, bulk_array

_CURSOR = re.compile(rb"(?:[+-]?([0-9]+))?(?:\0|\Z)", re.DOTALL)
_CURSOR_LIMIT = 1 << 64
DEFAULT_COUNT = 10
EMPTY_PAGE = b"*2\r\n$1\r\n0\r\n*0\r\n"


@dataclass(slots=True)
class ScanOptions:
    """MATCH (None for everything), COUNT (> 0) and TYPE (lower case, None for every type)."""

    match: Matcher | None = None
    count: int = DEFAULT_COUNT
    type_name: bytes | None = None


def parse_cursor(arg: bytes) -> int:
    """A cursor as C's strtoul reads it: it may have a sign, be empty, or end in a NUL byte."""
    found = _CURSOR.match(arg)
    if found is None:
        raise CommandError(INVALID_CURSOR)
    digits = (found[1] or b"0").lstrip(b"0")
    if len(digits) > 20 or int(digits or b"0") >= _CURSOR_LIMIT:
        raise CommandError(INVALID_CURSOR)
    return int(digits or b"0")


def parse_options(argv: list[bytes], start: int, with_type: bool) -> ScanOptions:
    """The options from ``argv[start]`` on."""
    options = ScanOptions()
    pattern = b"*"
    for at in range(start, len(argv), 2):
        name = argv[at].upper()
        if at + 1 == len(argv):
            raise CommandError(SYNTAX)
        value = argv[at + 1]
        if name == b"COUNT":
            options.count = parse_integer(value)
            if options.count < 1:
                raise CommandError(SYNTAX)
        elif name == b"MATCH":
            pattern = value
        elif name == b"TYPE" and with_type:
            options.type_name = value.partition(b"\0")[0].lower()
        else:
            raise CommandError(SYNTAX)
    if pattern != b"*":
        options.match = matcher(pattern)
    return options


def page_reply(cursor: int, members: list[bytes]) -> bytes:
    """A page: the next cursor and what it shows."""
    return b"*2\r\n" + bulk(b"%d" % cursor) + bulk_array(members)
