"""Kinds of option values: reading the words a user wrote, the typed value, and printing it as CONFIG GET does.

A kind is a pair of functions.  ``read(option, words, context)`` takes the words
as bytes and returns the typed value or raises ``ConfigError(reason)``;
``show(value)`` returns the bytes that stock's CONFIG GET prints.  The words of
an option that takes several (``multi``) are a list, those of any other exactly
one.

============  =====================================================  =====================================
kind          typed value                                            written as
============  =====================================================  =====================================
bool          bool                                                   yes, no
int           int                                                    digits, no unit
memory        int, bytes                                             64mb
percent       int: bytes, or minus a percentage                      64mb, 5%
octal         int                                                    0700
enum          str, one of ``words``                                  the word, in any case
flags         frozenset of str; empty is the default                 save now
text          str; bytes that are no UTF-8 are kept (surrogates)     anything without a NUL
secret        bytes                                                  anything
dir           str, an absolute path                                  an existing directory
save          tuple of (seconds, changes)                            900 1 300 10
bind          tuple of str, ``-`` and ``*`` included                 127.0.0.1 -::1
limits        {class: (hard bytes, soft bytes, soft seconds)}        normal 0 0 0
oom           tuple of three int                                     0 200 800
events        str, stock's letters in stock's order                  KEA
percentiles   tuple of float                                         50 99 99.9
replicaof     None or (host, port)                                   no one; 10.0.0.1 6379
============  =====================================================  =====================================

Values are immutable (``limits`` is a dict that is replaced, never changed), so
a roll-back is an assignment.  Nothing here opens, changes or binds anything;
``dir`` alone looks at the disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from perdure.server.options import ULONG_MAX, Option

# Texts that clients see, as redis-server 7.0 words them.
NOT_BOOL: Final = "argument must be 'yes' or 'no'"
NOT_INT: Final = "argument couldn't be parsed into an integer"
NOT_OCTAL: Final = "argument couldn't be parsed as an octal number"
NOT_MEMORY: Final = "argument must be a memory value"
NOT_MEMORY_OR_PERCENT: Final = "argument must be a memory or percent value"
BAD_PERCENT: Final = "percentage argument must be less or equal to %d"
OUT_OF_BOUNDS: Final = "argument must be between %s and %s inclusive"
NOT_A_WORD: Final = "argument(s) must be one of the following: %s"
WRONG_NUMBER: Final = "wrong number of arguments"
BAD_SAVE: Final = "Invalid save parameters"
LIMITS_NUMBER: Final = "Wrong number of arguments in buffer limit configuration."
LIMITS_CLASS: Final = "Invalid client class specified in buffer limit configuration."
LIMITS_VALUE: Final = "Error in hard, soft or soft_seconds setting in buffer limit configuration."
BAD_OOM: Final = "Invalid oom-score-adj-values, elements must be between -2000 and 2000."
BAD_EVENT: Final = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."
BAD_PERCENTILES: Final = "Invalid latency-tracking-info-percentiles parameters"
PERCENTILES_RANGE: Final = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
TOO_MANY_BIND: Final = "Too many bind addresses specified."
BAD_MASTER_PORT: Final = "Invalid master port"
BAD_TITLE: Final = "template format is invalid or contains unknown variables"
SAVE_AND_NOSAVE: Final = "shutdown options SAVE and NOSAVE can't be used simultaneously"
BAD_HOSTNAME: Final = "Hostnames may only contain alphanumeric characters, hyphens or dots"
LONG_HOSTNAME: Final = "Hostnames must be less than 256 characters"
A_PATH: Final = "%s can't be a path, just a %s"
EMPTY_NAME: Final = "%s can't be empty"
HAS_NUL: Final = "a NUL byte is not allowed in this value"

MAX_BIND: Final = 16
MIN_BACKLOG_BYTES: Final = 16 * 1024
MAX_HZ: Final = 500

_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_LOOSE_INTEGER = re.compile(rb"[+-]?[0-9]{1,19}")
_MEMORY = re.compile(rb"([0-9]*)(b|k|kb|m|mb|g|gb)?", re.IGNORECASE)
_FLOAT = re.compile(rb"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_UNITS = {b"": 1, b"b": 1, b"k": 1000, b"kb": 1 << 10, b"m": 10**6, b"mb": 1 << 20, b"g": 10**9, b"gb": 1 << 30}
_CLASSES = {"normal": "normal", "replica": "replica", "slave": "replica", "pubsub": "pubsub"}
_TITLE_NAMES = {"title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"}
_EVENTS_OF_A = "g$lshzxetd"


class ConfigError(Exception):
    """A configuration that is refused; ``text`` says why, without a leading ``-``."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class Context:
    """What reading a value may depend on."""

    current: Any  # the value that holds now: buffer limits and save points build on it
    loading: bool  # True while files and the command line are read, False for CONFIG SET
    repeated: bool  # the option already occurred in this configuration
    base: str  # the directory that relative paths start from


