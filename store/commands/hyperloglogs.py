"""HyperLogLogs: PFADD, PFCOUNT, PFMERGE, PFDEBUG, PFSELFTEST.

The value is a string (``store.hyperloglog`` has its bytes), a ``bytearray`` once one of
these commands has looked at it, as in stock.  A dense one is changed in place, of a
sparse one, which is short, a copy is, so that a corrupt one is found before anything is
logged.

PFADD, PFMERGE and PFDEBUG are logged as they came if they changed something, and so is
PFCOUNT of one key, because it keeps its estimate in the string; a log that refuses
leaves it unkept, and the answer is given all the same (reads go on).
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from perdure.store import hyperloglog as hll
from perdure.store.command import ADMIN, DENYOOM, FAST, READONLY, WRITE, KeySpec, command
from perdure.store.commands.strings import key_spec
from perdure.store.errors import (
    CORRUPT_HLL,
    HLL_NOT_SPARSE,
    NO_SPECIFIED_KEY,
    NOT_A_HLL,
    CommandError,
    hll_test_failed,
    unknown_pfdebug,
)
from perdure.store.events import STRING
from perdure.store.resp import OK, ONE, ZERO, array, bulk, encode, integer, simple
from perdure.store.string_value import changeable
from perdure.store.tx import Tx
from perdure.store.value_types import DEFAULT_LIMITS

MAX_SPARSE = "hll-sparse-max-bytes"
DEFAULT_LIMITS[MAX_SPARSE] = 3000

hll_command = partial(command, group="hyperloglog", since="2.8.9")
"""``@command`` for this group."""
_COUNTS_WRITE = "RW, because the estimate is kept in the string, and that is logged."


def _find(tx: Tx, key: bytes) -> bytes | bytearray | None:
    """A key's HyperLogLog, None if there is no such key; CommandError if it is something else."""
    value = tx.lookup_string(key)
    if value is not None and not hll.is_one(value):
        raise CommandError(NOT_A_HLL)
    return value


def _copy(value: bytes | bytearray) -> bytearray:
    """A copy of a sparse HyperLogLog; CommandError if it is longer than any sound one."""
    if len(value) > hll.MAX_SPARSE_BYTES:
        raise CommandError(CORRUPT_HLL)
    return bytearray(value)


def _unshare(tx: Tx, key: bytes, value: bytes | bytearray) -> bytearray:
    """A key's string as one that can be changed in place, and is ``raw`` from now on."""
    changed = changeable(value)
    if changed is not value:
        tx.db[key] = changed
    return changed


@hll_command(
    "PFADD",
    arity=-2,
    flags=WRITE | DENYOOM | FAST,
    keys_at=(1, 1, 1),
    key_specs=key_spec("RW", "insert"),
    acl=("write", "hyperloglog", "fast"),
    syntax="key [element [element ...]]",
    summary="Adds elements to a HyperLogLog, which is made if it does not exist; says whether its estimate may change.",
    complexity="O(1) for each element while it is dense, O(N) for N bytes, at most some thousand, while it is sparse",
)
def pfadd(tx: Tx, argv: list[bytes]) -> bytes:
    """PFADD key [element ...]"""
    key = argv[1]
    value = _find(tx, key)
    places = [hll.place(element) for element in argv[2:]]
    if value is None:
        changed = _raised(tx, hll.new(), places)[0]
    elif hll.is_sparse(value):
        changed, updated = _raised(tx, _copy(value), places)
        if not updated:
            _unshare(tx, key, value)
            return ZERO
    else:
        changed = _unshare(tx, key, value)
        places = [(index, rank) for index, rank in places if hll.dense_get(changed, index) < rank]
        if not places:
            return ZERO
    tx.log(encode(argv))
    if value is not None and not hll.is_sparse(value):
        for index, rank in places:
            hll.dense_raise(changed, index, rank)
    hll.forget_cardinality(changed)
    if value is None:
        tx.db.replace(key, changed)
    else:
        tx.db[key] = changed
    if tx.notifying:
        tx.notify_write(STRING, b"pfadd", key, value is None)
    return ONE


def _raised(tx: Tx, value: bytearray, places: list[tuple[int, int]]) -> tuple[bytearray, bool]:
    """A sparse HyperLogLog, which is ours, with elements added: it or what it was promoted to, and has it changed?"""
    updated = False
    for index, rank in places:
        editor = hll.SparseEditor(value, tx.limits[MAX_SPARSE])
        updated = editor.raise_register(index, rank) or updated
        value = editor.value
    return value, updated


@hll_command(
    "PFCOUNT",
    arity=-2,
    flags=READONLY,
    keys_at=(1, -1, 1),
    key_specs=key_spec("RW", "access", last=-1, notes=_COUNTS_WRITE),
    acl=("read", "hyperloglog", "slow"),
    syntax="key [key ...]",
    summary="Estimates how many distinct elements were added to a HyperLogLog, or to any of several.",
    complexity="O(1) for one key that did not change since it was counted, else O(N) for N keys, and not cheap",
)
def pfcount(tx: Tx, argv: list[bytes]) -> bytes:
    """PFCOUNT key [key ...]"""
    if len(argv) > 2:
        merged = _merged(tx, argv[1:])
        return _signed(hll.estimate(merged))
    key = argv[1]
    tx.lookups += 1
    value = _find(tx, key)
    if value is None:
        tx.missed(key)
        return ZERO
    cardinality = hll.known_cardinality(value)
    if cardinality is not None:
        _unshare(tx, key, value)
        return integer(cardinality)
    cardinality = hll.estimate(hll.registers_of(value))
    with suppress(CommandError):
        tx.log(encode((b"PFCOUNT", key)))
        hll.keep_cardinality(_unshare(tx, key, value), cardinality)
    return _signed(cardinality)


