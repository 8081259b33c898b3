"""CLUSTER, ASKING, READONLY, READWRITE: all refused, as by a stock server without cluster-enabled.

The subcommands are in the table, with their facts, because clients ask COMMAND for them,
and because a wrong number of arguments is told before that there is no cluster.
"""

from __future__ import annotations

from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import ADMIN, FAST, LOADING, NO_ASYNC_LOADING, NOSCRIPT, STALE, command
from perdure.store.errors import CommandError

_CHANGES = ADMIN | STALE | NO_ASYNC_LOADING
_LOOKS = ADMIN | STALE
_SLOTS = "start-slot end-slot [start-slot end-slot ...]"
_TOLD = ("nondeterministic_output",)
_OLD = {"doc_flags": ("deprecated",)}

# name, arity, flags, version, syntax, what it would do, further facts
_SUBCOMMANDS: tuple[tuple[str, int, int, str, str, str, dict[str, object]], ...] = (
    ("ADDSLOTS", -3, _CHANGES, "3.0.0", "slot [slot ...]", "give slots to this node", {}),
    ("ADDSLOTSRANGE", -4, _CHANGES, "7.0.0", _SLOTS, "give ranges of slots to this node", {}),
    ("BUMPEPOCH", 2, _CHANGES, "3.0.0", "", "raise the configuration's epoch", {"tips": _TOLD}),
    ("COUNT-FAILURE-REPORTS", 3, _LOOKS, "3.0.0", "node-id", "count who takes a node for failed", {"tips": _TOLD}),
    ("COUNTKEYSINSLOT", 3, STALE, "3.0.0", "slot", "count a slot's keys", {}),
    ("DELSLOTS", -3, _CHANGES, "3.0.0", "slot [slot ...]", "take slots from this node", {}),
    ("DELSLOTSRANGE", -4, _CHANGES, "7.0.0", _SLOTS, "take ranges of slots from this node", {}),
    ("FAILOVER", -2, _CHANGES, "3.0.0", "[FORCE | TAKEOVER]", "put a replica in its master's place", {}),
    ("FLUSHSLOTS", 2, _CHANGES, "3.0.0", "", "take all slots from this node", {}),
    ("FORGET", 3, _CHANGES, "3.0.0", "node-id", "drop a node", {}),
    ("GETKEYSINSLOT", 4, STALE, "3.0.0", "slot count", "return keys of a slot", {"tips": _TOLD}),
    ("HELP", 2, LOADING | STALE, "5.0.0", "", "tell about the subcommands", {}),
    ("INFO", 2, STALE, "3.0.0", "", "tell the cluster's state", {"tips": _TOLD}),
    ("KEYSLOT", 3, STALE, "3.0.0", "key", "return a key's slot", {}),
    ("LINKS", 2, STALE, "7.0.0", "", "list the connections between nodes", {"tips": _TOLD}),
    (
        "MEET", -4, _CHANGES, "3.0.0", "ip port [cluster_bus_port]", "get to know a node",
        {"history": (("4.0.0", "Takes `cluster_bus_port`."),)},
    ),
    ("MYID", 2, STALE, "3.0.0", "", "return this node's name", {}),
    ("NODES", 2, STALE, "3.0.0", "", "list the nodes", {"tips": _TOLD}),
    ("REPLICAS", 3, _LOOKS, "5.0.0", "node-id", "list a master's replicas", {"tips": _TOLD}),
    ("REPLICATE", 3, _CHANGES, "3.0.0", "node-id", "make this node a replica", {}),
    ("RESET", -2, ADMIN | NOSCRIPT | STALE, "3.0.0", "[HARD | SOFT]", "forget the cluster", {}),
    ("SAVECONFIG", 2, _CHANGES, "3.0.0", "", "write the cluster's configuration", {}),
    ("SET-CONFIG-EPOCH", 3, _CHANGES, "3.0.0", "config-epoch", "set the configuration's epoch of a new node", {}),
    (
        "SETSLOT", -4, _CHANGES, "3.0.0", "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
        "tell whose a slot is", {},
    ),
    ("SHARDS", 2, STALE, "7.0.0", "", "tell which nodes have which slots", {"tips": _TOLD}),
    (
        "SLAVES", 3, _LOOKS, "3.0.0", "node-id", "list a master's replicas; REPLICAS' older name",
        {"tips": _TOLD, "deprecated_since": "5.0.0", "replaced_by": "`CLUSTER REPLICAS`", **_OLD},
    ),
    (
        "SLOTS", 2, STALE, "3.0.0", "", "tell which nodes have which slots",
        {
            "tips": _TOLD, "deprecated_since": "7.0.0", "replaced_by": "`CLUSTER SHARDS`", **_OLD,
            "history": (("4.0.0", "Tells the nodes' names."), ("7.0.0", "Tells more of their addresses.")),
        },
    ),
)  # fmt: skip


@command(
    "CLUSTER", arity=-2, flags=0, group="cluster", since="3.0.0", acl=("slow",), complexity="See its subcommands",
    summary="Has subcommands about a cluster, all refused: there is none.",
)  # fmt: skip
def cluster(tx: ServerTx, argv: list[bytes]) -> bytes:
    """CLUSTER subcommand ..."""
    raise CommandError(errors.CLUSTER_DISABLED)


for _name, _arity, _flags, _since, _syntax, _what, _facts in _SUBCOMMANDS:
    command(
        f"CLUSTER|{_name}", arity=_arity, flags=_flags, group="cluster", since=_since, syntax=_syntax,
        acl=("admin", "slow", "dangerous") if _flags & ADMIN else ("slow",), complexity="O(1)",
        summary=f"Refused, for there is no cluster; would {_what}.", **_facts,
    )(cluster)  # fmt: skip


@command(
    "ASKING", arity=1, flags=FAST, group="cluster", since="3.0.0", acl=("fast", "connection"), complexity="O(1)",
    summary="Refused, for there is no cluster; would let the next command at a slot that moves.",
)  # fmt: skip
def asking(tx: ServerTx, argv: list[bytes]) -> bytes:
    """ASKING"""
    raise CommandError(errors.CLUSTER_DISABLED)


@command(
    "READONLY", arity=1, flags=LOADING | STALE | FAST, group="cluster", since="3.0.0", acl=("fast", "connection"),
    complexity="O(1)", summary="Refused, for there is no cluster; would let this connection read from a replica.",
)  # fmt: skip
def readonly(tx: ServerTx, argv: list[bytes]) -> bytes:
    """READONLY"""
    raise CommandError(errors.CLUSTER_DISABLED)


@command(
    "READWRITE", arity=1, flags=LOADING | STALE | FAST, group="cluster", since="3.0.0", acl=("fast", "connection"),
    complexity="O(1)", summary="Refused, for there is no cluster; would end READONLY.",
)  # fmt: skip
def readwrite(tx: ServerTx, argv: list[bytes]) -> bytes:
    """READWRITE"""
    raise CommandError(errors.CLUSTER_DISABLED)
