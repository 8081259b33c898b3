"""Connection commands: PING, ECHO, SELECT, who one is (AUTH, HELLO), and leaving (RESET, QUIT).

A client that came while the default user needed no password stays authenticated when it
gets one, as in stock.  Who users are and what they may do: ``server.acl``.
"""

from __future__ import annotations

from perdure.server import observers
from perdure.server.acl import DEFAULT_USER
from perdure.server.client import CLOSING, NEEDS_AUTH, NO_TOUCH, REPLY_OFF, REPLY_ON, REPLY_SKIP, SUBSCRIBED, Client
from perdure.server.tx import ServerTx
from perdure.server.version import REDIS_VERSION
from perdure.store import errors
from perdure.store.command import ALLOW_BUSY, FAST, LOADING, NO_AUTH, NOSCRIPT, STALE, command
from perdure.store.errors import CommandError
from perdure.store.numbers import parse_integer
from perdure.store.resp import EMPTY_ARRAY, OK, PONG, array_head, bulk, integer, map_head

_INT_MIN, _INT_MAX = -(1 << 31), (1 << 31) - 1
_ACL = ("fast", "connection")
_ALWAYS = NOSCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY
_PONG = bulk(b"pong")
_RESET_DONE = b"+RESET\r\n"


# ---- small ones ----------------------------------------------------------------------


@command(
    "PING", arity=-1, flags=FAST, group="connection", acl=_ACL, syntax="[message]", complexity="O(1)",
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
    summary="Answers PONG, or with the message given, to show that the server is there.",
)  # fmt: skip
def ping(tx: ServerTx, argv: list[bytes]) -> bytes:
    """PING [message]; answered as messages are where nothing else may come"""
    if len(argv) > 2:
        raise CommandError(errors.wrong_arity(b"ping"))
    if tx.client is not None and tx.client.state & SUBSCRIBED and not tx.resp3:
        return array_head(2) + _PONG + bulk(argv[1] if len(argv) == 2 else b"")
    return bulk(argv[1]) if len(argv) == 2 else PONG


