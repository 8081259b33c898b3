"""A user: who may authenticate as it, and what it may do.

What a user may do is said by *selectors*; the first is the user's own (the root).  A
command is allowed if one selector alone allows all of it: the command, each key and
each channel.

=================  ==============================================================
commands           names (``CONFIG|GET``) that may run; ``all_commands`` if none
                   was ever taken away since ``+@all``, so that nobody looks
future             begun from ``+@all``: how the rules are described
first_args         ``+select|0``: first arguments with which a command may run
                   that may not run otherwise
keys               pattern -> ``READ``, ``WRITE`` or both; ``all_keys`` for every
channels           patterns; ``all_channels`` for every
=================  ==============================================================

A key that a command neither reads nor writes (EXISTS) must match some pattern.  A
user with a selector that allows everything is not ``restricted``, and its commands
take the hot path.

It must not know: connections, how rules are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple

from perdure.server.acl_categories import every_name
from perdure.server.key_flags import KeyUse, keys_with_flags
from perdure.store.command import NO_AUTH, Command
from perdure.store.patterns import matcher

READ, WRITE = 1, 2
READ_AND_WRITE = READ | WRITE
_NEEDS = {"access": READ, "insert": WRITE, "delete": WRITE, "update": WRITE}

# What was denied; the larger tells more, and is what is said where selectors differ.
COMMAND, KEY, AUTH, CHANNEL = 1, 2, 3, 4

USER_FLAGS = (b"on", b"off", b"nopass", b"skip-sanitize-payload", b"sanitize-payload")
"""In the order in which they are shown."""

# Which arguments of a command line are channels: (first, behind the last, are they patterns?).
_TO_THE_END = 1 << 31
_CHANNELS: dict[bytes, tuple[int, int, bool]] = {
    b"SUBSCRIBE": (1, _TO_THE_END, False),
    b"SSUBSCRIBE": (1, _TO_THE_END, False),
    b"PSUBSCRIBE": (1, _TO_THE_END, True),
    b"PUBLISH": (1, 2, False),
    b"SPUBLISH": (1, 2, False),
}


class Denial(NamedTuple):
    """Why a command is not allowed; ``thing`` is the key or channel, or the command's name."""

    kind: int
    thing: bytes


class Selector:
    """What is allowed together."""

    __slots__ = (
        "all_channels", "all_commands", "all_keys", "channels", "commands", "described", "first_args", "future", "keys",
    )  # fmt: skip

    def __init__(self, all_channels: bool) -> None:
        """Nothing is allowed, but every channel if ``all_channels`` (``acl-pubsub-default``)."""
        self.all_commands = False
        self.all_keys = False
        self.all_channels = all_channels
        self.future = False
        self.commands: set[bytes] = set()
        self.first_args: dict[bytes, list[bytes]] = {}
        self.keys: dict[bytes, int] = {}
        self.channels: dict[bytes, None] = {}
        self.described = b""
        """The rules about commands as they were described last; b"" when they have changed."""

    def copy(self) -> Selector:
        """One with the same rights, which can be changed by itself."""
        twin = Selector(self.all_channels)
        twin.all_commands, twin.all_keys, twin.future = self.all_commands, self.all_keys, self.future
        twin.commands = set(self.commands)
        twin.first_args = {name: list(words) for name, words in self.first_args.items()}
        twin.keys, twin.channels = dict(self.keys), dict(self.channels)
        twin.described = self.described
        return twin

    @property
    def unlimited(self) -> bool:
        """Does it allow everything?"""
        return self.all_commands and self.all_keys and self.all_channels

    def allow(self, names: Iterable[bytes], allowed: bool) -> None:
        """Allow commands, or not."""
        if allowed:
            self.commands.update(names)
        else:
            self.commands.difference_update(names)
            self.all_commands = False
        self.described = b""

    def allow_all(self, allowed: bool) -> None:
        """``+@all`` and ``-@all``: the commands there are and those there will be."""
        self.commands = set(every_name()) if allowed else set()
        self.all_commands = self.future = allowed
        self.first_args.clear()
        self.described = b""

    def may_run(self, entry: Command, argv: Sequence[bytes]) -> bool:
        """May the command run, whatever its keys?"""
        if self.all_commands or entry.flags & NO_AUTH or entry.name in self.commands:
            return True
        words = self.first_args.get(entry.name)
        if words is None or len(argv) < 2:
            return False
        return argv[1].partition(b"\0")[0].lower() in map(bytes.lower, words)

    def may_use_key(self, key: bytes, needs: int) -> bool:
        """May the key be used in a way that needs these rights?"""
        if self.all_keys:
            return True
        return any(rights & needs == needs and matcher(pattern)(key) for pattern, rights in self.keys.items())

    def may_read_all_keys(self) -> bool:
        """May every key be read, whatever it is called?"""
        return self.all_keys or bool(self.keys.get(b"*", 0) & READ)

    def may_use_channel(self, channel: bytes, is_pattern: bool) -> bool:
        """May the channel be used?  A pattern (PSUBSCRIBE) must be named as it is."""
        return self.all_channels or channel_fits(self.channels, channel, is_pattern)


