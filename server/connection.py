"""A connection: bytes in, commands run, answers out.

Hot path
--------

A chunk that begins with a request is parsed by one hiredis reader that all
connections share, and each command runs as it comes out of it.  The reader never
keeps a part of a request from one chunk to the next, so it is known where requests
begin: what is left over goes to the client's own strict parser
(``server.request``), which also sees what hiredis cannot judge.  A large chunk is
cut before its last ``*`` line, so that the part left over is found at once; should
that cut have fallen into a value, the chunk is parsed again from its start, without
what has run already.

Back-pressure
-------------

=====================================  =============================================
the socket takes no more               reading pauses until it does
answers held for the log > 1 MiB,      reading pauses until they are released
or held while the log's batch is full
a chunk's answers > 1 MiB and paused   the rest of its commands waits in ``backlog``
a command must wait (``WAITING``)      so does the rest of its chunk; what comes behind is
                                       kept unparsed, and over 1 MiB of it reading pauses
=====================================  =============================================

So what one client makes the server hold is bounded by a chunk, its answers up to
the bound and one answer more, whatever it sends and however slowly it reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import repeat
from operator import itemgetter
from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING, Any

import hiredis

from perdure.server import failures, output_limits
from perdure.server.bounded_reader import READERS_ARE_BOUNDED, announces_many, stands_between_requests
from perdure.server.client import (
    CLOSING,
    NEEDS_AUTH,
    POSTPONED,
    REPLY_OFF,
    SUSPENDED,
    TRACK_DIRTY,
    WAITING,
    Client,
    suppress_reply,
)
from perdure.server.request import ProtocolError, QueryTooBig, RequestParser
from perdure.store import resp
from perdure.store.errors import CommandError

if TYPE_CHECKING:
    from perdure.server.engine import Hot
    from perdure.server.server import Server

NOT_FAST = CLOSING | NEEDS_AUTH | WAITING
_AT_REST = CLOSING | WAITING
_ARRAY = 0x2A  # '*'
_PLUS = 0x2B
"""hiredis takes ``+text`` for an argument, and none can tell afterwards; the strict parser sees to a chunk with it."""
_SPLIT_BYTES = 16 * 1024
_LARGE_ANSWER = 64 * 1024
"""A larger one is not gathered with others for the end of the tick."""
_ALL_TIMED = 100
_TIMED_ONE_IN = 16
"""Behind its first ``_ALL_TIMED`` calls, one in so many calls of a quick command that comes alone is timed, for all."""
MAX_PENDING_BYTES = 1 << 20
"""Answers that one client may have waiting before it is no longer read from."""

_join = b"".join
_name_of = itemgetter(0)
_SLICE = 64
"""So many commands run before it is looked at how large their answers are."""


class Connection(asyncio.Protocol):
    """One client's transport."""

    __slots__ = ("backlog", "client", "engine", "eof", "parser", "paused", "reading", "server", "transport", "write")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.engine = server.engine
        self.client: Client = server.new_client(self)
        self.transport: Any = None
        self.write: Callable[[bytes], object] = _nowhere
        self.parser: RequestParser | None = None
        self.backlog: deque[list[bytes]] = deque()
        self.paused = False
        self.reading = True
        self.eof = False

    # ---- the transport's calls -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came; it may be turned away (``maxclients``, protected mode)."""
        self.transport = transport
        self.write = transport.write  # type: ignore[attr-defined]
        transport.set_write_buffer_limits(high=MAX_PENDING_BYTES // 4)  # type: ignore[attr-defined]
        refusal = self.server.admit_client(self.client, transport)
        if refusal:
            self.transport.write(resp.error(refusal))
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left."""
        self.client.connection = None
        self.client.state |= CLOSING
        self.backlog.clear()
        self.server.forget_client(self.client)

    def eof_received(self) -> bool:
        """The client sends no more; close once its answers have gone."""
        self.eof = True
        if not self.client.state & SUSPENDED and (not self.backlog or self.client.state & WAITING):
            self.close()
        return True

    def pause_writing(self) -> None:
        """The socket takes no more."""
        self.paused = True
        self._set_reading()

    def resume_writing(self) -> None:
        """The socket takes more again."""
        self.paused = False
        self._run_backlog()
        self._set_reading()

    # ---- requests --------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """A chunk came: run every whole request in it, send or queue the answers."""
        client = self.client
        if self.parser is not None or data[0] != _ARRAY or client.state & NOT_FAST or self.backlog:
            self._receive_strictly(data)
            return
        server = self.server
        stats = server.stats
        stats.net_in += len(data)
        if len(data) >= _SPLIT_BYTES:
            self._run_large(data)
            return
        if (_PLUS in data and b"\n+" in data) or (not READERS_ARE_BOUNDED and announces_many(data)):
            self._parse_again(data, 0)
            return
        reader = server.reader
        try:
            reader.feed(data)
            argv = reader.gets()
        except hiredis.ProtocolError:
            self._parse_again(data, 0)
            return
        if argv.__class__ is not list or not argv:
            self._parse_again(data, 0)
            return
        engine = self.engine
        tx = engine.tx
        if tx.client is not client:
            engine.enter(client)
        tx.now_ms = tx.clock_ms = client.interaction_ms = time_ns() // 1_000_000
        if reader.has_data():
            done = self._run_chunk(data, argv)
            if done >= 0:
                self._parse_again(data, done)
            return
        # One whole request and nothing behind it: the way of every client that does not pipeline.
        found = engine.hot.get(argv[0]) if argv[0].__class__ is bytes else None
        if found is None or found[3] & (engine.state | client.state) or not found[1] <= len(argv) <= found[2]:
            self._run_one(argv, data)
            return
        entry = client.last_command = found[4]
        stats.commands += 1
        entry.calls = calls = entry.calls + 1
        slow = len(argv) > found[5]
        began = perf_counter_ns() if slow or calls <= _ALL_TIMED or not calls % _TIMED_ONE_IN else 0
        try:
            reply = found[0](tx, argv)
        except CommandError as error:
            reply = self._refused(found, error)
        except Exception as failure:
            reply = self._failed_reply(argv, failure, data)
        if began:
            weight = 1 if slow or calls <= _ALL_TIMED else _TIMED_ONE_IN
            engine.timings.took(entry, argv, perf_counter_ns() - began, weight)
        if client.held or engine.state & TRACK_DIRTY or len(reply) > _LARGE_ANSWER:
            self._send([reply], self._open_number())
        else:
            engine.tick_answers.append((client, reply))
            if not engine.tick_scheduled:
                engine.schedule_tick()

    def _begin_turn(self) -> None:
        """What runs now runs for this client, at this time."""
        engine, tx = self.engine, self.engine.tx
        if tx.client is not self.client:
            engine.enter(self.client)
        tx.now_ms = tx.clock_ms = self.client.interaction_ms = time_ns() // 1_000_000

    def _refused(self, found: Hot | None, error: CommandError) -> bytes:
        if found is not None:
            found[4].failed_calls += 1
        self.server.stats.count_error(error.text)
        return resp.error(error.text)

    def _receive_strictly(self, data: bytes) -> None:
        client = self.client
        if client.state & CLOSING:
            return
        self.server.stats.net_in += len(data)
        parser = self.parser
        if parser is None:
            parser = self.parser = self._new_parser()
        try:
            parser.feed(data)
        except QueryTooBig:
            failures.too_big(self)
            return
        if client.state & WAITING:
            self._set_reading()
            return
        self._run_strict(once=True)
        # What was left over from the chunk before is done: the rest may go the fast way again.
        if parser.before_array and not client.state & NOT_FAST and not self.backlog:
            self.parser = None
            self._run_large(parser.rest())
        else:
            self._run_strict()

    def _run_large(self, data: bytes) -> None:
        """A chunk that begins with an array; it is cut before its last one, which may not be whole."""
        cut = data.rfind(b"\r\n*") + 2
        if cut <= 2 or b"\n+" in data or (not READERS_ARE_BOUNDED and announces_many(data)):
            self._parse_again(data, 0)
            return
        head = data[:cut]
        reader = self.server.reader
        try:
            reader.feed(head)
            argv = reader.gets()
        except hiredis.ProtocolError:
            argv = False
        if argv.__class__ is not list or not argv:
            self._parse_again(data, 0)
            return
        self._begin_turn()
        done = self._run_chunk(head, argv)
        self._parse_again(*((data[cut:], 0) if done < 0 else (data, done)))

    def _run_chunk(self, data: bytes, argv: Any) -> int:
        """Run ``argv`` and the requests that the reader has behind it.

        Returns -1 if the chunk ended with a whole request, else how many of ``data`` are done with.
        """
        reader = self.server.reader
        batch = [argv]
        whole = False
        # ProtocolError: what stands before it runs, the strict parser says what is wrong.
        with suppress(hiredis.ProtocolError):
            batch += iter(reader.gets, False)
            whole = stands_between_requests(reader)
        found = self._alike(batch)
        done = self._run_mixed(batch, data) if found is None else self._run_alike(found, batch, data)
        if self.client.state & CLOSING:
            self.server.new_reader()
            self.close()
            return -1
        return -1 if whole and done == len(batch) else done

    def _alike(self, batch: list[Any]) -> Hot | None:
        """The quick command that all of a chunk's requests are, with as many arguments each and admitted; else None."""
        try:
            if len(set(map(_name_of, batch))) > 1 or len(set(map(len, batch))) > 1:
                return None
            found = self.engine.hot.get(batch[0][0])
        except (TypeError, LookupError):
            return None
        if found is None or found[3] & (self.engine.state | self.client.state):
            return None
        return found if found[1] <= len(batch[0]) <= min(found[2], found[5]) else None

    def _run_alike(self, found: Hot, batch: list[list[bytes]], data: bytes) -> int:
        """Run a chunk of the same command, the way of a client that pipelines; how many are done with."""
        handler, tx, entry = found[0], self.engine.tx, found[4]
        out: list[bytes] = []
        done = 0
        began = perf_counter_ns()
        while done < len(batch):
            before = len(out)
            failure: Exception | None = None
            try:
                out.extend(map(handler, repeat(tx), batch[done : done + _SLICE]))
            except CommandError as error:
                out.append(self._refused(found, error))
            except Exception as error:
                failure = error
            done += len(out) - before
            if failure is not None:
                self._send(out, self._open_number())
                return self._failed(failure, data, done)
            if sum(map(len, out)) > MAX_PENDING_BYTES:
                self._send(out, self._open_number())
                out.clear()
                if self._must_wait():
                    break
        entry.calls += done
        self.engine.timings.took_together(entry, done, perf_counter_ns() - began)
        self.server.stats.commands += done
        self.client.last_command = entry
        self._send(out, self._open_number())
        return self._put_off(batch, done)

    def _run_mixed(self, batch: list[Any], data: bytes) -> int:
        """Run a chunk of whatever requests; how many are done with."""
        client, engine = self.client, self.engine
        tx, hot, timings = engine.tx, engine.hot.get, engine.timings
        out: list[bytes] = []
        state = engine.state | client.state
        done = pending = holding = 0
        try:
            for argv in batch:
                found = hot(argv[0])
                if found is not None and not found[3] & state and found[1] <= len(argv) <= found[2]:
                    began = perf_counter_ns()
                    try:
                        reply = found[0](tx, argv)
                    except CommandError as error:
                        reply = self._refused(found, error)
                    entry = client.last_command = found[4]
                    entry.calls += 1
                    timings.took(entry, argv, perf_counter_ns() - began)
                else:
                    was = state
                    reply = self._execute(argv)
                    state = engine.state | client.state
                    if state & TRACK_DIRTY and not was & TRACK_DIRTY and tx.records:
                        holding = engine.open_number  # nobody looked at the keys of what ran before
                    if engine.need > holding:
                        self._send(out, holding)
                        holding = engine.need
                        out.clear()
                out.append(reply)
                done += 1
                pending += len(reply)
                if pending > MAX_PENDING_BYTES or state & _AT_REST:
                    self._send(out, max(holding, self._open_number()))
                    out.clear()
                    pending = 0
                    if self._must_wait():
                        break
        except Exception as failure:
            self._send(out, max(holding, self._open_number()))
            self.server.stats.commands += done
            if batch[done].__class__ is not list or not batch[done]:
                return done  # no array: the strict parser knows what it is
            return self._failed(failure, data, done)
        self.server.stats.commands += done
        self._send(out, max(holding, self._open_number()))
        return self._put_off(batch, done)

    def _put_off(self, batch: list[list[bytes]], done: int) -> int:
        """What of a chunk has not run for so many answers waiting goes to the backlog; how many are done with."""
        if done < len(batch) and not self.client.state & CLOSING:
            self.backlog.extend(batch[done:])
        return len(batch)

    def _failed(self, failure: Exception, data: bytes, done: int) -> int:
        """A command raised what no command should, at request ``done`` of the chunk; how many are done with."""
        argv = self._strictly(data, done)
        if argv:
            self._send([failures.internal_error(self, argv[0], failure)], self._open_number())
            return done + 1
        return done

    def _failed_reply(self, argv: list[bytes], failure: Exception, data: bytes) -> bytes:
        """A command raised what no command should: the client's fault, or the command's?"""
        if self._strictly(data, 0) is None:
            self._parse_again(data, 0)
            return b""
        return failures.internal_error(self, argv[0], failure)

    def _strictly(self, data: bytes, skip: int) -> list[bytes] | None:
        """Request number ``skip`` of a chunk as the strict parser sees it; None if it breaks the protocol."""
        parser = self._new_parser()
        try:
            parser.feed(data)
            for _ in range(skip):
                parser.next()
            return parser.next()
        except (ProtocolError, QueryTooBig):
            return None

    def _parse_again(self, data: bytes, skip: int) -> None:
        """Give a chunk to a strict parser of its own, without its first ``skip`` requests."""
        self.server.new_reader()
        if self.client.state & CLOSING:
            return
        parser = self.parser = self._new_parser()
        try:
            parser.feed(data)
            for _ in range(skip):
                parser.next()
        except ProtocolError as error:
            self._protocol_error(error)
            return
        except QueryTooBig:
            failures.too_big(self)
            return
        self._run_strict()

    def _run_strict(self, once: bool = False) -> None:
        """Run what the strict parser has, one request or all."""
        parser, client = self.parser, self.client
        while parser is not None and not client.state & _AT_REST:
            parser.authenticated = not client.state & NEEDS_AUTH
            try:
                argv = parser.next()
            except ProtocolError as error:
                self._protocol_error(error)
                return
            except QueryTooBig:
                failures.too_big(self)
                return
            if argv is None:
                break
            if not argv:
                if client.state & REPLY_OFF:
                    suppress_reply(client, b"")  # stock takes an empty request for the one that SKIP is about
                continue
            if self.backlog or self._must_wait():
                self.backlog.append(argv)
                continue
            self._run_one(argv)
            if once:
                break
        if parser is not None and parser.idle:
            self.parser = None

    def _run_one(self, argv: list[bytes], data: bytes = b"") -> None:
        """Run one command the careful way and send its answer; ``data`` is its chunk if only hiredis has seen it."""
        self._begin_turn()
        engine = self.engine
        try:
            reply = self._execute(argv)
        except Exception as failure:
            reply = self._failed_reply(argv, failure, data) if data else failures.internal_error(self, argv[0], failure)
        self.server.stats.commands += 1
        self._send([reply], max(engine.need, self._open_number()))
        if self.client.state & CLOSING:
            self.close()

    def _execute(self, argv: list[bytes]) -> bytes:
        engine, client = self.engine, self.client
        engine.need = 0
        resp.require_bytes(argv)
        if client.state & CLOSING:
            return b""
        reply = engine.execute(client, argv)
        if client.state & POSTPONED:
            self.backlog.appendleft(argv)
            self.server.stats.commands -= 1
        elif client.state & REPLY_OFF and not client.state & WAITING:
            reply = suppress_reply(client, reply)
        return engine.outbox.around(reply)

    def _run_backlog(self) -> None:
        while self.backlog and not self._must_wait() and not self.client.state & CLOSING:
            self._run_one(self.backlog.popleft())
        if self.parser is not None and not self.backlog:
            self._run_strict()  # what came while the client was blocked
        if self.eof and not self.backlog:
            self.close()

    # ---- what is wrong -----------------------------------------------------------------------

    def _new_parser(self) -> RequestParser:
        config = self.server.limits
        return RequestParser(
            authenticated=not self.client.state & NEEDS_AUTH,
            max_bulk=config.max_bulk_bytes,
            max_held=config.max_query_bytes,
        )

    def _protocol_error(self, error: ProtocolError) -> None:
        self._send([failures.protocol_error(self, error.text)], self._open_number())
        self.close()

    # ---- answers -----------------------------------------------------------------------------

    def _open_number(self) -> int:
        """The batch that an answer given now must wait for where nobody looks at keys; 0 for none."""
        engine = self.engine
        return engine.open_number if engine.tx.records and not engine.state & TRACK_DIRTY else 0

    def _send(self, out: list[bytes], number: int) -> None:
        """Answers, in order, that may go once batch ``number`` is safe (0: at once)."""
        data = out[0] if len(out) == 1 else _join(out)
        if not data:
            return
        client, engine = self.client, self.engine
        if not client.held and len(data) <= _LARGE_ANSWER:
            if not engine.state & TRACK_DIRTY:
                engine.tick_answers.append((client, data))
                engine.schedule_tick()
                return
            if not number and not engine.tick_answers:
                engine.free_answers.append((client, data))
                engine.schedule_tick()
                return
        if number or client.held or (engine.tick_answers and engine.state & TRACK_DIRTY):
            engine.hold(client, number, data)
            if client.held_bytes > MAX_PENDING_BYTES or engine.log.full:
                self._set_reading()
        else:
            engine.send_earlier(client)
            self._write(data)

    def answer_late(self, reply: bytes, number: int) -> None:
        """The answer to a command that has blocked; it may go once batch ``number`` is safe."""
        if self.client.state & REPLY_OFF:
            reply = suppress_reply(self.client, reply)
        self._send([reply], max(number, self._open_number()))

    def resume(self) -> None:
        """The client was blocked and is answered: go on behind that."""
        self._run_backlog()
        self._set_reading()

    def send_released(self, data: bytes) -> None:
        """The engine lets held answers go."""
        if data:
            self._write(data)
        if not self.client.held and self.client.state & CLOSING:
            self.transport.close()
        elif not self.reading or self.backlog:
            self._run_backlog()
            self._set_reading()

    def _write(self, data: bytes) -> None:
        self.server.stats.net_out += len(data)
        self.write(data)
        if len(data) > MAX_PENDING_BYTES or self.paused:
            output_limits.check(self.server, self.client)

    def _must_wait(self) -> bool:
        """Has the client so many answers waiting that it gets no more for now?"""
        client = self.client
        return (
            self.paused
            or client.held_bytes > MAX_PENDING_BYTES
            or bool(client.state & _AT_REST)
            or (self.engine.log.full and bool(client.held))
        )

    def _set_reading(self) -> None:
        if self.client.state & WAITING:
            want = self.parser is None or self.parser.held_bytes <= MAX_PENDING_BYTES
        else:
            want = not self._must_wait() and not self.backlog
        if want is self.reading or self.transport is None or self.transport.is_closing():
            return
        self.reading = want
        if want:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def close(self) -> None:
        """Close once what was answered has gone."""
        self.server.engine.waits.forget(self.client)
        self.client.state |= CLOSING
        self.backlog.clear()
        self.parser = None
        if not self.client.held and not self.engine.answers_in_tick(self.client) and self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close at once; what has not gone yet is lost."""
        self.server.engine.waits.forget(self.client)
        self.client.state |= CLOSING
        self.backlog.clear()
        self.parser = None
        if self.transport is not None:
            self.transport.abort()


def _nowhere(data: bytes) -> None:
    """Where a connection writes that is not made yet."""
