"""redis-py clients that write until their server dies, and know what was answered.

``Model``    one client's keys: what its answered commands make of them
``Writer``   a thread that sends batches, checks each reply against its model, and keeps what is in flight
``judge``    after the restart: is every answered write there, of each unanswered batch at most a prefix?

An operation is one command, or one MULTI … EXEC that moves money between accounts
that all writers share; either it is there whole or it is not there.  Writers speak
in four ways (``STYLES``), as programs do; ``raw`` reads reply by reply, so that it
also knows how much of a batch was answered.

Each round's writers use keys of their own, so older rounds' keys must stay as they are.
"""

from __future__ import annotations

import threading
from random import Random
from typing import Any

import redis
from server_harness import ServerProcess, State, state_differences

ACCOUNTS = 6
START_BALANCE = 1000
STYLES = ("single", "pipeline", "transactions", "raw")
FAR_S = 10_000_000
FAR_MS = 4_000_000_000_000
_MAX_TEXT_BYTES = 20_000
_KINDS = ["incr", "shared", "append", "set", "set", "del", "hset", "hset", "hdel", "lease", "expireat", "transfer"]
Op = tuple[Any, ...]
Value = tuple[bytes, Any, int]


class Model:
    """One client's keys, and its part in the shared ones."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.strings: dict[str, bytes] = {}
        self.deadlines: dict[str, int] = {}
        self.fields: dict[bytes, bytes] = {}
        self.transfers = [0] * ACCOUNTS
        self.shared = 0

    def key(self, what: str) -> bytes:
        return f"{self.name}:{what}".encode()

    def _set(self, what: str, value: bytes) -> None:
        self.strings[what] = value
        self.deadlines.pop(what, None)

    def apply(self, op: Op) -> Any:
        """Do the operation; returns the reply that the server must give, None where it cannot be known."""
        kind, *rest = op
        if kind == "incr":
            self.strings["n"] = b"%d" % (int(self.strings.get("n", 0)) + 1)
            return int(self.strings["n"])
        if kind == "append":
            self.strings["text"] = self.strings.get("text", b"") + rest[0]
            return len(self.strings["text"])
        if kind == "set":
            self._set(rest[0], rest[1])
            return b"OK"
        if kind == "del":
            self.deadlines.pop(rest[0], None)
            return int(self.strings.pop(rest[0], None) is not None)
        if kind == "hset":
            new = rest[0] not in self.fields
            self.fields[rest[0]] = rest[1]
            return int(new)
        if kind == "hdel":
            return int(self.fields.pop(rest[0], None) is not None)
        if kind in ("expire", "expireat"):
            if rest[0] not in self.strings:
                return 0
            self.deadlines[rest[0]] = rest[1]
            return 1
        if kind == "shared":
            self.shared += 1
        elif kind == "transfer":
            source, target, amount = rest
            self.transfers[source] -= amount
            self.transfers[target] += amount
            self.strings["moves"] = b"%d" % (int(self.strings.get("moves", 0)) + 1)
        return None

    def commands(self, op: Op) -> list[tuple[Any, ...]]:
        """The commands that an operation is."""
        kind, *rest = op
        if kind == "transfer":
            return [
                ("DECRBY", f"acct:{rest[0]}", rest[2]),
                ("INCR", self.key("moves")),
                ("INCRBY", f"acct:{rest[1]}", rest[2]),
            ]
        if kind == "incr":
            return [("INCR", self.key("n"))]
        if kind == "shared":
            return [("INCR", "shared")]
        if kind == "append":
            return [("APPEND", self.key("text"), rest[0])]
        if kind == "hset":
            return [("HSET", self.key("hash"), *rest)]
        if kind == "hdel":
            return [("HDEL", self.key("hash"), *rest)]
        if kind == "expire":
            return [("EXPIRE", self.key(rest[0]), FAR_S)]
        if kind == "expireat":
            return [("PEXPIREAT", self.key(rest[0]), rest[1])]
        return [(kind.upper(), self.key(rest[0]), *rest[1:])]

    def state(self) -> dict[bytes, Value]:
        """Its own keys as ``own_keys`` shows the server's."""
        out: dict[bytes, Value] = {
            self.key(what): (b"string", value, self.deadlines.get(what, -1)) for what, value in self.strings.items()
        }
        if self.fields:
            out[self.key("hash")] = (b"hash", tuple(sorted(self.fields.items())), -1)
        return out


