"""CLIENT: what a connection is called, how it is answered, and the list of all connections.

Fields of the list that tell about memory are what this server can know: the bytes
that wait in a client's parser (``qbuf``), on its transaction queue (``multi-mem``)
and for its socket or the log (``omem``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perdure.server.acl_user import User
from perdure.server.client import (
    CLOSING,
    IN_MULTI,
    MONITORING,
    NO_TOUCH,
    REPLY_NONE,
    REPLY_OFF,
    REPLY_ON,
    REPLY_SKIP_NEXT,
    SUBSCRIBED,
    WAITING,
    Client,
)
from perdure.server.commands.connection import is_plain_name, set_name
from perdure.server.pubsub import CHANNEL, PATTERN, SHARD, count_of
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import ADMIN, LOADING, NOSCRIPT, STALE, command
from perdure.store.errors import CommandError
from perdure.store.numbers import parse_integer, read_integer
from perdure.store.resp import OK, ONE, ZERO, array, bulk, integer, simple, verbatim

_FLAGS = NOSCRIPT | LOADING | STALE
_ACL = ("slow", "connection")
_ADMIN_ACL = ("admin", "slow", "dangerous", "connection")
_TYPES = frozenset({b"NORMAL", b"MASTER", b"SLAVE", b"REPLICA", b"PUBSUB"})
_LISTED_TIPS = ("nondeterministic_output",)


@command(
    "CLIENT", arity=-2, flags=0, since="2.4.0", group="connection", acl=("slow",),
    summary="Has subcommands about connections.", complexity="See its subcommands",
)  # fmt: skip
def client_(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT HELP, for who asks the container itself"""
    return client_help(tx, argv)


# ---- one's own connection ------------------------------------------------------------