def integer(data: bytes) -> int | None:
    """A 64-bit integer in its only canonical form (no sign +, no leading zeros, no blanks), or None."""
    if not _INTEGER.fullmatch(data):
        return None
    value = int(data)
    return value if -(2**63) <= value < 2**63 else None


def memory(data: bytes) -> int | None:
    """A size in bytes with an optional unit, clamped to 64 bits; no digits mean 0 as in stock; None if it is none."""
    match = _MEMORY.fullmatch(data.split(b"\0", 1)[0])
    if match is None or len(match[1]) > 100:
        return None
    return min(int(match[1] or b"0") * _UNITS[(match[2] or b"").lower()], ULONG_MAX)


def _in_bounds(option: Option, value: int, digits: str = "%d") -> int:
    if not option.low <= value <= option.high:
        raise ConfigError(OUT_OF_BOUNDS % (digits % option.low, digits % option.high))
    return value


def _read_bool(option: Option, words: list[bytes], context: Context) -> bool:
    word = words[0].split(b"\0", 1)[0].lower()
    if word not in (b"yes", b"no"):
        raise ConfigError(NOT_BOOL)
    return word == b"yes"


def _read_int(option: Option, words: list[bytes], context: Context) -> int:
    value = integer(words[0])
    if value is None:
        raise ConfigError(NOT_INT)
    value = _in_bounds(option, value)
    return min(max(value, 1), MAX_HZ) if option.check == "hz" else value


def _read_memory(option: Option, words: list[bytes], context: Context) -> int:
    value = memory(words[0])
    if value is None:
        raise ConfigError(NOT_MEMORY)
    value = _in_bounds(option, value)
    return max(value, MIN_BACKLOG_BYTES) if option.check == "backlog" else value


def _read_percent(option: Option, words: list[bytes], context: Context) -> int:
    if words[0].endswith(b"%"):
        value = integer(words[0][:-1])
        if value is None or value < 0:
            raise ConfigError(NOT_MEMORY_OR_PERCENT)
        if value > -option.low:
            raise ConfigError(BAD_PERCENT % -option.low)
        return -value
    value = memory(words[0])
    if value is None:
        raise ConfigError(NOT_MEMORY_OR_PERCENT)
    return _in_bounds(option, value)


def _read_octal(option: Option, words: list[bytes], context: Context) -> int:
    word = words[0].split(b"\0", 1)[0]
    if not re.fullmatch(rb"(-?[0-7]{1,20})?", word):
        raise ConfigError(NOT_OCTAL)
    return _in_bounds(option, int(word or b"0", 8), "%o")


def _read_enum(option: Option, words: list[bytes], context: Context) -> str:
    word = os.fsdecode(words[0].split(b"\0", 1)[0]).lower()
    if word not in option.words:
        raise ConfigError(NOT_A_WORD % ", ".join(option.words))
    return word


def _read_flags(option: Option, words: list[bytes], context: Context) -> frozenset[str]:
    found = {_read_enum(option, [word], context) for word in words or [b""]} - {option.words[0]}
    if option.check == "shutdown" and {"save", "nosave"} <= found:
        raise ConfigError(SAVE_AND_NOSAVE)
    return frozenset(found)