def _without_relative_deadline(key: bytes, value: Value) -> Value:
    # EXPIRE counts from the server's clock: that there is a deadline is known, not which.
    is_lease = b":lease" in key and value[2] > 0
    return (*value[:2], FAR_S) if is_lease else value


def next_op(model: Model, rng: Random, step: int) -> Op:
    """A random operation; ``step`` makes its value one of a kind."""
    value = b"%d" % step
    kind = rng.choice(_KINDS)
    if kind == "append" and len(model.strings.get("text", b"")) > _MAX_TEXT_BYTES:
        return "set", "text", b""
    if kind == "set" and rng.random() < 0.03:
        return "set", f"big{rng.randrange(3)}", value * (rng.randrange(1000, 60_000) // len(value))
    if kind == "lease":
        name = f"lease{rng.randrange(5)}"
        return ("set", name, value) if rng.random() < 0.5 else ("expire", name, FAR_S)
    if kind == "transfer":
        return "transfer", *rng.sample(range(ACCOUNTS), 2), rng.randrange(1, 50)
    if kind in ("hset", "hdel"):
        field = b"f%d" % rng.randrange(40)
        return ("hset", field, value) if kind == "hset" else ("hdel", field)
    name = f"s{rng.randrange(30)}"
    return {
        "incr": ("incr",),
        "shared": ("shared",),
        "append": ("append", b"<%b>" % value),
        "set": ("set", name, value),
        "del": ("del", name),
        "expireat": ("expireat", name, FAR_MS + step),
    }[kind]


class Progress:
    """Counts answered operations of all writers; one thread waits for a number."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def add(self, count: int) -> None:
        with self._changed:
            self._count += count
            self._changed.notify_all()

    def wait_for(self, count: int, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._count >= count, timeout_s)


class Writer(threading.Thread):
    """Writes batches until the connection breaks.  Afterwards: ``model``, ``pending`` and ``wrong``."""

    def __init__(self, server: ServerProcess, name: str, rng: Random, style: str, progress: Progress) -> None:
        super().__init__(daemon=True, name=name)
        self.server, self.rng, self.style, self.progress = server, rng, style, progress
        self.model = Model(name)
        self.answered = 0
        self.pending: list[Op] = []
        self.wrong: list[str] = []
        self._step = 0

    def run(self) -> None:
        try:
            with self.server.client() as client:
                while not self.wrong:
                    self._batch(client)
        except (redis.ConnectionError, redis.TimeoutError):
            pass
        except Exception as error:
            self.wrong.append(f"{self.name}: {error!r}")

    def _batch(self, client: redis.Redis) -> None:
        count = {"single": 1, "transactions": 1, "pipeline": 16, "raw": 32}[self.style]
        ops = []
        for _ in range(self.rng.randrange(1, count + 1)):
            self._step += 1
            ops.append(next_op(self.model, self.rng, self._step))
        if self.style == "transactions" and self.rng.random() < 0.7:
            ops = [("transfer", *self.rng.sample(range(ACCOUNTS), 2), self.rng.randrange(1, 50))]
        if self.style == "pipeline":
            ops = [op for op in ops if op[0] != "transfer"] or [("incr",)]
        self.pending = list(ops)
        if self.style == "raw":
            self._raw(client, ops)
        elif self.style == "pipeline":
            pipe = client.pipeline(transaction=False)
            for op in ops:
                pipe.execute_command(*self.model.commands(op)[0])
            self._answers(ops, pipe.execute(raise_on_error=False))
        elif ops[0][0] == "transfer":
            pipe = client.pipeline(transaction=True)
            for command in self.model.commands(ops[0]):
                pipe.execute_command(*command)
            self._answers(ops, [pipe.execute(raise_on_error=False)])
        else:
            self._answers(ops, [client.execute_command(*self.model.commands(ops[0])[0])])

    def _raw(self, client: redis.Redis, ops: list[Op]) -> None:
        connection = client.connection_pool.get_connection()
        try:
            batch = [
                [("MULTI",), *commands, ("EXEC",)] if op[0] == "transfer" else commands
                for op in ops
                for commands in [self.model.commands(op)]
            ]
            connection.send_packed_command(connection.pack_commands([c for commands in batch for c in commands]))
            for op, commands in zip(ops, batch, strict=True):
                self._answers([op], [[connection.read_response() for _ in commands][-1]])
        finally:
            client.connection_pool.release(connection)

    def _answers(self, ops: list[Op], replies: list[Any]) -> None:
        for op, reply in zip(ops, replies, strict=True):
            expected = self.model.apply(op)
            reply = b"OK" if reply is True and expected == b"OK" else reply
            inner = reply if isinstance(reply, list) else [reply]
            failed = any(isinstance(one, Exception) for one in inner) or (op[0] == "transfer") != (len(inner) == 3)
            if failed or (expected is not None and reply != expected):
                self.wrong.append(f"{self.name}: {op!r:.100} answered {reply!r:.100}, expected {expected!r:.100}")
            self.pending.pop(0)
        self.answered += len(ops)
        self.progress.add(len(ops))


def open_accounts(server: ServerProcess) -> None:
    """The accounts' first balances."""
    with server.client() as client:
        client.mset({f"acct:{i}": START_BALANCE for i in range(ACCOUNTS)})


def _fits(writer: Writer, found: dict[bytes, Value]) -> list[tuple[int, list[int]]]:
    """For each prefix of what was in flight that explains ``found``: shared increments and transfers by then."""
    out = []
    for op in (None, *writer.pending):
        if op is not None:
            writer.model.apply(op)
        if writer.model.state() == found:
            out.append((writer.model.shared, list(writer.model.transfers)))
    return out


def _integer(state: State, key: bytes, default: int) -> int:
    return int(state[0, key][1]) if (0, key) in state else default


def judge(writers: list[Writer], known: State, found: State) -> list[str]:
    """What is wrong with ``found``, read after the restart; ``known`` was there when the writers began."""
    bad = [text for writer in writers for text in writer.wrong]
    groups: dict[bytes, dict[bytes, Value]] = {}
    for (_, key), value in found.items():
        groups.setdefault(key.split(b":")[0], {})[key] = _without_relative_deadline(key, value)
    low, high, moved, all_fit = 0, 0, [0] * ACCOUNTS, True
    for writer in writers:
        own = groups.pop(writer.name.encode(), {})
        answered = writer.model.state()
        fits = _fits(writer, own)
        if not fits:
            all_fit = False
            expected_state, found_state = ({(0, k): v for k, v in part.items()} for part in (answered, own))
            missing = state_differences(expected_state, found_state, 3)
            bad.append(
                f"{writer.name} ({writer.style}): no prefix of the {len(writer.pending)} operations in flight explains "
                f"what is there after {writer.answered} answered ones: " + "; ".join(missing)
            )
            continue
        low, high = low + fits[0][0], high + fits[-1][0]
        moved = [a + b for a, b in zip(moved, fits[-1][1], strict=True)]
    balances = [_integer(found, b"acct:%d" % i, 0) for i in range(ACCOUNTS)]
    if sum(balances) != ACCOUNTS * START_BALANCE:
        bad.append(f"the accounts' sum is {sum(balances)}, not {ACCOUNTS * START_BALANCE}: half a MULTI")
    if all_fit:
        start = _integer(known, b"shared", 0)
        count = _integer(found, b"shared", 0)
        if not start + low <= count <= start + high:
            bad.append(f"the shared counter is {count}, not between {start + low} and {start + high}")
        expected = [_integer(known, b"acct:%d" % i, 0) + moved[i] for i in range(ACCOUNTS)]
        if balances != expected:
            bad.append(f"the accounts are {balances}, not {expected}")
    names = {b"shared", b"acct", *(writer.name.encode() for writer in writers)}
    older = {place: value for place, value in known.items() if place[1].split(b":")[0] not in names}
    rest = {place: value for place, value in found.items() if place[1].split(b":")[0] not in names}
    return bad + [f"keys of older rounds: {line}" for line in state_differences(older, rest)]