@command(
    "CLIENT|ID", arity=2, flags=_FLAGS, since="5.0.0", group="connection", acl=_ACL, complexity="O(1)",
    summary="Returns this connection's number.",
)  # fmt: skip
def client_id(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT ID"""
    return integer(tx.session.id)


@command(
    "CLIENT|SETNAME", arity=3, flags=_FLAGS, since="2.6.9", group="connection", acl=_ACL, complexity="O(1)",
    syntax="connection-name", summary="Gives this connection a name.",
)  # fmt: skip
def client_setname(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT SETNAME connection-name"""
    set_name(tx.session, argv[2])
    return OK


@command(
    "CLIENT|GETNAME", arity=2, flags=_FLAGS, since="2.6.9", group="connection", acl=_ACL, complexity="O(1)",
    summary="Returns this connection's name.",
)  # fmt: skip
def client_getname(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT GETNAME"""
    return bulk(tx.session.name) if tx.session.name else tx.null


@command(
    "CLIENT|SETINFO", arity=4, flags=_FLAGS, since="7.2.0", group="connection", acl=_ACL, complexity="O(1)",
    syntax="<LIB-NAME libname | LIB-VER libver>", summary="Tells which client library speaks on this connection.",
)  # fmt: skip
def client_setinfo(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT SETINFO <LIB-NAME libname | LIB-VER libver>"""
    option, value = argv[2], argv[3]
    word = option.upper()
    if word not in (b"LIB-NAME", b"LIB-VER"):
        raise CommandError(errors.unrecognized_option(option))
    if not is_plain_name(value):
        raise CommandError(errors.bad_client_attribute(option))
    if word == b"LIB-NAME":
        tx.session.lib_name = value
    else:
        tx.session.lib_version = value
    return OK


@command(
    "CLIENT|REPLY", arity=3, flags=_FLAGS, since="3.2.0", group="connection", acl=_ACL, complexity="O(1)",
    syntax="<ON | OFF | SKIP>", summary="Switches the answers to this connection's commands off and on.",
)  # fmt: skip
def client_reply(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT REPLY <ON | OFF | SKIP>; what is not sent is dropped by ``server.connection``"""
    client, mode = tx.session, argv[2].upper()
    if mode == b"ON":
        client.reply_mode = REPLY_ON
        client.state &= ~REPLY_OFF
        return OK
    if mode == b"OFF":
        client.reply_mode = REPLY_NONE
    elif mode != b"SKIP":
        raise CommandError(errors.SYNTAX)
    elif client.reply_mode != REPLY_NONE:
        client.reply_mode = REPLY_SKIP_NEXT
    client.state |= REPLY_OFF
    return b""


def _switch(word: bytes) -> bool:
    word = word.upper()
    if word not in (b"ON", b"OFF"):
        raise CommandError(errors.SYNTAX)
    return word == b"ON"


@command(
    "CLIENT|NO-EVICT", arity=3, flags=_FLAGS | ADMIN, since="7.0.0", group="connection", acl=_ADMIN_ACL,
    syntax="<ON | OFF>", complexity="O(1)", summary="Spares this connection when clients are closed to free memory.",
)  # fmt: skip
def client_no_evict(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT NO-EVICT <ON | OFF>"""
    tx.session.no_evict = _switch(argv[2])
    return OK


@command(
    "CLIENT|NO-TOUCH", arity=3, flags=_FLAGS, since="7.2.0", group="connection", acl=_ACL, syntax="<ON | OFF>",
    complexity="O(1)", summary="Keeps this connection's reads from counting as uses of the keys.",
)  # fmt: skip
def client_no_touch(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT NO-TOUCH <ON | OFF>; see ``Engine.run``"""
    client = tx.session
    client.state = client.state | NO_TOUCH if _switch(argv[2]) else client.state & ~NO_TOUCH
    return OK


# ---- all connections -----------------------------------------------------------------


def _letters(client: Client) -> str:
    """The ``flags`` of the list."""
    state, tracking = client.state, client.tracking
    letters = "O" if state & MONITORING else ""
    letters += "P" if state & SUBSCRIBED else ""
    letters += "x" if state & IN_MULTI else ""
    letters += "b" if state & WAITING else ""
    if tracking is not None:
        letters += "t" + ("R" if tracking.broken else "") + ("B" if tracking.bcast else "")
    letters += "d" if client.watched_dirty else ""
    letters += "c" if state & CLOSING else ""
    letters += "U" if client.unix else ""
    letters += "e" if client.no_evict else ""
    letters += "T" if state & NO_TOUCH else ""
    return letters or "N"


def describe_client(tx: ServerTx, client: Client) -> bytes:
    """A client's line in the list, without a line end."""
    connection = client.connection
    waiting = connection.transport.get_write_buffer_size() if connection is not None else 0
    received = connection.parser.held_bytes if connection is not None and connection.parser is not None else 0
    unsent = client.held_bytes + waiting
    command_name = client.last_command.lower_name if client.last_command is not None else b"NULL"
    user = client.user.name if client.user is not None else b"(superuser)"
    now_ms = tx.clock_ms
    head = (
        f"fd={client.fd} name={client.name.decode()} age={max(0, now_ms // 1000 - int(client.created_s))} "
        f"idle={max(0, now_ms - client.interaction_ms) // 1000} flags={_letters(client)} db={client.db_index} "
        f"sub={count_of(client, CHANNEL)} psub={count_of(client, PATTERN)} ssub={count_of(client, SHARD)} "
        f"multi={len(client.queue) if client.state & IN_MULTI else -1} "
        f"qbuf={received} qbuf-free=0 argv-mem=0 multi-mem={client.queue_bytes} rbs=0 rbp=0 obl=0 "
        f"oll={len(client.held)} omem={unsent} tot-mem={received + client.queue_bytes + unsent} "
        f"events={'rw' if waiting else 'r'}"
    )
    return b"id=%d addr=%b laddr=%b %b cmd=%b user=%b redir=%d resp=%d lib-name=%b lib-ver=%b" % (
        client.id, client.address, client.local_address, head.encode(), command_name, user,
        -1 if client.tracking is None else client.tracking.redirect, 3 if client.resp3 else 2,
        client.lib_name, client.lib_version,
    )  # fmt: skip


def _table_of(tx: ServerTx, clients: Iterable[Client]) -> bytes:
    return verbatim(b"".join([describe_client(tx, client) + b"\n" for client in clients]), tx.resp3)


def _client_type(word: bytes) -> bytes:
    kind = word.upper()
    if kind not in _TYPES:
        raise CommandError(errors.unknown_client_type(word))
    return b"REPLICA" if kind == b"SLAVE" else kind


def _type_of(client: Client) -> bytes:
    return b"PUBSUB" if client.state & SUBSCRIBED else b"NORMAL"


@command(
    "CLIENT|INFO", arity=2, flags=_FLAGS, since="6.2.0", group="connection", acl=_ACL, tips=_LISTED_TIPS,
    complexity="O(1)", summary="Returns what is known of this connection.",
)  # fmt: skip
def client_info(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT INFO"""
    return _table_of(tx, [tx.session])


@command(
    "CLIENT|LIST", arity=-2, flags=_FLAGS | ADMIN, since="2.4.0", group="connection", acl=_ADMIN_ACL, tips=_LISTED_TIPS,
    syntax="[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
    history=(
        ("5.0.0", "Can be narrowed with `TYPE`."),
        ("6.2.0", "Can be narrowed with `ID`."),
        ("7.2.0", "Shows `lib-name` and `lib-ver`."),
    ),
    complexity="O(N) where N is the number of connections", summary="Returns what is known of every connection.",
)  # fmt: skip
def client_list(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT LIST [TYPE type | ID client-id [client-id ...]]"""
    clients = tx.server.clients
    option = argv[2].upper() if len(argv) > 2 else b""
    if len(argv) == 2:
        return _table_of(tx, clients.values())
    if len(argv) == 4 and option == b"TYPE":
        kind = _client_type(argv[3])
        return _table_of(tx, [client for client in clients.values() if _type_of(client) == kind])
    if len(argv) > 3 and option == b"ID":
        numbers = [parse_integer(word, errors.BAD_CLIENT_ID) for word in argv[3:]]
        return _table_of(tx, [clients[number] for number in numbers if number in clients])
    raise CommandError(errors.SYNTAX)


@dataclass(slots=True)
class _Filter:
    """Which clients CLIENT KILL means; what is None matches everyone."""

    number: int | None = None
    address: bytes | None = None
    local_address: bytes | None = None
    kind: bytes | None = None
    user: User | None = None
    skip_me: bool = True

    def matches(self, client: Client, me: Client) -> bool:
        """Is ``client`` meant, where ``me`` asks?"""
        return (
            self.number in (None, client.id)
            and self.address in (None, client.address)
            and self.local_address in (None, client.local_address)
            and self.kind in (None, _type_of(client))
            and (self.user is None or self.user is client.user)
            and not (self.skip_me and client is me)
        )


def _read_filter(words: list[bytes], users: dict[bytes, User]) -> _Filter:
    found = _Filter()
    for i in range(0, len(words), 2):
        if i + 1 == len(words):
            raise CommandError(errors.SYNTAX)
        option, value = words[i].upper(), words[i + 1]
        if option == b"ID":
            found.number = read_integer(value)
            if found.number is None or found.number < 1:
                raise CommandError(errors.CLIENT_ID_NOT_POSITIVE)
        elif option == b"TYPE":
            found.kind = _client_type(value)
        elif option == b"ADDR":
            found.address = value
        elif option == b"LADDR":
            found.local_address = value
        elif option == b"USER":
            found.user = users.get(value)
            if found.user is None:
                raise CommandError(errors.no_such_user(value))
        elif option == b"SKIPME" and value.upper() in (b"YES", b"NO"):
            found.skip_me = value.upper() == b"YES"
        else:
            raise CommandError(errors.SYNTAX)
    return found


@command(
    "CLIENT|KILL", arity=-3, flags=_FLAGS | ADMIN, since="2.4.0", group="connection", acl=_ADMIN_ACL,
    syntax="<ip:port | [ID client-id] [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] [USER username] "
    "[ADDR ip:port] [LADDR ip:port] [SKIPME yes/no]>",
    history=(
        ("2.8.12", "Takes filters."),
        ("5.0.0", "Says `replica` for `slave`, which it still knows."),
        ("6.2.0", "Takes `LADDR`."),
    ),
    complexity="O(N) where N is the number of connections", summary="Closes connections.",
)  # fmt: skip
def client_kill(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT KILL <ip:port | filters>; who kills itself is answered first"""
    me, old_form = tx.session, len(argv) == 3
    wanted = _Filter(address=argv[2], skip_me=False) if old_form else _read_filter(argv[2:], tx.server.acl.users)
    killed = [client for client in tx.server.clients.values() if wanted.matches(client, me)]
    for client in killed:
        if client is me:
            me.state |= CLOSING
        else:
            tx.server.kill_client(client)
    if not old_form:
        return integer(len(killed))
    if not killed:
        raise CommandError(errors.NO_SUCH_CLIENT)
    return OK


@command(
    "CLIENT|UNBLOCK", arity=-3, flags=_FLAGS | ADMIN, since="5.0.0", group="connection", acl=_ADMIN_ACL,
    syntax="client-id [TIMEOUT | ERROR]", complexity="O(log N) where N is the number of blocked connections",
    summary="Ends the waiting of a blocked connection.",
)  # fmt: skip
def client_unblock(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT UNBLOCK client-id [TIMEOUT | ERROR]"""
    reason = argv[3].upper() if len(argv) == 4 else b"TIMEOUT"
    if len(argv) > 4:
        raise CommandError(errors.wrong_subcommand(argv[1], b"CLIENT"))
    if reason not in (b"TIMEOUT", b"ERROR"):
        raise CommandError(errors.UNBLOCK_REASON)
    client = tx.server.clients.get(parse_integer(argv[2]))
    waited = client is not None and tx.server.engine.waits.unblock(client, reason == b"ERROR")
    return ONE if waited else ZERO


_HELP = (
    b"CLIENT <subcommand> [<argument> ...]. The subcommands:",
    b"CACHING <YES | NO>",
    b"    Are the keys of the next command tracked? For TRACKING with OPTIN or OPTOUT.",
    b"GETNAME",
    b"    The name of this connection.",
    b"GETREDIR",
    b"    The number of the connection that is told in place of this one, 0 for none, -1 without TRACKING.",
    b"ID",
    b"    The number of this connection.",
    b"INFO",
    b"    This connection's line of the list.",
    b"KILL <ip:port>",
    b"    Close the connection from this address.",
    b"KILL <option> <value> [<option> <value> ...]",
    b"    Close the connections that fit all of these, and say how many they were:",
    b"    ADDR, LADDR <ip:port | unixsocket:0>: from, or to, this address.",
    b"    ID <client-id>: of this number.",
    b"    TYPE <NORMAL | MASTER | REPLICA | PUBSUB>: of this type.",
    b"    USER <username>: authenticated as this user.",
    b"    SKIPME <YES | NO>: is this connection spared? It is if nothing is said.",
    b"LIST [TYPE <type> | ID <client-id> [<client-id> ...]]",
    b"    A line about each connection.",
    b"NO-EVICT <ON | OFF>",
    b"    Is this connection spared when clients are closed to free memory?",
    b"NO-TOUCH <ON | OFF>",
    b"    Are this connection's reads no uses of the keys?",
    b"PAUSE <timeout> [WRITE | ALL]",
    b"    Keep commands back for so many milliseconds, all or only writes.",
    b"REPLY <ON | OFF | SKIP>",
    b"    Are this connection's commands answered? SKIP is about the next one.",
    b"SETINFO <LIB-NAME | LIB-VER> <value>",
    b"    Which library speaks here, in which version?",
    b"SETNAME <name>",
    b"    Give this connection a name.",
    b"TRACKING <ON | OFF> [REDIRECT <client-id>] [PREFIX <prefix> ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
    b"    Is this connection told when keys change that it has read?",
    b"TRACKINGINFO",
    b"    What was said with TRACKING.",
    b"UNBLOCK <client-id> [TIMEOUT | ERROR]",
    b"    End the waiting of a connection, as if its time were over or with an error.",
    b"UNPAUSE",
    b"    End a pause before its time.",
    b"HELP",
    b"    These lines.",
)


@command(
    "CLIENT|HELP", arity=2, flags=LOADING | STALE, since="5.0.0", group="connection", acl=_ACL,
    complexity="O(1)", summary="Tells about the subcommands.",
)  # fmt: skip
def client_help(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLIENT HELP"""
    return array([simple(line) for line in _HELP])