def _signed(cardinality: int) -> bytes:
    """An estimate as an integer of 64 bits with a sign, which is how stock prints what is none."""
    return integer(cardinality - (cardinality >> 63 << 64))


def _merged(tx: Tx, keys: list[bytes]) -> bytes:
    """Of each register in the HyperLogLogs of several keys the highest value."""
    merged = bytes(hll.REGISTERS)
    for key in keys:
        tx.lookups += 1
        value = _find(tx, key)
        if value is None:
            tx.missed(key)
        else:
            merged = hll.larger(merged, hll.registers_of(value))
    return merged


@hll_command(
    "PFMERGE",
    arity=-2,
    flags=WRITE | DENYOOM,
    keys_at=(1, -1, 1),
    key_specs=(
        KeySpec(("RW", "access", "insert"), ("index", 1), ("range", 0, 1, 0)),
        KeySpec(("RO", "access"), ("index", 2), ("range", -1, 1, 0)),
    ),
    acl=("write", "hyperloglog", "slow"),
    syntax="destkey [sourcekey [sourcekey ...]]",
    summary="Adds the elements of HyperLogLogs to another one, which is made if it does not exist.",
    complexity="O(N) for N keys, and not cheap",
)
def pfmerge(tx: Tx, argv: list[bytes]) -> bytes:
    """PFMERGE destkey [sourcekey ...]"""
    target = argv[1]
    merged = _merged(tx, argv[1:])
    old = tx.lookup(target)
    changed = _copy(old) if old is not None and hll.is_sparse(old) else bytearray(old or hll.new())
    if any((value := tx.lookup(key)) is not None and not hll.is_sparse(value) for key in argv[1:]):
        changed = hll.dense(changed, merged)
    else:
        editor = hll.SparseEditor(changed, tx.limits[MAX_SPARSE], hll.SMALL_STEP)
        for index, (held, rank) in enumerate(zip(hll.registers_of(changed), merged, strict=True)):
            if held < rank:
                editor.raise_register(index, rank)
        changed = editor.value
    tx.log(encode(argv))
    hll.forget_cardinality(changed)
    if old is None:
        tx.db.replace(target, changed)
    else:
        tx.db[target] = changed
    if tx.notifying:
        tx.notify_write(STRING, b"pfadd", target, old is None)
    return OK


@hll_command(
    "PFDEBUG",
    arity=3,
    flags=WRITE | DENYOOM | ADMIN,
    keys_at=(2, 2, 1),
    key_specs=(KeySpec(("RW", "access"), ("index", 2), ("range", 0, 1, 0)),),
    acl=("write", "hyperloglog", "admin", "slow", "dangerous"),
    doc_flags=("syscmd",),
    syntax="subcommand key",
    summary="Shows a HyperLogLog from inside (GETREG, DECODE, ENCODING) or makes it dense (TODENSE).",
    complexity="O(N) for N registers",
)
def pfdebug(tx: Tx, argv: list[bytes]) -> bytes:
    """PFDEBUG GETREG | DECODE | ENCODING | TODENSE key: GETREG makes it dense, too"""
    word, key = argv[1], argv[2]
    found = _find(tx, key)
    if found is None:
        raise CommandError(NO_SPECIFIED_KEY)
    value = _unshare(tx, key, found)
    sparse = hll.is_sparse(value)
    name = word.partition(b"\0")[0].upper()
    if name == b"DECODE":
        if not sparse:
            raise CommandError(HLL_NOT_SPARSE)
        return bulk(hll.decoded(value))
    if name == b"ENCODING":
        return simple(b"sparse" if sparse else b"dense")
    if name not in (b"GETREG", b"TODENSE"):
        raise CommandError(unknown_pfdebug(word))
    registers = hll.registers_of(value)
    if sparse:
        changed = hll.dense(value, registers)
        tx.log(encode(argv))
        tx.db[key] = changed
    if name == b"TODENSE":
        return ONE if sparse else ZERO
    return array([integer(register) for register in registers])


@hll_command(
    "PFSELFTEST",
    arity=1,
    flags=ADMIN,
    acl=("hyperloglog", "admin", "slow", "dangerous"),
    doc_flags=("syscmd",),
    summary="Tries HyperLogLogs out: registers, both encodings, and how good the estimate is.",
    complexity="O(1), some tens of milliseconds",
)
def pfselftest(tx: Tx, argv: list[bytes]) -> bytes:
    """PFSELFTEST"""
    rng = tx.rng
    filled = bytes(rng.choices(range(64), k=hll.REGISTERS))
    value = hll.dense(hll.new(), filled)
    if hll.registers_of(value) != filled:
        raise CommandError(hll_test_failed(b"Registers do not come out of their bits as they went in"))
    if any(hll.dense_get(value, index) != filled[index] for index in range(0, hll.REGISTERS, 7)):
        raise CommandError(hll_test_failed(b"A register read alone is not what it is among all"))
    sparse, dense = hll.new(), hll.dense(hll.new(), bytes(hll.REGISTERS))
    for count in range(1, 1001):
        index, rank = hll.place(b"%d" % rng.getrandbits(64))
        sparse = _raised(tx, sparse, [(index, rank)])[0]
        hll.dense_raise(dense, index, rank)
        if count in (1, 10, 100, 1000):
            registers = hll.registers_of(sparse)
            if registers != hll.registers_of(dense):
                raise CommandError(hll_test_failed(b"The encodings do not agree"))
            if abs(hll.estimate(registers) - count) > max(1.0, 0.05 * count):
                raise CommandError(hll_test_failed(b"The estimate is too far off"))
    return OK
