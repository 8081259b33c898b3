"""OBJECT: what is known of a value beside its members."""

from __future__ import annotations

from typing import Any

from perdure.store import value_types
from perdure.store.command import LOADING, READONLY, STALE, KeySpec, command
from perdure.store.errors import LFU_POLICY, NO_LFU_POLICY
from perdure.store.resp import array, bulk, integer, simple
from perdure.store.tx import Tx
from perdure.store.uses import Frequency

_KEY = (KeySpec(("RO",), ("index", 2), ("range", 0, 1, 0)),)
_ACL = ("keyspace", "read", "slow")
_TIPS = ("nondeterministic_output",)

_SHARED = (1 << 31) - 1
"""What stock answers as the reference count of an object that everybody shares."""
_SHARED_INTEGERS = 10_000
_HELP = (
    b"OBJECT <subcommand> <key>. The subcommands:",
    b"ENCODING <key>",
    b"    The name of the encoding that the value has by its size and content.",
    b"FREQ <key>",
    b"    How often the key was used of late, on a logarithmic scale, under an LFU policy.",
    b"IDLETIME <key>",
    b"    Seconds since the key was last used, at least as far as uses are kept:",
    b"    from the first OBJECT IDLETIME in a database on.",
    b"REFCOUNT <key>",
    b"    How many hold the value: one, or very many for small integers.",
    b"HELP",
    b"    These lines.",
)


@command(
    "OBJECT",
    arity=-2,
    flags=0,
    since="2.2.3",
    acl=("slow",),
    summary="Has subcommands that tell about a value's inner life.",
    complexity="See its subcommands",
)
def object_(tx: Tx, argv: list[bytes]) -> bytes:
    """OBJECT HELP, for who asks the container itself"""
    return object_help(tx, argv)


@command(
    "OBJECT|HELP",
    arity=2,
    flags=LOADING | STALE,
    since="6.2.0",
    acl=("keyspace", "slow"),
    summary="Tells about the subcommands.",
    complexity="O(1)",
)
def object_help(tx: Tx, argv: list[bytes]) -> bytes:
    """OBJECT HELP"""
    return array([simple(line) for line in _HELP])


def _read(tx: Tx, argv: list[bytes]) -> Any:
    """The value in question, or None; to ask about it is no use of it."""
    value = tx.peek(argv[2])
    if value is None:
        tx.misses += 1
    return value


@command(
    "OBJECT|ENCODING",
    arity=3,
    flags=READONLY,
    keys_at=(2, 2, 1),
    key_specs=_KEY,
    since="2.2.3",
    acl=_ACL,
    tips=_TIPS,
    syntax="key",
    summary="Returns the name of a value's encoding.",
    complexity="O(1)",
)
def object_encoding(tx: Tx, argv: list[bytes]) -> bytes:
    """OBJECT ENCODING key"""
    value = _read(tx, argv)
    return tx.null if value is None else bulk(value_types.of(value).encoding(value, tx.limits))


@command(
    "OBJECT|FREQ",
    arity=3,
    flags=READONLY,
    keys_at=(2, 2, 1),
    key_specs=_KEY,
    since="4.0.0",
    acl=_ACL,
    tips=_TIPS,
    syntax="key",
    summary="Returns how often a key was used of late, if an LFU policy keeps that.",
    complexity="O(1)",
)
def object_freq(tx: Tx, argv: list[bytes]) -> bytes:
    """OBJECT FREQ key"""
    if _read(tx, argv) is None:
        return tx.null
    uses = tx.db.uses
    if not isinstance(uses, Frequency):
        raise tx.refuse(NO_LFU_POLICY)
    return integer(uses.count(argv[2]))


@command(
    "OBJECT|IDLETIME",
    arity=3,
    flags=READONLY,
    keys_at=(2, 2, 1),
    key_specs=_KEY,
    since="2.2.3",
    acl=_ACL,
    tips=_TIPS,
    syntax="key",
    summary="Returns for how many seconds a key was not used, as far as that is known.",
    complexity="O(1)",
)
def object_idletime(tx: Tx, argv: list[bytes]) -> bytes:
    """OBJECT IDLETIME key: uses are kept from the first such call in a database on, if not before"""
    if _read(tx, argv) is None:
        return tx.null
    uses = tx.db.keep_uses(tx)
    if isinstance(uses, Frequency):
        raise tx.refuse(LFU_POLICY)
    return integer(uses.idle_ms(argv[2]) // 1000)


@command(
    "OBJECT|REFCOUNT",
    arity=3,
    flags=READONLY,
    keys_at=(2, 2, 1),
    key_specs=_KEY,
    since="2.2.3",
    acl=_ACL,
    tips=_TIPS,
    syntax="key",
    summary="Returns how many hold a value.",
    complexity="O(1)",
)
def object_refcount(tx: Tx, argv: list[bytes]) -> bytes:
    """OBJECT REFCOUNT key: stock shares the integers below 10,000"""
    value = _read(tx, argv)
    if value is None:
        return tx.null
    shared = value_types.of(value).encoding(value, tx.limits) == b"int" and 0 <= int(value) < _SHARED_INTEGERS
    return integer(_SHARED if shared else 1)
