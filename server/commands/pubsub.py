"""Pub/sub: SUBSCRIBE and its kind, PUBLISH, PUBSUB.  Who gets what: ``server.pubsub``.

A command that names several channels is confirmed once for each, as if it had been
given several times; that is so inside of EXEC, too, as in stock.
"""

from __future__ import annotations

from perdure.server.client import IN_MULTI
from perdure.server.pubsub import CHANNEL, PATTERN, SHARD
from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import FAST, LOADING, MAY_REPLICATE, NOSCRIPT, PUBSUB, STALE, KeySpec, command
from perdure.store.errors import CommandError
from perdure.store.patterns import matcher
from perdure.store.resp import array, bulk, bulk_array, integer, require_bytes, simple

_FLAGS = PUBSUB | NOSCRIPT | LOADING | STALE
_ASKS = PUBSUB | LOADING | STALE
_PUBLISHES = PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE
_ACL = ("pubsub", "slow")
_SHARD_CHANNELS = (KeySpec(("not_key",), ("index", 1), ("range", -1, 1, 0)),)
_SHARD_CHANNEL = (KeySpec(("not_key",), ("index", 1), ("range", 0, 1, 0)),)


def _subscribe(tx: ServerTx, argv: list[bytes], kind: int) -> bytes:
    registry, client = tx.server.engine.pubsub, tx.session
    return b"".join([registry.subscribe(kind, client, name) for name in argv[1:]])


def _unsubscribe(tx: ServerTx, argv: list[bytes], kind: int) -> bytes:
    registry, client = tx.server.engine.pubsub, tx.session
    if len(argv) == 1:
        return registry.unsubscribe_all(kind, client)
    return b"".join([registry.unsubscribe(kind, client, name) for name in argv[1:]])


