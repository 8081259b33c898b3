"""ACL: users, what they may do, and what was denied.  The rules: ``server.acl_rules``; the users: ``server.acl``."""

from __future__ import annotations

import os

from perdure.server.acl_categories import CATEGORIES, categories, own_commands
from perdure.server.acl_log import REASONS, Entry
from perdure.server.acl_rules import describe_channels, describe_commands, describe_keys, flags_of, user_line
from perdure.server.acl_user import CHANNEL, KEY, Selector
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import ADMIN, LOADING, NOSCRIPT, STALE, command, find
from perdure.store.errors import CommandError
from perdure.store.numbers import parse_integer
from perdure.store.resp import OK, array, bulk, bulk_array, double, integer, map_head, set_head, simple

_FLAGS = NOSCRIPT | LOADING | STALE
_ADMIN_FLAGS = ADMIN | _FLAGS
_ACL = ("slow",)
_ADMIN_ACL = ("admin", "slow", "dangerous")
_SHOWN_ENTRIES = 10
_GENPASS_BITS, _MOST_GENPASS_BITS = 256, 4096


@command(
    "ACL", arity=-2, flags=0, since="6.0.0", group="server", acl=_ACL, complexity="See its subcommands",
    summary="Has subcommands about users and their rights.",
)  # fmt: skip
def acl_(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL HELP, for who asks the container itself"""
    return acl_help(tx, argv)


def _at_most(argv: list[bytes], arguments: int) -> None:
    """CommandError if a subcommand with an optional argument has more of them."""
    if len(argv) > 2 + arguments:
        raise CommandError(errors.wrong_subcommand(argv[1], b"ACL"))


# ---- users -----------------------------------------------------------------------------


@command(
    "ACL|SETUSER", arity=-3, flags=_ADMIN_FLAGS, since="6.0.0", group="server", acl=_ADMIN_ACL,
    syntax="username [rule [rule ...]]", complexity="O(N) for N rules",
    history=(("6.2.0", "Takes channel patterns."), ("7.0.0", "Takes selectors, and rights to read or write keys.")),
    summary="Makes a user, or changes what a user may do.",
)  # fmt: skip
def acl_setuser(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL SETUSER username [rule [rule ...]]"""
    tx.server.acl.set_user(argv[2], argv[3:])
    return OK


@command(
    "ACL|DELUSER", arity=-3, flags=_ADMIN_FLAGS, since="6.0.0", group="server", acl=_ADMIN_ACL,
    syntax="username [username ...]", complexity="O(N) for N users and clients",
    summary="Deletes users and closes their connections.",
)  # fmt: skip
def acl_deluser(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL DELUSER username [username ...]"""
    return integer(tx.server.acl.delete_users(argv[2:]))


def _selector_fields(selector: Selector) -> list[tuple[bytes, bytes]]:
    return [
        (b"commands", bulk(describe_commands(selector))),
        (b"keys", bulk(describe_keys(selector))),
        (b"channels", bulk(describe_channels(selector))),
    ]


def _map(fields: list[tuple[bytes, bytes]], resp3: bool) -> bytes:
    return map_head(len(fields), resp3) + b"".join([bulk(name) + reply for name, reply in fields])


@command(
    "ACL|GETUSER", arity=3, flags=_ADMIN_FLAGS, since="6.0.0", group="server", acl=_ADMIN_ACL, syntax="username",
    history=(("6.2.0", "Shows channel patterns."), ("7.0.0", "Shows selectors, and patterns as rules.")),
    complexity="O(N) for N rules", summary="Returns what is known of a user.",
)  # fmt: skip
def acl_getuser(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL GETUSER username"""
    user = tx.server.acl.users.get(argv[2])
    if user is None:
        return tx.null
    flags = flags_of(user)
    fields = [
        (b"flags", set_head(len(flags), tx.resp3) + b"".join(map(bulk, flags))),
        (b"passwords", bulk_array(user.passwords)),
        *_selector_fields(user.root),
        (b"selectors", array([_map(_selector_fields(more), tx.resp3) for more in user.selectors[1:]])),
    ]
    return _map(fields, tx.resp3)


@command(
    "ACL|LIST", arity=2, flags=_ADMIN_FLAGS, since="6.0.0", group="server", acl=_ADMIN_ACL,
    complexity="O(N) for N users", summary="Returns all users as an ACL file has them.",
)  # fmt: skip
def acl_list(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL LIST"""
    return bulk_array([user_line(user) for user in tx.server.acl.sorted_users()])


@command(
    "ACL|USERS", arity=2, flags=_ADMIN_FLAGS, since="6.0.0", group="server", acl=_ADMIN_ACL,
    complexity="O(N) for N users", summary="Returns the names of all users.",
)  # fmt: skip
def acl_users(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL USERS"""
    return bulk_array([user.name for user in tx.server.acl.sorted_users()])


@command(
    "ACL|WHOAMI", arity=2, flags=_FLAGS, since="6.0.0", group="server", acl=_ACL, complexity="O(1)",
    summary="Returns the name of the user that this connection speaks as.",
)  # fmt: skip
def acl_whoami(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL WHOAMI"""
    user = tx.session.user
    return tx.null if user is None else bulk(user.name)


@command(
    "ACL|DRYRUN", arity=-4, flags=_ADMIN_FLAGS, since="7.0.0", group="server", acl=_ADMIN_ACL,
    syntax="username command [arg [arg ...]]", complexity="O(1)",
    summary="Says whether a user may run a command, without running it.",
)  # fmt: skip
def acl_dryrun(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL DRYRUN username command [arg [arg ...]]"""
    user, line = tx.server.acl.users.get(argv[2]), argv[3:]
    if user is None:
        raise CommandError(errors.user_not_found(argv[2]))
    entry = find(line)
    if entry is None or (entry.subcommands and len(line) > 1):
        raise CommandError(errors.command_not_found(argv[3]))
    if not entry.arity_fits(len(line)):
        raise CommandError(errors.wrong_arity(entry.lower_name))
    denial = user.denial(entry, line)
    if denial is None:
        return OK
    if denial.kind in (KEY, CHANNEL):
        kind = b"key" if denial.kind == KEY else b"channel"
        shown = denial.thing.partition(b"\0")[0]
        return bulk(b"This user has no permissions to access the '%b' %b" % (shown, kind))
    return bulk(b"This user has no permissions to run the '%b' command" % denial.thing)


# ---- categories, passwords -------------------------------------------------------------


@command(
    "ACL|CAT", arity=-2, flags=_FLAGS, since="6.0.0", group="server", acl=_ACL, syntax="[categoryname]",
    complexity="O(N) for N commands", summary="Returns the categories, or the commands of one.",
)  # fmt: skip
def acl_cat(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL CAT [categoryname]"""
    _at_most(argv, 1)
    if len(argv) == 2:
        return bulk_array([name.encode() for name in CATEGORIES])
    category = argv[2].lower().decode("latin-1")
    if category not in CATEGORIES:
        raise CommandError(errors.unknown_category(argv[2]))
    return bulk_array([entry.lower_name for entry in own_commands() if category in categories(entry)])


@command(
    "ACL|GENPASS", arity=-2, flags=_FLAGS, since="6.0.0", group="server", acl=_ACL, syntax="[bits]",
    complexity="O(1)", summary="Returns random hex digits that serve as a password.",
)  # fmt: skip
def acl_genpass(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL GENPASS [bits]: rounded up to whole digits"""
    _at_most(argv, 1)
    bits = parse_integer(argv[2]) if len(argv) > 2 else _GENPASS_BITS
    if not 0 < bits <= _MOST_GENPASS_BITS:
        raise CommandError(errors.ACL_GENPASS_BITS)
    digits = (bits + 3) // 4
    return bulk(b"%0*x" % (digits, tx.rng.getrandbits(4 * digits)))


# ---- the log ---------------------------------------------------------------------------


@command(
    "ACL|LOG", arity=-2, flags=_ADMIN_FLAGS, since="6.0.0", group="server", acl=_ADMIN_ACL, syntax="[count | RESET]",
    complexity="O(N) for N entries shown", summary="Returns what was denied lately, or forgets it.",
)  # fmt: skip
def acl_log(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL LOG [count | RESET]"""
    _at_most(argv, 1)
    log = tx.server.acl.log
    count = _SHOWN_ENTRIES
    if len(argv) > 2:
        if argv[2].upper() == b"RESET":
            log.entries.clear()
            return OK
        count = parse_integer(argv[2])
    return array([_log_entry(tx, entry) for entry in log.latest(count)])


def _log_entry(tx: ServerTx, entry: Entry) -> bytes:
    age_s = max(tx.clock_ms - entry.last_ms, 0) / 1000
    fields = [
        (b"count", integer(entry.count)),
        (b"reason", bulk(REASONS[entry.kind])),
        (b"context", bulk(entry.context)),
        (b"object", bulk(entry.thing)),
        (b"username", bulk(entry.user)),
        (b"age-seconds", double(b"%.17g" % age_s, tx.resp3)),
        (b"client-info", bulk(entry.client)),
    ]
    return _map(fields, tx.resp3)


# ---- the file --------------------------------------------------------------------------


def _require_file(tx: ServerTx) -> None:
    if not tx.server.config["aclfile"]:
        raise CommandError(errors.ACL_NO_FILE)


@command(
    "ACL|LOAD", arity=2, flags=_ADMIN_FLAGS, since="6.0.0", group="server", acl=_ADMIN_ACL,
    complexity="O(N) for N users", summary="Takes all users from the ACL file.",
)  # fmt: skip
def acl_load(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL LOAD: whole or not at all; the clients of all users but the default one are closed"""
    _require_file(tx)
    trouble = tx.server.acl.load_file()
    if trouble:
        raise CommandError(b"ERR " + trouble)
    return OK


@command(
    "ACL|SAVE", arity=2, flags=_ADMIN_FLAGS, since="6.0.0", group="server", acl=_ADMIN_ACL,
    complexity="O(N) for N users", summary="Writes all users to the ACL file.",
)  # fmt: skip
def acl_save(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL SAVE"""
    _require_file(tx)
    try:
        tx.server.acl.save_file()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        tx.server.log.warning(f"ACL SAVE: writing {tx.server.config.path('aclfile')}: {reason}")
        raise CommandError(errors.ACL_NOT_SAVED) from None
    return OK


_HELP = (
    b"ACL <subcommand> [<argument> ...]. The subcommands:",
    b"CAT [<category>]",
    b"    The categories of commands, or the commands of one category.",
    b"DELUSER <username> [<username> ...]",
    b"    Delete users and close their connections.",
    b"DRYRUN <username> <command> [<argument> ...]",
    b"    May this user run this command? It is not run.",
    b"GENPASS [<bits>]",
    b"    A random password in hex digits, of 256 bits if nothing is said.",
    b"GETUSER <username>",
    b"    What is known of a user.",
    b"LIST",
    b"    All users as an ACL file has them.",
    b"LOAD",
    b"    Take all users from the ACL file.",
    b"LOG [<count> | RESET]",
    b"    What was denied lately; RESET forgets it.",
    b"SAVE",
    b"    Write all users to the ACL file.",
    b"SETUSER <username> <rule> [<rule> ...]",
    b"    Make a user, or change one.",
    b"USERS",
    b"    The names of all users.",
    b"WHOAMI",
    b"    The user that this connection speaks as.",
    b"HELP",
    b"    These lines.",
)


@command(
    "ACL|HELP", arity=2, flags=LOADING | STALE, since="6.0.0", group="server", acl=_ACL, complexity="O(1)",
    summary="Tells about the subcommands.",
)  # fmt: skip
def acl_help(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ACL HELP"""
    return array([simple(line) for line in _HELP])