def _read_text(option: Option, words: list[bytes], context: Context) -> str:
    if b"\0" in words[0]:
        raise ConfigError(HAS_NUL)
    value = os.fsdecode(words[0])
    if option.check:
        CHECKS[option.check](option.name, value)
    return value


def _read_secret(option: Option, words: list[bytes], context: Context) -> bytes:
    return words[0]


def _read_dir(option: Option, words: list[bytes], context: Context) -> str:
    path = os.path.join(context.base, _read_text(option, words, context)) if words[0] else ""
    try:
        os.stat(os.path.join(path, ".") if path else path)
    except OSError as error:
        raise ConfigError(os.strerror(error.errno or 0)) from None
    if not os.access(path, os.X_OK):
        raise ConfigError(os.strerror(13))
    return os.path.realpath(path)


def _read_save(option: Option, words: list[bytes], context: Context) -> tuple[tuple[int, int], ...]:
    if not words:
        return ()
    if len(words) % 2:
        raise ConfigError(BAD_SAVE)
    numbers = [int(word) if _LOOSE_INTEGER.fullmatch(word) else -1 for word in words]
    points = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    if any(seconds < 1 or changes < 0 for seconds, changes in points):
        raise ConfigError(BAD_SAVE)
    # Lines of a file add up; CONFIG SET, and the first line of all, say the whole.
    return (*context.current, *points) if context.loading and context.repeated else points


def _read_bind(option: Option, words: list[bytes], context: Context) -> tuple[str, ...]:
    if len(words) > MAX_BIND:
        raise ConfigError(TOO_MANY_BIND)
    return tuple(_read_text(option, [word], context) for word in words)


def _read_limits(option: Option, words: list[bytes], context: Context) -> dict[str, tuple[int, int, int]]:
    if len(words) % 4:
        raise ConfigError(LIMITS_NUMBER)
    limits = dict(context.current)
    for at in range(0, len(words), 4):
        name = _CLASSES.get(os.fsdecode(words[at]).lower())
        if name is None:
            raise ConfigError(LIMITS_CLASS)
        hard, soft = memory(words[at + 1]), memory(words[at + 2])
        seconds = int(words[at + 3]) if _LOOSE_INTEGER.fullmatch(words[at + 3]) else -1
        if hard is None or soft is None or not 0 <= seconds < 2**63:
            raise ConfigError(LIMITS_VALUE)
        limits[name] = (hard, soft, seconds)
    return limits


def _read_oom(option: Option, words: list[bytes], context: Context) -> tuple[int, ...]:
    if len(words) != 3:
        raise ConfigError(WRONG_NUMBER)
    values = [int(word) if _LOOSE_INTEGER.fullmatch(word) else 9999 for word in words]
    if any(not -2000 <= value <= 2000 for value in values):
        raise ConfigError(BAD_OOM)
    return tuple(values)


def _read_events(option: Option, words: list[bytes], context: Context) -> str:
    letters = set(words[0].split(b"\0", 1)[0].decode("latin-1"))
    if not letters <= set("A" + _EVENTS_OF_A + "KEmn"):
        raise ConfigError(BAD_EVENT)
    if "A" in letters or set(_EVENTS_OF_A) <= letters:
        letters = (letters - set(_EVENTS_OF_A)) | {"A"}
    return "".join(letter for letter in "A" + _EVENTS_OF_A + "nKEm" if letter in letters)


def _read_percentiles(option: Option, words: list[bytes], context: Context) -> tuple[float, ...]:
    values = []
    for word in words:
        if not _FLOAT.fullmatch(word):
            raise ConfigError(BAD_PERCENTILES)
        values.append(float(word))
        if not 0.0 <= values[-1] <= 100.0:
            raise ConfigError(PERCENTILES_RANGE)
    return tuple(values)


