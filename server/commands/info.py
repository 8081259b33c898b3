"""INFO."""

from __future__ import annotations

from perdure.server import info
from perdure.server.tx import ServerTx
from perdure.store.command import LOADING, STALE, command
from perdure.store.resp import verbatim


@command(
    "INFO", arity=-1, flags=LOADING | STALE, group="server", acl=("slow", "dangerous"),
    tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
    syntax="[section ...]", history=(("7.0.0", "Takes several sections."),), complexity="O(1)",
    summary="Returns the server's state and counters, section by section.",
)  # fmt: skip
def info_(tx: ServerTx, argv: list[bytes]) -> bytes:
    """INFO [section ...]"""
    return verbatim(info.text(tx.server, argv[1:]), tx.resp3)
