"""COMMAND: the command table as clients ask for it.

Everything is made of ``store.command.TABLE`` at the time of the question, so a
command is described by its ``@command`` and nowhere else; COMMAND DOCS' arguments
are the tree of its syntax line (``store.syntax``).
"""

from __future__ import annotations

from collections.abc import Iterable

from perdure.server.acl_categories import categories
from perdure.server.key_flags import keys_with_flags
from perdure.server.tx import ServerTx
from perdure.store import command as table
from perdure.store import errors
from perdure.store.command import FLAG_NAMES, LOADING, STALE, TABLE, Command, KeySpec, command, every_command, find
from perdure.store.errors import CommandError
from perdure.store.patterns import matches_ignoring_case
from perdure.store.resp import EMPTY_ARRAY, array, array_head, bulk, bulk_array, integer, map_head, set_head, simple
from perdure.store.syntax import Argument, arguments_of

_ACL = ("slow", "connection")
_FLAGS = LOADING | STALE
_UNORDERED = ("nondeterministic_output_order",)
_HELP = (
    b"COMMAND [<subcommand> [<argument> ...]]. The subcommands:",
    b"(none)",
    b"    What INFO answers, for every command.",
    b"COUNT",
    b"    How many commands there are, subcommands not counted.",
    b"DOCS [<name> ...]",
    b"    Summary, syntax and history of the commands named, or of all.",
    b"GETKEYS <name> <argument> ...",
    b"    Which arguments of a command line are keys.",
    b"GETKEYSANDFLAGS <name> <argument> ...",
    b"    Which arguments are keys, and what the command would do to each.",
    b"INFO [<name> ...]",
    b"    Arity, flags, key positions and ACL categories of the commands named, or of all.",
    b"LIST [FILTERBY MODULE <module>|ACLCAT <category>|PATTERN <pattern>]",
    b"    The names of all commands, or of those that the filter lets through.",
    b"HELP",
    b"    These lines.",
)


def named(name: bytes) -> Command | None:
    """The entry of a full name in any case, ``config|get`` for subcommands."""
    container, bar, sub = name.upper().partition(b"|")
    entry = TABLE.get(container)
    return entry.subcommands.get(sub) if entry is not None and bar else entry


# ---- COMMAND INFO ----------------------------------------------------------------------


def _simples(words: Iterable[bytes], resp3: bool) -> bytes:
    members = [simple(word) for word in words]
    return set_head(len(members), resp3) + b"".join(members)


def _map(pairs: list[tuple[bytes, bytes]], resp3: bool) -> bytes:
    """A map of names to replies that are ready."""
    return map_head(len(pairs), resp3) + b"".join([bulk(name) + reply for name, reply in pairs])


def _search(kind: bytes, spec: list[tuple[bytes, bytes]], resp3: bool) -> bytes:
    return _map([(b"type", bulk(kind)), (b"spec", _map(spec, resp3))], resp3)


def _key_spec(spec: KeySpec, resp3: bool) -> bytes:
    """One key specification."""
    kind, *rest = spec.begin
    begin: list[tuple[bytes, bytes]] = []
    if kind == "index":
        begin = [(b"index", integer(rest[0]))]
    elif kind == "keyword":
        begin = [(b"keyword", bulk(rest[0].encode())), (b"startfrom", integer(rest[1]))]
    how, *numbers = spec.find
    names = {"range": (b"lastkey", b"keystep", b"limit"), "keynum": (b"keynumidx", b"firstkey", b"keystep")}
    places = [(name, integer(n)) for name, n in zip(names.get(how, ()), numbers, strict=True)]
    pairs = [(b"notes", bulk(spec.notes.encode()))] if spec.notes else []
    pairs += [
        (b"flags", _simples([word.encode() for word in spec.flags], resp3)),
        (b"begin_search", _search(kind.encode(), begin, resp3)),
        (b"find_keys", _search(how.encode(), places, resp3)),
    ]
    return _map(pairs, resp3)