def _read_replicaof(option: Option, words: list[bytes], context: Context) -> tuple[str, int] | None:
    if len(words) != 2:
        raise ConfigError(WRONG_NUMBER)
    if [word.lower() for word in words] == [b"no", b"one"]:
        return None
    port = int(words[1]) if re.fullmatch(rb"[0-9]{1,5}", words[1]) else -1
    if not 0 <= port <= 65535:
        raise ConfigError(BAD_MASTER_PORT)
    return _read_text(option, [words[0]], context), port


# ---- further rules about a text ----------------------------------------------


def _check_title(name: str, value: str) -> None:
    rest = re.sub(r"\{\{|\{([a-z-]+)\}", lambda m: "" if m[1] is None or m[1] in _TITLE_NAMES else "{", value)
    if not value or "{" in rest:
        raise ConfigError(BAD_TITLE)


def _check_hostname(name: str, value: str) -> None:
    if len(os.fsencode(value)) >= 256:
        raise ConfigError(LONG_HOSTNAME)
    if not re.fullmatch(r"[A-Za-z0-9.-]*", value):
        raise ConfigError(BAD_HOSTNAME)


def _check_name(name: str, value: str) -> None:
    if not value and name != "dbfilename":
        raise ConfigError(EMPTY_NAME % name)
    if "/" in value:
        raise ConfigError(A_PATH % (name, "dirname" if name == "appenddirname" else "filename"))


CHECKS: Final[dict[str, Callable[[str, str], None]]] = {
    "title": _check_title,
    "hostname": _check_hostname,
    "append-file": _check_name,
    "append-dir": _check_name,
    "db-file": _check_name,
}


# ---- printing ----------------------------------------------------------------


def _show_flags(value: frozenset[str]) -> bytes:
    words = [word for word in ("save", "nosave", "now", "force") if word in value]
    return " ".join(words or ["default"]).encode()


def _show_events(value: str) -> bytes:
    return (value.replace("n", "") if "A" in value else value).encode()  # as stock does


def _show_limits(value: dict[str, tuple[int, int, int]]) -> bytes:
    shown = ((b"normal", "normal"), (b"slave", "replica"), (b"pubsub", "pubsub"))
    return b" ".join(b"%b %d %d %d" % (name, *value[key]) for name, key in shown)


def _show_number(value: int) -> bytes:
    return b"%d" % value


Reader = Callable[[Option, list[bytes], Context], Any]
KINDS: Final[dict[str, tuple[Reader, Callable[[Any], bytes]]]] = {
    "bool": (_read_bool, lambda value: b"yes" if value else b"no"),
    "int": (_read_int, _show_number),
    "memory": (_read_memory, _show_number),
    "percent": (_read_percent, lambda value: b"%d%%" % -value if value < 0 else b"%d" % value),
    "octal": (_read_octal, lambda value: b"%o" % value),
    "enum": (_read_enum, os.fsencode),
    "flags": (_read_flags, _show_flags),
    "text": (_read_text, os.fsencode),
    "secret": (_read_secret, bytes),
    "dir": (_read_dir, os.fsencode),
    "save": (_read_save, lambda value: b" ".join(b"%d %d" % point for point in value)),
    "bind": (_read_bind, lambda value: os.fsencode(" ".join(value))),
    "limits": (_read_limits, _show_limits),
    "oom": (_read_oom, lambda value: " ".join(map(str, value)).encode()),
    "events": (_read_events, _show_events),
    "percentiles": (_read_percentiles, lambda value: " ".join(format(p, ".10g") for p in value).encode()),
    "replicaof": (_read_replicaof, lambda value: b"%b %d" % (os.fsencode(value[0]), value[1]) if value else b""),
}


def read(option: Option, words: list[bytes], context: Context) -> Any:
    """The typed value; ``words`` as they stood behind the option's name.  ``ConfigError`` with stock's reason."""
    if option.multi:
        if len(words) == 1:  # one quoted word holds them all; an empty one holds none
            words = words[0].split(b" ") if words[0] else []
    elif len(words) != 1:
        raise ConfigError(WRONG_NUMBER)
    return KINDS[option.kind][0](option, words, context)


def show(option: Option, value: Any) -> bytes:
    """The value as CONFIG GET prints it."""
    return KINDS[option.kind][1](value)