@command(
    "SUBSCRIBE", arity=-2, flags=_FLAGS, since="2.0.0", group="pubsub", acl=_ACL, syntax="channel [channel ...]",
    complexity="O(N) for N channels", summary="Has this connection get what is published to channels.",
)  # fmt: skip
def subscribe(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SUBSCRIBE channel [channel ...]"""
    return _subscribe(tx, argv, CHANNEL)


@command(
    "UNSUBSCRIBE", arity=-1, flags=_FLAGS, since="2.0.0", group="pubsub", acl=_ACL, syntax="[channel [channel ...]]",
    complexity="O(N) for N channels", summary="Ends subscriptions to channels, to all of them if none is named.",
)  # fmt: skip
def unsubscribe(tx: ServerTx, argv: list[bytes]) -> bytes:
    """UNSUBSCRIBE [channel [channel ...]]"""
    return _unsubscribe(tx, argv, CHANNEL)


@command(
    "PSUBSCRIBE", arity=-2, flags=_FLAGS, since="2.0.0", group="pubsub", acl=_ACL, syntax="pattern [pattern ...]",
    complexity="O(N) for N patterns", summary="Has this connection get what is published to channels of a pattern.",
)  # fmt: skip
def psubscribe(tx: ServerTx, argv: list[bytes]) -> bytes:
    """PSUBSCRIBE pattern [pattern ...]"""
    return _subscribe(tx, argv, PATTERN)


@command(
    "PUNSUBSCRIBE", arity=-1, flags=_FLAGS, since="2.0.0", group="pubsub", acl=_ACL, syntax="[pattern [pattern ...]]",
    complexity="O(N) for N patterns", summary="Ends subscriptions to patterns, to all of them if none is named.",
)  # fmt: skip
def punsubscribe(tx: ServerTx, argv: list[bytes]) -> bytes:
    """PUNSUBSCRIBE [pattern [pattern ...]]"""
    return _unsubscribe(tx, argv, PATTERN)


@command(
    "SSUBSCRIBE", arity=-2, flags=_FLAGS, keys_at=(1, -1, 1), key_specs=_SHARD_CHANNELS, since="7.0.0", group="pubsub",
    acl=_ACL, syntax="shardchannel [shardchannel ...]", complexity="O(N) for N channels",
    summary="Has this connection get what is published to shard channels.",
)  # fmt: skip
def ssubscribe(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SSUBSCRIBE shardchannel [shardchannel ...]; in MULTI stock takes all other subscriptions but these"""
    if tx.session.state & IN_MULTI:
        raise CommandError(errors.SSUBSCRIBE_IN_MULTI)
    return _subscribe(tx, argv, SHARD)


@command(
    "SUNSUBSCRIBE", arity=-1, flags=_FLAGS, keys_at=(1, -1, 1), key_specs=_SHARD_CHANNELS, since="7.0.0",
    group="pubsub", acl=_ACL, syntax="[shardchannel [shardchannel ...]]", complexity="O(N) for N channels",
    summary="Ends subscriptions to shard channels, to all of them if none is named.",
)  # fmt: skip
def sunsubscribe(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SUNSUBSCRIBE [shardchannel [shardchannel ...]]"""
    return _unsubscribe(tx, argv, SHARD)


@command(
    "PUBLISH", arity=3, flags=_PUBLISHES, since="2.0.0", group="pubsub", acl=("pubsub", "fast"),
    syntax="channel message", complexity="O(N+M) for N subscribers of the channel and M patterns of all clients",
    summary="Sends a message to a channel; returns how many connections get it.",
)  # fmt: skip
def publish(tx: ServerTx, argv: list[bytes]) -> bytes:
    """PUBLISH channel message"""
    require_bytes(argv)
    return integer(tx.server.engine.pubsub.publish(argv[1], argv[2]))


@command(
    "SPUBLISH", arity=3, flags=_PUBLISHES, keys_at=(1, 1, 1), key_specs=_SHARD_CHANNEL, since="7.0.0", group="pubsub",
    acl=("pubsub", "fast"), syntax="shardchannel message", complexity="O(N) for N subscribers of the channel",
    summary="Sends a message to a shard channel; returns how many connections get it.",
)  # fmt: skip
def spublish(tx: ServerTx, argv: list[bytes]) -> bytes:
    """SPUBLISH shardchannel message"""
    require_bytes(argv)
    return integer(tx.server.engine.pubsub.publish_to_shard(argv[1], argv[2]))


# ---- PUBSUB ------------------------------------------------------------------------------

_HELP = (
    b"PUBSUB <subcommand> [<argument> ...]. The subcommands:",
    b"CHANNELS [<pattern>]",
    b"    The channels with subscribers, or those of them that match.",
    b"NUMPAT",
    b"    How many different patterns are subscribed to.",
    b"NUMSUB [<channel> ...]",
    b"    How many connections have subscribed to each channel; patterns do not count.",
    b"SHARDCHANNELS [<pattern>]",
    b"    The shard channels with subscribers, or those of them that match.",
    b"SHARDNUMSUB [<shardchannel> ...]",
    b"    How many connections have subscribed to each shard channel.",
    b"HELP",
    b"    These lines.",
)


@command(
    "PUBSUB", arity=-2, flags=0, since="2.8.0", group="pubsub", acl=("slow",), complexity="See its subcommands",
    summary="Has subcommands about subscriptions.",
)  # fmt: skip
def pubsub(tx: ServerTx, argv: list[bytes]) -> bytes:
    """PUBSUB HELP, for who asks the container itself"""
    return pubsub_help(tx, argv)


def _channels(tx: ServerTx, argv: list[bytes], kind: int) -> bytes:
    if len(argv) > 3:
        raise CommandError(errors.wrong_subcommand(argv[1], b"PUBSUB"))
    names = tx.server.engine.pubsub.registry[kind]
    if len(argv) == 2:
        return bulk_array(names)
    matches = matcher(argv[2])
    return bulk_array([name for name in names if matches(name)])


def _subscribers(tx: ServerTx, argv: list[bytes], kind: int) -> bytes:
    registry = tx.server.engine.pubsub.registry[kind]
    return array([part for name in argv[2:] for part in (bulk(name), integer(len(registry.get(name, ()))))])


@command(
    "PUBSUB|CHANNELS", arity=-2, flags=_ASKS, since="2.8.0", group="pubsub", acl=_ACL, syntax="[pattern]",
    complexity="O(N) for N channels with subscribers", summary="Returns the channels that have subscribers.",
)  # fmt: skip
def pubsub_channels(tx: ServerTx, argv: list[bytes]) -> bytes:
    """PUBSUB CHANNELS [pattern]"""
    return _channels(tx, argv, CHANNEL)


@command(
    "PUBSUB|SHARDCHANNELS", arity=-2, flags=_ASKS, since="7.0.0", group="pubsub", acl=_ACL, syntax="[pattern]",
    complexity="O(N) for N shard channels with subscribers",
    summary="Returns the shard channels that have subscribers.",
)  # fmt: skip
def pubsub_shardchannels(tx: ServerTx, argv: list[bytes]) -> bytes:
    """PUBSUB SHARDCHANNELS [pattern]"""
    return _channels(tx, argv, SHARD)


@command(
    "PUBSUB|NUMSUB", arity=-2, flags=_ASKS, since="2.8.0", group="pubsub", acl=_ACL, syntax="[channel [channel ...]]",
    complexity="O(N) for N channels asked for", summary="Returns how many have subscribed to each of some channels.",
)  # fmt: skip
def pubsub_numsub(tx: ServerTx, argv: list[bytes]) -> bytes:
    """PUBSUB NUMSUB [channel [channel ...]]"""
    return _subscribers(tx, argv, CHANNEL)


@command(
    "PUBSUB|SHARDNUMSUB", arity=-2, flags=_ASKS, since="7.0.0", group="pubsub", acl=_ACL,
    syntax="[shardchannel [shardchannel ...]]", complexity="O(N) for N channels asked for",
    summary="Returns how many have subscribed to each of some shard channels.",
)  # fmt: skip
def pubsub_shardnumsub(tx: ServerTx, argv: list[bytes]) -> bytes:
    """PUBSUB SHARDNUMSUB [shardchannel [shardchannel ...]]"""
    return _subscribers(tx, argv, SHARD)


@command(
    "PUBSUB|NUMPAT", arity=2, flags=_ASKS, since="2.8.0", group="pubsub", acl=_ACL, complexity="O(1)",
    summary="Returns how many different patterns are subscribed to.",
)  # fmt: skip
def pubsub_numpat(tx: ServerTx, argv: list[bytes]) -> bytes:
    """PUBSUB NUMPAT"""
    return integer(len(tx.server.engine.pubsub.registry[PATTERN]))


@command(
    "PUBSUB|HELP", arity=2, flags=LOADING | STALE, since="6.2.0", group="pubsub", acl=("slow",), complexity="O(1)",
    summary="Tells about the subcommands.",
)  # fmt: skip
def pubsub_help(tx: ServerTx, argv: list[bytes]) -> bytes:
    """PUBSUB HELP"""
    return array([simple(line) for line in _HELP])