def info_of(entry: Command, resp3: bool) -> bytes:
    """A command as COMMAND INFO answers it."""
    subs = [info_of(sub, resp3) for _, sub in sorted(entry.subcommands.items())]
    return array([
        bulk(entry.lower_name),
        integer(entry.arity),
        _simples([name for flag, name in FLAG_NAMES.items() if entry.flags & flag], resp3),
        *map(integer, entry.keys_at),
        _simples([b"@" + name.encode() for name in categories(entry)], resp3),
        set_head(len(entry.tips), resp3) + b"".join([bulk(tip.encode()) for tip in entry.tips]),
        set_head(len(entry.key_specs), resp3) + b"".join([_key_spec(spec, resp3) for spec in entry.key_specs]),
        array(subs) if subs else set_head(0, resp3),
    ])  # fmt: skip


# ---- COMMAND DOCS ------------------------------------------------------------------------


def _argument(argument: Argument, resp3: bool) -> bytes:
    """One argument of COMMAND DOCS."""
    pairs = [(b"name", bulk(argument.name.encode())), (b"type", bulk(argument.type.encode()))]
    if argument.key_spec >= 0:
        pairs.append((b"key_spec_index", integer(argument.key_spec)))
    if argument.token:
        pairs.append((b"token", bulk(argument.token.encode())))
    flags = [
        name
        for name, is_set in (
            (b"optional", argument.optional),
            (b"multiple", argument.multiple),
            (b"multiple_token", argument.multiple_token),
        )
        if is_set
    ]
    if flags:
        pairs.append((b"flags", _simples(flags, resp3)))
    if argument.arguments:
        pairs.append((b"arguments", array([_argument(part, resp3) for part in argument.arguments])))
    return _map(pairs, resp3)


def docs_of(entry: Command, resp3: bool) -> bytes:
    """A command's name and its documentation, as a pair of COMMAND DOCS' map."""
    pairs = [
        (b"summary", bulk(entry.summary.encode())),
        (b"since", bulk(entry.since.encode())),
        (b"group", bulk(entry.group.encode())),
    ]
    if entry.complexity:
        pairs.append((b"complexity", bulk(entry.complexity.encode())))
    if entry.doc_flags:
        pairs.append((b"doc_flags", _simples([flag.encode() for flag in entry.doc_flags], resp3)))
    if entry.deprecated_since:
        pairs.append((b"deprecated_since", bulk(entry.deprecated_since.encode())))
    if entry.replaced_by:
        pairs.append((b"replaced_by", bulk(entry.replaced_by.encode())))
    if entry.history:
        changes = [bulk_array([since.encode(), what.encode()]) for since, what in entry.history]
        pairs.append((b"history", set_head(len(changes), resp3) + b"".join(changes)))
    arguments = arguments_of(entry)
    if arguments:
        pairs.append((b"arguments", array([_argument(argument, resp3) for argument in arguments])))
    if entry.subcommands:
        subs = [docs_of(sub, resp3) for _, sub in sorted(entry.subcommands.items())]
        pairs.append((b"subcommands", map_head(len(subs), resp3) + b"".join(subs)))
    return bulk(entry.lower_name) + _map(pairs, resp3)


# ---- COMMAND GETKEYS -----------------------------------------------------------------------


def _line(argv: list[bytes]) -> tuple[Command, list[bytes], list[bytes]]:
    """The command, command line and keys that COMMAND GETKEYS is asked about; CommandError if there are none."""
    line = argv[2:]
    entry = find(line)
    if entry is None or entry.subcommands:
        raise CommandError(errors.NO_SUCH_COMMAND)
    if not entry.key_specs and not entry.find_keys and not entry.keys_at[0]:
        raise CommandError(errors.NO_KEY_ARGUMENTS)
    if not entry.arity_fits(len(line)):
        raise CommandError(errors.GETKEYS_ARITY)
    keys = entry.keys(line)
    if not keys and not entry.flags & table.NO_MANDATORY_KEYS:
        raise CommandError(errors.GETKEYS_INVALID)
    return entry, line, keys


# ---- the commands ----------------------------------------------------------------------------


@command(
    "COMMAND", arity=-1, flags=_FLAGS, group="server", since="2.8.13", acl=_ACL, tips=_UNORDERED,
    complexity="O(N) for N commands", summary="Describes all commands; its subcommands answer other questions on them.",
)  # fmt: skip
def command_(tx: ServerTx, argv: list[bytes]) -> bytes:
    """COMMAND"""
    return array([info_of(entry, tx.resp3) for _, entry in sorted(TABLE.items())])


