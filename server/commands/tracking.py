"""CLIENT TRACKING and what belongs to it.  What it does: ``server.tracking``."""

from __future__ import annotations

from perdure.server.client import Client
from perdure.server.commands import clients  # noqa: F401 - registers the container
from perdure.server.tracking import Tracking
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import LOADING, NOSCRIPT, STALE, command
from perdure.store.errors import CommandError
from perdure.store.numbers import parse_integer
from perdure.store.resp import OK, bulk, bulk_array, integer, map_head, set_head

_FLAGS = NOSCRIPT | LOADING | STALE
_ACL = ("slow", "connection")


def _read_options(tx: ServerTx, words: list[bytes]) -> tuple[Tracking, list[bytes]]:
    """What CLIENT TRACKING asks for, and its prefixes as they were given."""
    asked, prefixes = Tracking(), []
    at = 0
    while at < len(words):
        word, has_value = words[at].upper(), at + 1 < len(words)
        if word == b"REDIRECT" and has_value:
            at += 1
            if asked.redirect:
                raise CommandError(errors.ONE_REDIRECTION)
            asked.redirect = parse_integer(words[at])
            if asked.redirect not in tx.server.clients:
                raise CommandError(errors.NO_CLIENT_TO_REDIRECT_TO)
        elif word == b"PREFIX" and has_value:
            at += 1
            prefixes.append(words[at])
        elif word == b"BCAST":
            asked.bcast = True
        elif word == b"OPTIN":
            asked.optin = True
        elif word == b"OPTOUT":
            asked.optout = True
        elif word == b"NOLOOP":
            asked.noloop = True
        else:
            raise CommandError(errors.SYNTAX)
        at += 1
    asked.prefixes = dict.fromkeys(prefixes)
    return asked, prefixes


def _check_compatible(client: Client, asked: Tracking, prefixes: list[bytes]) -> None:
    """CommandError if the options do not go together, or not with what the client has said before; in stock's order."""
    before = client.tracking
    if prefixes and not asked.bcast:
        raise CommandError(errors.PREFIX_WITHOUT_BCAST)
    if before is not None and before.bcast is not asked.bcast:
        raise CommandError(errors.BCAST_SWITCHED)
    if asked.bcast and (asked.optin or asked.optout):
        raise CommandError(errors.OPT_WITH_BCAST)
    if asked.optin and asked.optout:
        raise CommandError(errors.OPTIN_AND_OPTOUT)
    if before is not None and ((asked.optin and before.optout) or (asked.optout and before.optin)):
        raise CommandError(errors.OPT_SWITCHED)
    has = sorted(before.prefixes) if before is not None else []
    for at, prefix in enumerate(prefixes):
        for other in has:
            if _overlap(prefix, other):
                raise CommandError(errors.prefixes_overlap(prefix, other, is_new=False))
        for other in prefixes[at + 1 :]:
            if _overlap(prefix, other):
                raise CommandError(errors.prefixes_overlap(prefix, other, is_new=True))


def _overlap(a: bytes, b: bytes) -> bool:
    return a.startswith(b) or b.startswith(a)


@command(
    "CLIENT|TRACKING", arity=-3, flags=_FLAGS, since="6.0.0", group="connection", acl=_ACL,
    syntax="<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
    complexity="O(1), and O(N) for N prefixes", summary="Has this connection be told when keys that it read change.",
)  # fmt: skip
def client_tracking(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT TRACKING <ON | OFF> [REDIRECT client-id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]"""
    client, tracker, word = tx.session, tx.server.engine.tracker, argv[2].upper()
    asked, prefixes = _read_options(tx, argv[3:])
    if word == b"ON":
        _check_compatible(client, asked, prefixes)
        tracker.enable(client, asked)
    elif word == b"OFF":
        tracker.disable(client)
    else:
        raise CommandError(errors.SYNTAX)
    return OK


@command(
    "CLIENT|CACHING", arity=3, flags=_FLAGS, since="6.0.0", group="connection", acl=_ACL, syntax="<YES | NO>",
    complexity="O(1)", summary="Says whether the keys of this connection's next command are tracked.",
)  # fmt: skip
def client_caching(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT CACHING <YES | NO>"""
    tracking, word = tx.session.tracking, argv[2].upper()
    if tracking is None:
        raise CommandError(errors.CACHING_WITHOUT_TRACKING)
    if word not in (b"YES", b"NO"):
        raise CommandError(errors.SYNTAX)
    if word == b"YES" and not tracking.optin:
        raise CommandError(errors.CACHING_YES_WITHOUT_OPTIN)
    if word == b"NO" and not tracking.optout:
        raise CommandError(errors.CACHING_NO_WITHOUT_OPTOUT)
    tracking.caching = True
    return OK


@command(
    "CLIENT|GETREDIR", arity=2, flags=_FLAGS, since="6.0.0", group="connection", acl=_ACL, complexity="O(1)",
    summary="Returns the number of the connection that is told of changed keys in place of this one.",
)  # fmt: skip
def client_getredir(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT GETREDIR"""
    tracking = tx.session.tracking
    return integer(-1 if tracking is None else tracking.redirect)


@command(
    "CLIENT|TRACKINGINFO", arity=2, flags=_FLAGS, since="6.2.0", group="connection", acl=_ACL, complexity="O(1)",
    summary="Returns what this connection has said with CLIENT TRACKING.",
)  # fmt: skip
def client_trackinginfo(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT TRACKINGINFO"""
    tracking = tx.session.tracking
    told = tracking or Tracking()
    flags = [
        name
        for name, is_set in (
            (b"on" if tracking is not None else b"off", True),
            (b"bcast", told.bcast),
            (b"optin", told.optin),
            (b"caching-yes", told.optin and told.caching),
            (b"optout", told.optout),
            (b"caching-no", told.optout and told.caching),
            (b"noloop", told.noloop),
            (b"broken_redirect", told.broken),
        )
        if is_set
    ]
    return b"".join((
        map_head(3, tx.resp3),
        bulk(b"flags"), set_head(len(flags), tx.resp3), *map(bulk, flags),
        bulk(b"redirect"), client_getredir(tx, argv),
        bulk(b"prefixes"), bulk_array(sorted(told.prefixes)),
    ))  # fmt: skip
