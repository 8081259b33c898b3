"""How the keys of a database are used: when last, or how often of late.

To keep that costs every command time and every key memory, so it is kept only where
somebody wants to know: a policy of ``maxmemory-policy``, or OBJECT IDLETIME.  A database
that has one of these calls ``touch`` for a key that is used, ``enter`` for a new one, and
takes a key that leaves out of ``numbers``.

``Recency``    LRU: the time of the last use, in unix ms.  The times of uses that are close to
               each other are one number, so that keys share it.  Keys that nobody used since
               it is kept are idle since then.
``Frequency``  LFU: stock's counter of 8 bits that grows ever more slowly and decays with time
               (``LfuRules``), under the minutes when that was last looked at

``ranks`` says how willingly keys are given up: the more, the sooner.  ``numbers`` is a number
for each key that was used, which is all that they know of keys.

It must not know: databases, policies.
"""

from __future__ import annotations

from random import Random
from typing import Protocol

_SAME_MOMENT_MS = 50
FIRST_COUNT = 5
"""A new key's counter: enough not to go before it could be used again."""
_MOST = 255
_MS_A_MINUTE = 60_000
_SHARED = 1 << 16


class Clock(Protocol):
    """Who knows the time (``Tx``)."""

    clock_ms: int
    now_ms: int


class NoClock:
    """There is no time yet."""

    clock_ms = 0
    now_ms = 0


class LfuRules:
    """``lfu-log-factor`` and ``lfu-decay-time`` (minutes for a step down, 0 for never), and chance."""

    __slots__ = ("decay_minutes", "log_factor", "rng", "shared")

    def __init__(self, rng: Random, log_factor: int = 10, decay_minutes: int = 1) -> None:
        self.rng = rng
        self.log_factor = log_factor
        self.decay_minutes = decay_minutes
        self.shared: dict[int, int] = {}
        """Numbers that keys have, so that equal ones are one object."""

    def decayed(self, number: int, minute: int) -> int:
        """What the counter of ``number`` is by now."""
        count = number & _MOST
        if not self.decay_minutes:
            return count
        return max(0, count - max(0, minute - (number >> 8)) // self.decay_minutes)

    def grown(self, count: int) -> int:
        """The counter after one more use."""
        if count >= _MOST:
            return _MOST
        likely = 1 / (max(0, count - FIRST_COUNT) * self.log_factor + 1)
        return count + 1 if self.rng.random() < likely else count

    def share(self, number: int) -> int:
        """The object that all who have this number have."""
        if len(self.shared) > _SHARED:
            self.shared.clear()
        return self.shared.setdefault(number, number)


class Recency:
    """When each key was last used."""

    __slots__ = ("_moment", "clock", "numbers", "since_ms")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.since_ms = clock.clock_ms
        self.numbers: dict[bytes, int] = {}
        self._moment = clock.clock_ms

    def touch(self, key: bytes) -> None:
        """A key was used."""
        now = self.clock.clock_ms
        if not 0 <= now - self._moment < _SAME_MOMENT_MS:
            self._moment = now
        self.numbers[key] = self._moment

    enter = touch

    def idle_ms(self, key: bytes) -> int:
        """How long nobody used a key that exists."""
        return max(0, self.clock.clock_ms - self.numbers.get(key, self.since_ms))

    def set_idle(self, key: bytes, idle_ms: int) -> None:
        """A key was last used so long ago."""
        self.numbers[key] = self.clock.clock_ms - idle_ms

    def ranks(self, keys: list[bytes]) -> list[int]:
        """How willingly each of some keys is given up: what was used longest ago first."""
        now_ms, since_ms, get = self.clock.clock_ms, self.since_ms, self.numbers.get
        return [now_ms - get(key, since_ms) for key in keys]

    def fresh(self) -> Recency:
        """The same for an empty database."""
        return Recency(self.clock)


class Frequency:
    """How often each key was used of late."""

    __slots__ = ("_last", "clock", "numbers", "rules")

    def __init__(self, clock: Clock, rules: LfuRules) -> None:
        self.clock = clock
        self.rules = rules
        self.numbers: dict[bytes, int] = {}
        self._last: tuple[bytes, int] = (b"", 0)

    def enter(self, key: bytes) -> None:
        """A key is new."""
        minute = self.clock.clock_ms // _MS_A_MINUTE
        self.numbers[key] = self.rules.share(minute << 8 | FIRST_COUNT)

    def touch(self, key: bytes) -> None:
        """A key was used; a command that reads and then writes it, by the same object, uses it once."""
        now_ms = self.clock.clock_ms
        if self._last[0] is key and self._last[1] is now_ms:
            return
        self._last = key, now_ms
        minute = now_ms // _MS_A_MINUTE
        rules = self.rules
        old = self.numbers.get(key)
        count = FIRST_COUNT if old is None else rules.decayed(old, minute)
        self.numbers[key] = rules.share(minute << 8 | rules.grown(count))

    def count(self, key: bytes) -> int:
        """The counter of a key that exists."""
        number = self.numbers.get(key)
        return FIRST_COUNT if number is None else self.rules.decayed(number, self.clock.clock_ms // _MS_A_MINUTE)

    def set_count(self, key: bytes, count: int) -> None:
        """A key has this counter now, 0 to 255."""
        self.numbers[key] = self.rules.share(self.clock.clock_ms // _MS_A_MINUTE << 8 | count)

    def ranks(self, keys: list[bytes]) -> list[int]:
        """How willingly each of some keys is given up: what is seldom used first."""
        minute, decayed, get = self.clock.clock_ms // _MS_A_MINUTE, self.rules.decayed, self.numbers.get
        fresh = minute << 8 | FIRST_COUNT
        return [_MOST - decayed(get(key, fresh), minute) for key in keys]

    def fresh(self) -> Frequency:
        """The same for an empty database."""
        return Frequency(self.clock, self.rules)


Uses = Recency | Frequency