@command(
    "COMMAND|INFO", arity=-2, flags=_FLAGS, group="server", since="2.8.13", acl=_ACL, tips=_UNORDERED,
    syntax="[command-name ...]", history=(("7.0.0", "Describes all commands if none is named."),),
    complexity="O(N) for N commands asked for",
    summary="Returns arity, flags, key positions and ACL categories of commands.",
)  # fmt: skip
def command_info(tx: ServerTx, argv: list[bytes]) -> bytes:
    """COMMAND INFO [command-name ...]"""
    if len(argv) == 2:
        return command_(tx, argv)
    entries = map(named, argv[2:])
    return array([tx.null if entry is None else info_of(entry, tx.resp3) for entry in entries])


@command(
    "COMMAND|DOCS", arity=-2, flags=_FLAGS, group="server", since="7.0.0", acl=_ACL, tips=_UNORDERED,
    syntax="[command-name ...]", complexity="O(N) for N commands asked for",
    summary="Returns the documentation of commands, their arguments as a tree.",
)  # fmt: skip
def command_docs(tx: ServerTx, argv: list[bytes]) -> bytes:
    """COMMAND DOCS [command-name ...]: commands that are not there are left out"""
    if len(argv) == 2:
        entries = [entry for _, entry in sorted(TABLE.items())]
    else:
        entries = [entry for entry in map(named, argv[2:]) if entry is not None]
    return map_head(len(entries), tx.resp3) + b"".join([docs_of(entry, tx.resp3) for entry in entries])


@command(
    "COMMAND|COUNT", arity=2, flags=_FLAGS, group="server", since="2.8.13", acl=_ACL, complexity="O(1)",
    summary="Returns the number of commands.",
)  # fmt: skip
def command_count(tx: ServerTx, argv: list[bytes]) -> bytes:
    """COMMAND COUNT"""
    return integer(len(TABLE))


@command(
    "COMMAND|LIST", arity=-2, flags=_FLAGS, group="server", since="7.0.0", acl=_ACL, tips=_UNORDERED,
    syntax="[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]", complexity="O(N) for N commands",
    summary="Returns the names of commands.",
)  # fmt: skip
def command_list(tx: ServerTx, argv: list[bytes]) -> bytes:
    """COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]"""
    entries = every_command()
    if len(argv) > 2:
        if len(argv) != 5 or argv[2].upper() != b"FILTERBY":
            raise CommandError(errors.SYNTAX)
        kind, text = argv[3].upper(), argv[4]
        if kind == b"MODULE":
            entries = []
        elif kind == b"ACLCAT":
            category = text.lower().decode("latin-1")
            entries = [entry for entry in entries if category in categories(entry)]
        elif kind == b"PATTERN":
            entries = [entry for entry in entries if matches_ignoring_case(text, entry.lower_name)]
        else:
            raise CommandError(errors.SYNTAX)
    return bulk_array([entry.lower_name for entry in entries])


@command(
    "COMMAND|GETKEYS", arity=-4, flags=_FLAGS, group="server", since="2.8.13", acl=_ACL,
    syntax="command argument [argument ...]", complexity="O(N) for N arguments",
    summary="Returns the keys of a command line.",
)  # fmt: skip
def command_getkeys(tx: ServerTx, argv: list[bytes]) -> bytes:
    """COMMAND GETKEYS command argument [argument ...]"""
    return bulk_array(_line(argv)[2])


@command(
    "COMMAND|GETKEYSANDFLAGS", arity=-4, flags=_FLAGS, group="server", since="7.0.0", acl=_ACL,
    syntax="command argument [argument ...]", complexity="O(N) for N arguments",
    summary="Returns the keys of a command line and what the command would do to them.",
)  # fmt: skip
def command_getkeysandflags(tx: ServerTx, argv: list[bytes]) -> bytes:
    """COMMAND GETKEYSANDFLAGS command argument [argument ...]"""
    entry, line, _ = _line(argv)
    found = keys_with_flags(entry, line)
    if not found:
        return EMPTY_ARRAY
    return array([
        array_head(2) + bulk(key) + _simples([flag.encode() for flag in flags], tx.resp3) for key, flags in found
    ])  # fmt: skip


@command(
    "COMMAND|HELP", arity=2, flags=_FLAGS, group="server", since="5.0.0", acl=_ACL, complexity="O(1)",
    summary="Tells about the subcommands.",
)  # fmt: skip
def command_help(tx: ServerTx, argv: list[bytes]) -> bytes:
    """COMMAND HELP"""
    return array([simple(line) for line in _HELP])
