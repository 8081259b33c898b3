"""Where a configuration comes from: the command line, files, stdin; as a stream of lines of words.

The grammar of a line is stock's (``wal.words``) with one extension: an unquoted word
that is exactly ``#`` starts a comment, so ``save 900 1   # at least one change``
works, while ``requirepass #secret`` is a password as ever.  A line whose first character is ``#`` is a comment in both.

The command line is ``[file | -] [--name word ...] ... [-]``.  ``--name`` opens a
line and each further argument is one word of it, whatever it holds; as in stock
the argument right behind a lone ``--name`` is always its value, even if it
begins with ``--``, except for ``--save``, which may stand alone.

This module knows names of options only to suggest one that was meant.
Everything is bounded: a file's size, the number of files, the depth of includes.
"""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from perdure.server.option_values import ConfigError
from perdure.server.options import BY_NAME, FILE_ONLY
from perdure.wal.words import split_words

MAX_FILE_BYTES: Final = 16 << 20
MAX_FILES: Final = 1000
MAX_INCLUDE_DEPTH: Final = 16

UNBALANCED: Final = "Unbalanced quotes in configuration line"
BAD_DIRECTIVE: Final = "Bad directive or wrong number of arguments"


@dataclass(frozen=True, slots=True)
class Line:
    """One directive: ``words[0]`` is the name in lower case.  ``number`` is 0 on the command line."""

    source: str
    number: int
    text: bytes
    words: list[bytes]

    @property
    def name(self) -> str:
        return os.fsdecode(self.words[0])

    def error(self, reason: str) -> ConfigError:
        """The start error for this line, in stock's shape, with the file's name and a suggestion."""
        return ConfigError(_fatal(self.source, self.number, self.text, reason + self._meant(reason)))

    def _meant(self, reason: str) -> str:
        known = [*BY_NAME, *FILE_ONLY]
        if reason == BAD_DIRECTIVE and self.words and self.name not in known:
            close = difflib.get_close_matches(self.name[:64], known, n=1, cutoff=0.6)
            return f"\nDid you mean '{close[0]}'?" if close else ""
        if len(self.words) < 2 and re.search(rb"[ \t]#([ \t]|$)", self.text):
            return "\nA bare # starts a comment; put it in quotes to mean the character."
        return ""


def _fatal(source: str, number: int, text: bytes, reason: str) -> str:
    where = f"{source}, at line {number}" if number else source
    name = (split_words(text.split(None, 1)[0] if text.split() else b"") or [b""])[0]
    option = BY_NAME.get(os.fsdecode(name).lower())
    shown = os.fsdecode(text)
    if option is not None and option.sensitive:
        shown = f"{option.name} (value not shown)"
    elif name.lower() == b"user":
        shown = re.sub(r"([<>])\S+", r"\1 (not shown)", shown)
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown[:1024])
    return f"*** FATAL CONFIG FILE ERROR (perdure) ***\nReading {where}\n>>> '{shown}'\n{reason}"


def lines_of(data: bytes, source: str) -> Iterator[Line]:
    """The directives of a configuration text, one at a time, so that the first error is the first line's."""
    for number, raw in enumerate(data.split(b"\n"), 1):
        text = raw.strip(b" \t\r\n")
        if not text or text.startswith(b"#"):
            continue
        words = split_words(text, comments=True)
        if words is None:
            raise ConfigError(_fatal(source, number, text, UNBALANCED))
        if words:
            yield Line(source, number, text, [words[0].lower(), *words[1:]])


@dataclass
class Reader:
    """Reads configuration files; counts them, so that includes end."""

    files: int = 0

    def lines(self, path: str, depth: int = 0) -> Iterator[Line]:
        """The lines of one file, or of every file that a wildcard names, sorted; ``include`` is the caller's."""
        paths = sorted(glob.glob(path)) if any(c in path for c in "*?[") else [path]
        if depth > MAX_INCLUDE_DEPTH:
            raise ConfigError(
                f"Fatal error, can't open config file '{path}': includes nest deeper than {MAX_INCLUDE_DEPTH}"
            )
        for one in paths:
            self.files += 1
            if self.files > MAX_FILES:
                raise ConfigError(f"Fatal error, can't open config file '{one}': more than {MAX_FILES} files")
            yield from lines_of(_read(one), f"the configuration file '{one}'")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"Fatal error, can't open config file '{path}': {error.strerror}") from None
    return bounded(data, path)


