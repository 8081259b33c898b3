"""Keyspace events: from what commands tell (``store.events``) to messages of pub/sub.

``notify-keyspace-events`` names classes of events and how they are published:

=====  ==================================  =======================
``K``  channel ``__keyspace@DB__:KEY``     message: the event
``E``  channel ``__keyevent@DB__:EVENT``   message: the key
=====  ==================================  =======================

Commands tell only while the option asks for it and somebody listens to any channel:
``Tx.notifying`` is 0 otherwise, and the hot path is what it is without events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.server.client import NOTIFYING
from perdure.store.events import LETTERS

if TYPE_CHECKING:
    from perdure.server.engine import Engine

_ALL = "g$lshzxetd"


class Notifications:
    """What the option says."""

    __slots__ = ("_classes", "_engine", "_of_events", "_of_keys")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._classes = 0
        self._of_keys = self._of_events = False

    def configure(self, letters: str) -> None:
        """``notify-keyspace-events`` has this value; ``A`` stands for ``g$lshzxetd``."""
        self._of_keys, self._of_events = "K" in letters, "E" in letters
        self._classes = 0
        for letter in letters.replace("A", _ALL):
            self._classes |= LETTERS.get(letter, 0)
        self.settle()

    def settle(self) -> None:
        """The option has changed, or whether anybody listens: do commands tell?"""
        engine = self._engine
        wanted = (self._of_keys or self._of_events) and engine.pubsub.has_audience
        engine.tx.notifying = self._classes if wanted else 0
        engine.state = engine.state | NOTIFYING if engine.tx.notifying else engine.state & ~NOTIFYING

    def publish(self) -> None:
        """Publish what the command that ran has told."""
        engine = self._engine
        events = engine.tx.events
        publish = engine.pubsub.publish
        for db_index, event, key in events:
            if self._of_keys:
                publish(b"__keyspace@%d__:%b" % (db_index, key), event)
            if self._of_events:
                publish(b"__keyevent@%d__:%b" % (db_index, event), key)
        events.clear()
        if engine.outbox.entries:
            engine.outbox.about_keys = True
