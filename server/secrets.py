"""Command lines without their secrets, for everybody who shows what others sent (MONITOR, SLOWLOG).

It must not know: who asks.
"""

from __future__ import annotations

import os

from perdure.server.options import BY_NAME
from perdure.store.command import Command

_REDACTED = b"(redacted)"


def redacted(entry: Command, argv: list[bytes]) -> list[bytes]:
    """The command line without its secrets; the line itself if it can have none."""
    hide = _HIDERS.get(entry.name)
    return argv if hide is None else hide(list(argv))


def _auth(shown: list[bytes]) -> list[bytes]:
    return [shown[0], *[_REDACTED] * (len(shown) - 1)]


def _hello(shown: list[bytes]) -> list[bytes]:
    at = 2
    while at < len(shown):
        word = shown[at].upper()
        if word == b"AUTH" and at + 2 < len(shown):
            shown[at + 1] = shown[at + 2] = _REDACTED
        at += 3 if word == b"AUTH" else 2
    return shown


def _acl_setuser(shown: list[bytes]) -> list[bytes]:
    return [*shown[:2], *[_REDACTED] * (len(shown) - 2)]


def _config_set(shown: list[bytes]) -> list[bytes]:
    for at in range(2, len(shown) - 1, 2):
        option = BY_NAME.get(os.fsdecode(shown[at]).lower())
        if option is not None and option.sensitive:
            shown[at + 1] = _REDACTED
    return shown


def _migrate(shown: list[bytes]) -> list[bytes]:
    at = 6
    while at < len(shown):
        count = {b"AUTH": 1, b"AUTH2": 2}.get(shown[at].upper(), 0)
        for place in range(at + 1, min(at + 1 + count, len(shown))):
            shown[place] = _REDACTED
        at += 1 + count
    return shown


_HIDERS = {
    b"AUTH": _auth,
    b"HELLO": _hello,
    b"ACL|SETUSER": _acl_setuser,
    b"CONFIG|SET": _config_set,
    b"MIGRATE": _migrate,
}
