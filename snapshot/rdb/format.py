"""The numbers of the format: versions, opcodes, types, and what each version can hold.

``(types)`` are those of Redis; Valkey's files (``VALKEY080``) have the same up to 21 and
give 22 another meaning, so a type is read together with the kind of file it stands in.
"""

from __future__ import annotations

MAGIC = b"REDIS"
VALKEY_MAGIC = b"VALKEY"
HEAD_BYTES = 9
OLDEST, NEWEST = 2, 12
VALKEY = 80
"""Valkey's version; it stands behind a magic of its own."""
WRITTEN = (9, 10, 11, 12)
CHECKSUM_SINCE = 5
LISTPACKS_SINCE = 10
FUNCTIONS_SINCE = 10
SET_LISTPACK_SINCE = 11
FIELD_EXPIRY_SINCE = 12

LATER_VERSIONS = {13: "Redis 8.6", 14: "Redis 8.8", 15: "Redis 8.10"}

# ---- opcodes ---------------------------------------------------------------------------

SLOT_IMPORT = 243
SLOT_INFO = 244
FUNCTION = 245
FUNCTION_PRE_RELEASE = 246
MODULE_AUX = 247
IDLE = 248
FREQ = 249
AUX = 250
RESIZE_DB = 251
EXPIRE_MS = 252
EXPIRE_S = 253
SELECT_DB = 254
EOF = 255

OPCODE_NAMES = {
    SLOT_IMPORT: "slot import", SLOT_INFO: "slot info", FUNCTION: "function", FUNCTION_PRE_RELEASE: "old function",
    MODULE_AUX: "module aux", IDLE: "idle", FREQ: "freq", AUX: "aux", RESIZE_DB: "resize db",
    EXPIRE_MS: "expiry in ms", EXPIRE_S: "expiry in s", SELECT_DB: "select db", EOF: "end",
}  # fmt: skip

# ---- types -----------------------------------------------------------------------------

STRING = 0
LIST = 1
SET = 2
ZSET_TEXT = 3
HASH = 4
ZSET = 5
MODULE_PRE_RELEASE = 6
MODULE = 7
HASH_ZIPMAP = 9
LIST_ZIPLIST = 10
SET_INTSET = 11
ZSET_ZIPLIST = 12
HASH_ZIPLIST = 13
LIST_QUICKLIST = 14
STREAM = 15
HASH_LISTPACK = 16
ZSET_LISTPACK = 17
LIST_QUICKLIST_2 = 18
STREAM_2 = 19
SET_LISTPACK = 20
STREAM_3 = 21
HASH_FIELDS_PRE_RELEASE = 22
HASH_LISTPACK_EX_PRE_RELEASE = 23
HASH_FIELDS = 24
HASH_LISTPACK_EX = 25
VALKEY_HASH_FIELDS = 22

TYPE_NAMES = {
    STRING: "string", LIST: "list", SET: "set", ZSET_TEXT: "sorted set (scores as text)", HASH: "hash",
    ZSET: "sorted set", MODULE_PRE_RELEASE: "module value of 4.0's release candidates", MODULE: "module value",
    HASH_ZIPMAP: "hash (zipmap)", LIST_ZIPLIST: "list (ziplist)", SET_INTSET: "set (intset)",
    ZSET_ZIPLIST: "sorted set (ziplist)", HASH_ZIPLIST: "hash (ziplist)", LIST_QUICKLIST: "list (quicklist)",
    STREAM: "stream", HASH_LISTPACK: "hash (listpack)", ZSET_LISTPACK: "sorted set (listpack)",
    LIST_QUICKLIST_2: "list (quicklist 2)", STREAM_2: "stream 2", SET_LISTPACK: "set (listpack)",
    STREAM_3: "stream 3", HASH_FIELDS_PRE_RELEASE: "hash with field expiry",
    HASH_LISTPACK_EX_PRE_RELEASE: "hash with field expiry (listpack)", HASH_FIELDS: "hash with field expiry",
    HASH_LISTPACK_EX: "hash with field expiry (listpack)",
}  # fmt: skip

LATER_TYPES = {
    26: "a stream of Redis 8.6", 27: "a stream of Redis 8.8", 28: "an array of Redis 8.10",
    **dict.fromkeys(range(29, 33), "a hash by template of Redis 8.10"),
}  # fmt: skip
"""Types of versions that are not read, by what they are."""

HASH_BY_PACK = frozenset((HASH_ZIPLIST, HASH_LISTPACK))
ZSET_BY_PACK = frozenset((ZSET_ZIPLIST, ZSET_LISTPACK))
"""Types of small values, which stock takes as small by their number of members alone."""

# ---- sub-opcodes of modules ------------------------------------------------------------

MODULE_EOF, MODULE_SINT, MODULE_UINT, MODULE_FLOAT, MODULE_DOUBLE, MODULE_STRING = range(6)
_MODULE_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def module_name(module_id: int) -> str:
    """The name of a module type: 9 characters of 6 bits above 10 bits of version."""
    return "".join(_MODULE_CHARS[module_id >> shift & 63] for shift in range(58, 9, -6))


# ---- strings and lengths ---------------------------------------------------------------

LEN_32, LEN_64 = 0x80, 0x81
INT_8, INT_16, INT_32, LZF = 0xC0, 0xC1, 0xC2, 0xC3
LZF_MOST = 88
"""A byte of LZF gives at most so many: three (a run's head, its length, its distance) give 264."""
INT_CHARS = 11
"""No 32-bit integer is longer."""
LZF_LEAST = 20
"""Strings up to this length are not compressed."""

LISTPACK_UNKNOWN = 0xFFFF
"""A count of a ziplist or listpack that says: walk it."""

FIELD_DEADLINES = b"perdure-field-deadlines"
"""Our AUX field before a hash in a version that cannot hold when its fields expire: loaded by us, skipped by stock.

Its value is, for each field that has one, the deadline (unix ms, 8 bytes little-endian) and the
field as a string of the format.
"""