@command(
    "ECHO", arity=2, flags=LOADING | STALE | FAST, group="connection", acl=_ACL, syntax="message", complexity="O(1)",
    summary="Answers with the message given.",
)  # fmt: skip
def echo(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ECHO message"""
    return bulk(argv[1])


@command(
    "SELECT", arity=2, flags=LOADING | STALE | FAST, group="connection", acl=_ACL, syntax="index", complexity="O(1)",
    summary="Makes another database the one that this connection works on.",
)  # fmt: skip
def select(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SELECT index"""
    index = parse_integer(argv[1])
    if not _INT_MIN <= index <= _INT_MAX:
        raise CommandError(errors.BEYOND_INT)
    if not 0 <= index < len(tx.keyspace.databases):
        raise CommandError(errors.DB_INDEX_OUT_OF_RANGE)
    tx.session.db_index = index
    tx.select(index)
    return OK


# ---- who one is ----------------------------------------------------------------------


@command(
    "AUTH", arity=-2, flags=_ALWAYS, group="connection", acl=_ACL, syntax="[username] password",
    history=(("6.0.0", "Takes a user's name before the password."),),
    complexity="O(N) where N is the number of passwords that the user has",
    summary="Authenticates the connection with a password.",
)  # fmt: skip
def auth(tx: ServerTx, argv: list[bytes]) -> bytes:
    """AUTH [username] password"""
    if len(argv) > 3:
        raise CommandError(errors.SYNTAX)
    acl = tx.server.acl
    if len(argv) == 2 and acl.default.needs_no_password:
        raise CommandError(errors.NO_PASSWORD_SET)
    acl.log_in(tx.session, argv[1] if len(argv) == 3 else DEFAULT_USER, argv[-1], argv[0])
    return OK


def is_plain_name(text: bytes) -> bool:
    """May ``text`` be a client's name?  Printable ASCII without blanks, so that CLIENT LIST can be read."""
    return all(0x21 <= byte <= 0x7E for byte in text)


def set_name(client: Client, name: bytes) -> None:
    """Name a client, or take its name away with an empty one."""
    if not is_plain_name(name):
        raise CommandError(errors.BAD_CLIENT_NAME)
    client.name = name


@command(
    "HELLO", arity=-1, flags=_ALWAYS, since="6.0.0", group="connection", acl=_ACL, complexity="O(1)",
    syntax="[protover [AUTH username password] [SETNAME clientname]]",
    history=(("6.2.0", "Without a version it only tells about the connection."),),
    summary="Opens a conversation: chooses the protocol, authenticates and names the client, tells about the server.",
)  # fmt: skip
def hello(tx: ServerTx, argv: list[bytes]) -> bytes:
    """HELLO [protover [AUTH username password] [SETNAME clientname]]"""
    client = tx.session
    version = 0
    if len(argv) > 1:
        version = parse_integer(argv[1], errors.NOT_A_PROTOCOL)
        if version not in (2, 3):
            raise CommandError(errors.NO_PROTOCOL)
    credentials = None
    i = 2
    while i < len(argv):
        word, more = argv[i].upper(), len(argv) - 1 - i
        if word == b"AUTH" and more >= 2:
            credentials = (argv[i + 1], argv[i + 2])
            i += 3
        elif word == b"SETNAME" and more:
            set_name(client, argv[i + 1])
            i += 2
        else:
            raise CommandError(errors.hello_option(argv[i]))
    if credentials is not None:
        tx.server.acl.log_in(client, *credentials, argv[0])
    if client.state & NEEDS_AUTH:
        raise CommandError(errors.HELLO_UNAUTHENTICATED)
    if version:
        client.resp3 = version == 3
        tx.speak(client.resp3)
    return _greeting(tx, client)


def _greeting(tx: ServerTx, client: Client) -> bytes:
    """What HELLO tells.  ``server`` is ``redis``: clients choose what they may do by it."""
    fields = (
        (b"server", bulk(b"redis")),
        (b"version", bulk(REDIS_VERSION.encode())),
        (b"proto", integer(3 if client.resp3 else 2)),
        (b"id", integer(client.id)),
        (b"mode", bulk(b"standalone")),
        (b"role", bulk(b"master")),
        (b"modules", EMPTY_ARRAY),
    )
    return map_head(len(fields), tx.resp3) + b"".join([bulk(name) + value for name, value in fields])


# ---- leaving -------------------------------------------------------------------------


@command(
    "RESET", arity=1, flags=_ALWAYS, since="6.2.0", group="connection", acl=_ACL, complexity="O(1)",
    summary="Puts the connection back to how it was when it came.",
)  # fmt: skip
def reset(tx: ServerTx, argv: list[bytes]) -> bytes:
    """RESET: what CLIENT SETINFO and NO-EVICT have said stays, as it is about the library and not the session."""
    client, server = tx.session, tx.server
    server.discard_transaction(client)
    observers.forget(server.engine, client)
    client.db_index = 0
    tx.select(0)
    client.resp3 = False
    tx.speak(False)
    client.name = b""
    server.acl.greet(client)
    client.state &= ~NO_TOUCH
    if client.reply_mode != REPLY_SKIP:  # that one is about this very answer
        client.reply_mode = REPLY_ON
        client.state &= ~REPLY_OFF
    return _RESET_DONE


@command(
    "QUIT", arity=-1, flags=_ALWAYS, group="connection", acl=_ACL, complexity="O(1)",
    summary="Closes the connection once its answers have gone.",
)  # fmt: skip
def quit_(tx: ServerTx, argv: list[bytes]) -> bytes:
    """QUIT: what the client sent behind it is not looked at"""
    tx.session.state |= CLOSING
    return OK
