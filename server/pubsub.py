"""Pub/sub: who has subscribed to what, and who gets a message.

=================  ==========================================================================
channels           by their name
patterns           all channels whose name a pattern matches; looked at one by one, as in stock
shard channels     by their name, apart from the others: PUBLISH does not reach them
=================  ==========================================================================

A message goes to the channel's subscribers in the order in which they came, then to
those of each matching pattern.  It is put in the outbox (``server.outbox``), which
sees to when it goes.  Nothing of this is logged.

PUBLISH is O(subscribers + patterns); (un)subscribing O(1) a name.

Invariants (``_check``): what a client has subscribed to is in the registry and nothing
else; no registry entry is without clients; ``SUBSCRIBED`` stands in the state of exactly
those with a subscription.

It must not know: sockets, keys, the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from perdure.server.client import CONFIRMED, SUBSCRIBED, Client
from perdure.server.outbox import MESSAGE, Outbox
from perdure.store.patterns import Matcher, matcher
from perdure.store.resp import bulk, integer, push_head

CHANNEL, PATTERN, SHARD = range(3)
_WORDS = ((b"subscribe", b"unsubscribe"), (b"psubscribe", b"punsubscribe"), (b"ssubscribe", b"sunsubscribe"))
IN_SUBSCRIBED_MODE = CONFIRMED | {b"PING", b"QUIT", b"RESET"}
"""What a RESP2 client that has subscribed may send."""
_MESSAGE, _PMESSAGE, _SMESSAGE = bulk(b"message"), bulk(b"pmessage"), bulk(b"smessage")

Names = dict[bytes, None]


class Subscriptions:
    """What one client has subscribed to; each in the order in which it did."""

    __slots__ = ("names",)

    def __init__(self) -> None:
        self.names: tuple[Names, Names, Names] = ({}, {}, {})

    def count(self, kind: int) -> int:
        """What a confirmation says: shard channels are counted apart."""
        channels, patterns, shards = self.names
        return len(shards) if kind == SHARD else len(channels) + len(patterns)

    def __bool__(self) -> bool:
        return any(self.names)


def count_of(client: Client, kind: int) -> int:
    """How many channels, patterns or shard channels a client has subscribed to."""
    return 0 if client.subscriptions is None else len(client.subscriptions.names[kind])


def listened_to(client: Client) -> tuple[list[bytes], list[bytes]]:
    """The patterns, and the channels of both sorts, that a client has subscribed to."""
    if client.subscriptions is None:
        return [], []
    channels, patterns, shards = client.subscriptions.names
    return list(patterns), [*channels, *shards]


class PubSub:
    """The registry.  ``on_audience``: called when somebody listens to channels or patterns who did not, or nobody."""

    def __init__(self, outbox: Outbox, on_audience: Callable[[], None]) -> None:
        self._outbox = outbox
        self._on_audience = on_audience
        self.registry: tuple[
            dict[bytes, dict[Client, None]], dict[bytes, dict[Client, None]], dict[bytes, dict[Client, None]]
        ] = ({}, {}, {})
        """By kind: name -> its subscribers."""
        self._matchers: dict[bytes, Matcher] = {}

    @property
    def has_audience(self) -> bool:
        """Does anybody listen to channels or patterns?"""
        return bool(self.registry[CHANNEL] or self.registry[PATTERN])

    # ---- coming and going ----------------------------------------------------------------

    def subscribe(self, kind: int, client: Client, name: bytes) -> bytes:
        """Subscribe ``client``, if it has not yet; the confirmation."""
        subscriptions = client.subscriptions
        if subscriptions is None:
            subscriptions = client.subscriptions = Subscriptions()
        if name not in subscriptions.names[kind]:
            had_audience = self.has_audience
            subscriptions.names[kind][name] = None
            self.registry[kind].setdefault(name, {})[client] = None
            if kind == PATTERN and name not in self._matchers:
                self._matchers[name] = matcher(name)
            client.state |= SUBSCRIBED
            if self.has_audience is not had_audience:
                self._on_audience()
        return _confirmation(client, _WORDS[kind][0], bulk(name), subscriptions.count(kind))

    def unsubscribe(self, kind: int, client: Client, name: bytes) -> bytes:
        """Unsubscribe ``client``, if it has subscribed; the confirmation."""
        subscriptions = client.subscriptions
        count = 0
        if subscriptions is not None:
            if name in subscriptions.names[kind]:
                self._remove(kind, client, name)
            count = subscriptions.count(kind)
            self._settle(client)
        return _confirmation(client, _WORDS[kind][1], bulk(name), count)

    def unsubscribe_all(self, kind: int, client: Client) -> bytes:
        """Unsubscribe ``client`` from everything of a kind; a confirmation each, or one of nothing."""
        names = [] if client.subscriptions is None else list(client.subscriptions.names[kind])
        if names:
            return b"".join([self.unsubscribe(kind, client, name) for name in names])
        count = 0 if client.subscriptions is None else client.subscriptions.count(kind)
        return _confirmation(client, _WORDS[kind][1], b"_\r\n" if client.resp3 else b"$-1\r\n", count)

    def forget(self, client: Client) -> None:
        """``client`` listens to nothing any more, and is told nothing of that."""
        if client.subscriptions is not None:
            for kind, names in enumerate(client.subscriptions.names):
                for name in list(names):
                    self._remove(kind, client, name)
            self._settle(client)

    def _remove(self, kind: int, client: Client, name: bytes) -> None:
        assert client.subscriptions is not None
        had_audience = self.has_audience
        del client.subscriptions.names[kind][name]
        clients = self.registry[kind][name]
        del clients[client]
        if not clients:
            del self.registry[kind][name]
            if kind == PATTERN:
                del self._matchers[name]
        if self.has_audience is not had_audience:
            self._on_audience()

    def _settle(self, client: Client) -> None:
        if not client.subscriptions:
            client.subscriptions = None
            client.state &= ~SUBSCRIBED

    # ---- messages --------------------------------------------------------------------------

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send a message to a channel; how many got it."""
        clients = self.registry[CHANNEL].get(channel)
        count = 0
        if clients:
            self._send(clients, _MESSAGE + bulk(channel) + bulk(message), 3)
            count = len(clients)
        if self._matchers:
            for pattern, matches in self._matchers.items():
                if matches(channel):
                    clients = self.registry[PATTERN][pattern]
                    self._send(clients, _PMESSAGE + bulk(pattern) + bulk(channel) + bulk(message), 4)
                    count += len(clients)
        return count

    def publish_to_shard(self, channel: bytes, message: bytes) -> int:
        """The same to a shard channel."""
        clients = self.registry[SHARD].get(channel, {})
        if clients:
            self._send(clients, _SMESSAGE + bulk(channel) + bulk(message), 3)
        return len(clients)

    def _send(self, clients: Iterable[Client], body: bytes, members: int) -> None:
        add = self._outbox.add
        as_array, as_push = push_head(members, False) + body, push_head(members, True) + body
        for client in clients:
            add(client, as_push if client.resp3 else as_array, MESSAGE)

    def _check(self, clients: Iterable[Client]) -> None:
        expected: list[dict[bytes, set[Client]]] = [{}, {}, {}]
        for client in clients:
            assert bool(client.subscriptions) == bool(client.state & SUBSCRIBED)
            if client.subscriptions is not None:
                for kind, names in enumerate(client.subscriptions.names):
                    for name in names:
                        expected[kind].setdefault(name, set()).add(client)
        for kind, registered in enumerate(self.registry):
            assert {name: set(found) for name, found in registered.items()} == expected[kind]
        assert set(self._matchers) == set(self.registry[PATTERN])


def _confirmation(client: Client, word: bytes, name: bytes, count: int) -> bytes:
    """``name`` is a reply."""
    return push_head(3, client.resp3) + bulk(word) + name + integer(count)