def bounded(data: bytes, source: str) -> bytes:
    """``data`` if it is no larger than a configuration may be."""
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"Fatal error, config file '{source}' is larger than {MAX_FILE_BYTES >> 20} MiB")
    return data


# ---- the command line --------------------------------------------------------

HELP: Final = """\
Usage: perdure-server [/path/to/redis.conf] [options] [-]
       perdure-server - (read the configuration from stdin)
       perdure-server -v or --version
       perdure-server -h or --help

Examples:
       perdure-server (run with the defaults)
       echo 'maxclients 128' | perdure-server -
       perdure-server /etc/redis/redis.conf
       perdure-server --port 7777
       perdure-server --port 7777 --appendfsync always --dir /var/lib/perdure
       perdure-server /etc/redis/redis.conf --loglevel verbose -"""

_NOT_HERE: Final = {
    "--test-memory": "perdure-server has no memory test; use memtest86 or memtester",
    "--check-system": "perdure-server has no system check",
    "--sentinel": "perdure-server has no sentinel mode; run redis-sentinel",
    "--check-aof": "perdure-server does not check files; use redis-check-aof",
    "--check-rdb": "perdure-server does not check files; use redis-check-rdb",
}


@dataclass(frozen=True)
class Invocation:
    """What the command line asks for.  If ``answer`` is not None, print it and exit with ``status``."""

    path: str | None = None
    stdin: bool = False
    options: list[Line] = field(default_factory=list)
    answer: str | None = None
    status: int = 0


def parse_command_line(arguments: list[str], version: str) -> Invocation:
    """``arguments`` without the program's name.  ``ConfigError`` if quotes in a ``--name`` do not balance."""
    first = arguments[0] if arguments else ""
    if first in ("-v", "--version"):
        return Invocation(answer=f"perdure-server v={version} compatible=redis-7.0 bits=64")
    if first in ("-h", "--help"):
        return Invocation(answer=HELP)
    for argument in (first, *(a for a in arguments[1:] if a == "--sentinel")):
        if argument in _NOT_HERE:
            return Invocation(answer=_NOT_HERE[argument], status=1)
    path = None
    rest = list(arguments)
    if rest and not rest[0].startswith("-"):
        path = rest.pop(0)
    stdin = bool(rest) and "-" in (first, rest[-1])
    if stdin and rest[-1] == "-":
        rest.pop()
    if stdin and rest and rest[0] == "-" and first == "-":
        rest.pop(0)
    return Invocation(path, stdin, _option_lines(rest))


def _option_lines(arguments: list[str]) -> list[Line]:
    groups: list[tuple[list[bytes], list[str]]] = []
    value_expected = False
    for at, argument in enumerate(arguments):
        if argument.startswith("--") and not value_expected:
            words = split_words(os.fsencode(argument[2:]))
            if words is None:
                raise ConfigError(_fatal("the command line", 0, os.fsencode(argument[2:]), UNBALANCED))
            words = words or [b""]
            groups.append(([words[0].lower(), *words[1:]], [argument[2:]]))
            value_expected = len(words) == 1
            following = arguments[at + 1] if at + 1 < len(arguments) else None
            if value_expected and words[0].lower() == b"save" and (following is None or following.startswith("--")):
                groups[-1][0].append(b"")  # a lone --save means: no save points
                value_expected = False
        else:
            if not groups:
                groups.append(([os.fsencode(argument).lower()], [argument]))
            else:
                groups[-1][0].append(os.fsencode(argument))
                groups[-1][1].append(f'"{argument}"')
            value_expected = False
    return [Line("the command line", 0, os.fsencode(" ".join(shown)), words) for words, shown in groups]


def read_stdin(read: Callable[[int], bytes]) -> bytes:
    """The whole of stdin; ``read`` is a binary file's."""
    return bounded(read(MAX_FILE_BYTES + 1), "stdin")