def channel_fits(allowed: Iterable[bytes], channel: bytes, is_pattern: bool) -> bool:
    """Is a channel among patterns, or a pattern one of them?"""
    return any(channel == pattern if is_pattern else bool(matcher(pattern)(channel)) for pattern in allowed)


class User:
    """A user; ``selectors[0]`` is its own."""

    __slots__ = ("flags", "name", "passwords", "selectors")

    def __init__(self, name: bytes, all_channels: bool) -> None:
        """One that may do nothing, not even authenticate."""
        self.name = name
        self.flags: set[bytes] = {b"off"}
        self.passwords: list[bytes] = []  # SHA-256, in hex
        self.selectors = [Selector(all_channels)]

    @property
    def root(self) -> Selector:
        """The selector that rules outside of parentheses are about."""
        return self.selectors[0]

    @property
    def enabled(self) -> bool:
        """May anyone authenticate as this user?"""
        return b"on" in self.flags

    @property
    def needs_no_password(self) -> bool:
        """Does every password fit?"""
        return b"nopass" in self.flags

    @property
    def is_open(self) -> bool:
        """Is anyone this user who asks for it?"""
        return self.enabled and self.needs_no_password

    @property
    def restricted(self) -> bool:
        """Is there anything that this user may not do?"""
        return not any(selector.unlimited for selector in self.selectors)

    def become(self, other: User) -> None:
        """Take everything but the name from another."""
        self.flags = set(other.flags)
        self.passwords = list(other.passwords)
        self.selectors = [selector.copy() for selector in other.selectors]

    def accepts(self, password: bytes) -> bool:
        """Does a password open this user?  The time that takes does not tell how much of it is right."""
        if not self.enabled:
            return False
        if self.needs_no_password:
            return True
        digest = hash_password(password)
        right = False
        for known in self.passwords:
            right |= compare_digest(digest, known)
        return right

    def denial(self, entry: Command, argv: list[bytes]) -> Denial | None:
        """Why a command line, by the command's own name, is not allowed; None if it is.

        If no selector allows the command, that is the reason; else the last key or channel
        that any of them came to.
        """
        worst: tuple[int, int, bytes] = (COMMAND, 0, entry.lower_name)
        keys: list[KeyUse] | None = None
        for selector in self.selectors:
            if not selector.may_run(entry, argv):
                continue
            if keys is None and not selector.all_keys:
                keys = keys_with_flags(entry, argv)
            found = _first_denied(selector, entry, argv, keys or [])
            if found is None:
                return None
            if found[:2] > worst[:2]:
                worst = found
        return Denial(worst[0], worst[2])

    def may_read_all_keys(self, entry: Command, argv: list[bytes]) -> bool:
        """Does one selector allow the command line and the reading of every key besides (SORT BY, GET)?"""
        return any(
            selector.may_read_all_keys()
            and selector.may_run(entry, argv)
            and _first_denied(selector, entry, argv, keys_with_flags(entry, argv)) is None
            for selector in self.selectors
        )

    def channels(self) -> set[bytes] | None:
        """The channel patterns of all selectors together; None for every channel."""
        if any(selector.all_channels for selector in self.selectors):
            return None
        return {pattern for selector in self.selectors for pattern in selector.channels}

    def _check(self) -> None:
        assert (b"on" in self.flags) != (b"off" in self.flags)
        assert self.flags <= set(USER_FLAGS)
        assert not (self.needs_no_password and self.passwords)
        for selector in self.selectors:
            assert selector.commands <= every_name()
            assert not selector.all_commands or selector.commands == every_name()
            assert not (selector.all_keys and selector.keys)
            assert not (selector.all_channels and selector.channels)
            assert all(0 < rights <= READ_AND_WRITE for rights in selector.keys.values())


def hash_password(password: bytes) -> bytes:
    """A password as it is kept."""
    return sha256(password).hexdigest().encode()


def _needs(flags: Iterable[str]) -> int:
    needs = 0
    for flag in flags:
        needs |= _NEEDS.get(flag, 0)
    return needs


def _first_denied(
    selector: Selector, entry: Command, argv: list[bytes], keys: list[KeyUse]
) -> tuple[int, int, bytes] | None:
    """The first key or channel that a selector denies: (kind, its place, its name)."""
    if not selector.all_keys:
        for place, (key, flags) in enumerate(keys):
            if not selector.may_use_key(key, _needs(flags)):
                return KEY, place, key
    if not selector.all_channels and entry.name in _CHANNELS:
        first, behind, are_patterns = _CHANNELS[entry.name]
        for place, channel in enumerate(argv[first:behind]):
            if not selector.may_use_channel(channel, are_patterns):
                return CHANNEL, place, channel
    return None
