# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, nonecheck=False
"""The hot path, compiled: client sockets without an event loop's transport, requests without a parser's objects.

Role.  ``Poller`` has an epoll of its own inside the event loop's: the loop sees one
descriptor, and one turn of ``Poller.turn`` reads every client that has sent
something, runs what is whole, commits the open batch and sends the answers, as a
tick of the engine is (``server.engine``).  ``Transport`` is what a ``Connection``
sees of its socket, with the names of asyncio's transports.

A turn that finds few of the clients that were active of late waits some microseconds
for more (``wait_for_more``): it makes groups of requests, as it makes groups of commits.

What runs here.  A request is run here if it is an array of bulk strings in its
canonical form, or a line of plain words, and its command is in ``engine.hot`` and no
gate of it is closed, the most frequent ones by a compiled shortcut (``store.shortcuts``);
PING, and GET and SET of plain keys, even without a call.  Everything else is handed to the ``Connection``, byte for byte from where
the first such request begins: it is the one place that knows the protocol's odd
corners, held answers and back-pressure, and it does all of this alone where this
module is not built.  So this module may only do what ``Connection`` would have done,
sooner.

Bounds.  A request that is not whole stays here up to ``PARTIAL`` bytes, then goes to
the connection's strict parser.  Answers of a chunk go to the engine at
``MAX_PENDING``; what the socket does not take waits in ``Transport``, and the
connection stops reading from a client that does not read.

It must not know: what commands do (but for GET and SET on a plain table), the log.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Contains, PyDict_SetItem, PyDict_Size
from cpython.list cimport PyList_New, PyList_SET_ITEM
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy
from libc.time cimport time_t

import os
from collections import deque
from contextlib import suppress
from socket import SHUT_RDWR

from perdure.server import connection as connections
from perdure.server import failures
from perdure.server.client import CLOSING, TRACK_DIRTY, Client
from perdure.server.connection import Connection
from perdure.server.tx import ServerTx
from perdure.store.database import Database
from perdure.store.errors import CommandError
from perdure.store.shortcuts import SHORTCUTS
from perdure.store.tx import Tx

include "../store/slots.pxi"

cdef extern from "Python.h":
    PyObject* PyDict_GetItemWithError(object table, object key) except? NULL
    int _PyBytes_Resize(PyObject** text, Py_ssize_t size) except -1
    PyObject* PyBytes_FromStringAndSize_raw "PyBytes_FromStringAndSize"(const char* text, Py_ssize_t size)

cdef extern from "time.h" nogil:
    cdef struct timespec:
        time_t tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec* now)
    int CLOCK_REALTIME
    int CLOCK_MONOTONIC

cdef extern from "sys/epoll.h" nogil:
    cdef union epoll_data:
        void* ptr
        int fd
    cdef struct epoll_event:
        uint32_t events
        epoll_data data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int most, int timeout_ms)
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    uint32_t EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP

cdef extern from "sys/socket.h" nogil:
    Py_ssize_t c_recv "recv"(int fd, void* buf, size_t size, int flags)
    Py_ssize_t c_send "send"(int fd, const void* buf, size_t size, int flags)
    int MSG_DONTWAIT, MSG_NOSIGNAL

cdef enum:
    EVENTS = 512
    CHUNK = 65536
    PARTIAL = 16384
    LARGE_CHUNK = 262144
    LARGE_ANSWER = 65536
    MAX_PENDING = 1048576
    MAX_ARGUMENTS = 4096
    ROUNDS = 16
    TURN_NS = 4000000
    WINDOW_EVENTS = 256
    WINDOW_NS = 20000000
    ACTIVE_LEAST = 8
    GATHER_NS = 20000
    SPIN_NS = 3000
    BACK_OFF_MOST = 256
    ALL_TIMED = 100
    TIMED_ONE_IN = 16
    MOST_NS = 1000000000
    HIGH_WATER = 262144
    LOW_WATER = 65536
    WHOLE = 0
    NOT_YET = 1
    ODD = 2

cdef int NOT_FAST = connections.NOT_FAST
cdef int TRACKED = TRACK_DIRTY
cdef int IS_CLOSING = CLOSING
cdef bytes OK = b"+OK\r\n"
cdef bytes PONG = b"+PONG\r\n"


cdef Py_ssize_t CLIENT_STATE = place_of(Client, "state")
cdef Py_ssize_t CLIENT_HELD = place_of(Client, "held")
cdef Py_ssize_t CLIENT_CONNECTION = place_of(Client, "connection")
cdef Py_ssize_t CLIENT_INTERACTION = place_of(Client, "interaction_ms")
cdef Py_ssize_t CLIENT_LAST = place_of(Client, "last_command")
cdef Py_ssize_t CLIENT_DB = place_of(Client, "db_index")
cdef Py_ssize_t CLIENT_RESP3 = place_of(Client, "resp3")
cdef Py_ssize_t CONNECTION_PARSER = place_of(Connection, "parser")
cdef Py_ssize_t CONNECTION_BACKLOG = place_of(Connection, "backlog")
cdef Py_ssize_t CONNECTION_TRANSPORT = place_of(Connection, "transport")
cdef Py_ssize_t DATABASE_EXPIRES = place_of(Database, "expires")
cdef Py_ssize_t DATABASE_ORDER = place_of(Database, "order")
cdef Py_ssize_t TX_NOW = place_of(Tx, "now_ms")
cdef Py_ssize_t TX_CLOCK = place_of(Tx, "clock_ms")
cdef Py_ssize_t TX_DB = place_of(Tx, "db")
cdef Py_ssize_t TX_DB_INDEX = place_of(Tx, "db_index")
cdef Py_ssize_t TX_RESP3 = place_of(Tx, "resp3")
cdef Py_ssize_t TX_NOTIFYING = place_of(Tx, "notifying")
cdef Py_ssize_t TX_RECORDS = place_of(Tx, "records")
cdef Py_ssize_t TX_ROOM = place_of(Tx, "room")
cdef Py_ssize_t TX_CLIENT = place_of(ServerTx, "client")


cdef class HotCommand:
    """One entry of ``engine.hot``, and its calls that are not booked in the command table yet."""

    cdef object found, handler, entry
    cdef dict durations
    cdef Py_ssize_t least, most, quick
    cdef long gate
    cdef long calls, total
    cdef long long nanoseconds
    cdef bint listed

    def __init__(self, found):
        self.found = found
        handler, least, most, gate, self.entry, quick = found
        self.handler = SHORTCUTS.get(handler, handler)
        self.durations = self.entry.durations
        self.least = least
        self.most = most
        self.gate = gate
        self.quick = quick
        self.calls = self.total = self.nanoseconds = 0
        self.listed = False


cdef extern from *:
    """
    #if defined(__x86_64__) || defined(__i386__)
    /* Leaves the core's other thread, or another guest, what a busy wait would take. */
    static inline void relax(void) { for (int i = 0; i < 16; i++) __builtin_ia32_pause(); }
    #else
    static inline void relax(void) { }
    #endif
    """
    void relax() noexcept nogil


cdef inline long long monotonic_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <long long>now.tv_sec * 1000000000 + now.tv_nsec


cdef inline long long unix_ms() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <long long>now.tv_sec * 1000 + now.tv_nsec // 1000000


cdef inline Py_ssize_t read_number(const char* text, Py_ssize_t at, Py_ssize_t end, Py_ssize_t* number) noexcept nogil:
    """Read a canonical number below 10**9 and its CRLF; where it ends, 0 if the chunk ends first, -1 if it is none."""
    cdef Py_ssize_t start = at
    cdef Py_ssize_t value = 0
    cdef int digit
    while at < end:
        digit = text[at] - 48
        if digit < 0 or digit > 9:
            break
        value = value * 10 + digit
        at += 1
        if at - start > 9:
            return -1
    if at + 2 > end:
        return 0
    if at == start or text[at] != 13 or text[at + 1] != 10 or (text[start] == 48 and at - start > 1):
        return -1
    number[0] = value
    return at + 2


cdef inline bint same_word(const char* text, const char* word) noexcept nogil:
    """Are these three letters that word?"""
    return text[0] == word[0] and text[1] == word[1] and text[2] == word[2]


cdef class Transport:
    """A client's socket, with the methods of an asyncio transport that ``Connection`` calls."""

    cdef Poller poller
    cdef object sock, connection, client, pending
    cdef int fd
    cdef uint32_t watched
    cdef bint reading, closing, ended, eof, above
    cdef Py_ssize_t pending_bytes, offset
    cdef bytes partial
    cdef long long window

    def __init__(self, Poller poller, sock, connection):
        self.poller = poller
        self.sock = sock
        self.fd = sock.fileno()
        self.connection = connection
        self.client = connection.client
        self.pending = deque()
        self.partial = b""
        self.reading = True

    # ---- what a connection calls ----------------------------------------------------

    cpdef write(self, data):
        """Send what the socket takes, keep the rest."""
        cdef Py_ssize_t size, sent
        if self.ended:
            return
        if not isinstance(data, bytes):
            data = bytes(data)
        size = PyBytes_GET_SIZE(data)
        if not self.pending_bytes:
            sent = self.send(PyBytes_AS_STRING(data), size)
            if sent == size or sent < 0:
                return
            self.offset = sent
        else:
            sent = 0
        self.pending.append(data)
        self.pending_bytes += size - sent
        self.watch()
        if self.pending_bytes > HIGH_WATER and not self.above:
            self.above = True
            self.connection.pause_writing()

    def pause_reading(self):
        """Read nothing until ``resume_reading``."""
        self.reading = False
        self.watch()

    def resume_reading(self):
        """Read again."""
        self.reading = not self.eof and not self.closing
        self.watch()

    def close(self):
        """End once what was written has been sent."""
        if self.closing:
            return
        self.closing = True
        self.reading = False
        self.watch()
        if not self.pending_bytes:
            self.end(None)

    def abort(self):
        """End at once, so that the other end sees it before whoever wanted that is answered (CLIENT KILL)."""
        self.closing = True
        if not self.ended:
            with suppress(OSError):
                self.sock.shutdown(SHUT_RDWR)
        self.end(None)

    def is_closing(self):
        """Was it closed, by whomever?"""
        return self.closing

    def set_write_buffer_limits(self, high=None, low=None):
        """The marks are fixed here: pause above 256 KiB, resume below 64 KiB."""

    def get_write_buffer_size(self):
        """Bytes that the socket did not take yet."""
        return self.pending_bytes

    def get_extra_info(self, name, default=None):
        """``socket``, ``peername``, ``sockname``."""
        if name == "socket":
            return self.sock
        try:
            if name == "peername":
                return self.sock.getpeername()
            if name == "sockname":
                return self.sock.getsockname()
        except OSError:
            pass
        return default

    # ---- what the poller calls --------------------------------------------------------

    cdef Py_ssize_t send(self, const char* data, Py_ssize_t size):
        """Send once; how much went, -1 if the connection is broken."""
        cdef Py_ssize_t sent
        while True:
            sent = c_send(self.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent >= 0:
                return sent
            if errno == EAGAIN:
                return 0
            if errno != EINTR:
                self.broken(errno)
                return -1

    cdef drain(self):
        """The socket takes more: send what waits."""
        cdef Py_ssize_t sent, size
        while self.pending_bytes:
            data = self.pending[0]
            size = PyBytes_GET_SIZE(data) - self.offset
            sent = self.send(PyBytes_AS_STRING(data) + self.offset, size)
            if sent < 0:
                return
            self.pending_bytes -= sent
            if sent < size:
                self.offset += sent
                break
            self.offset = 0
            self.pending.popleft()
        if self.above and self.pending_bytes <= LOW_WATER:
            self.above = False
            self.connection.resume_writing()
        if self.ended:
            return
        self.watch()
        if self.closing and not self.pending_bytes:
            self.end(None)

    cdef watch(self):
        """Tell the kernel what is waited for."""
        cdef epoll_event event
        cdef uint32_t wanted = 0
        if self.ended:
            return
        if self.reading:
            wanted |= EPOLLIN
        if self.pending_bytes:
            wanted |= EPOLLOUT
        if wanted != self.watched:
            self.watched = wanted
            event.events = wanted
            event.data.ptr = <void*>self
            epoll_ctl(self.poller.epfd, EPOLL_CTL_MOD, self.fd, &event)

    cdef broken(self, int code):
        self.closing = True
        self.end(OSError(code, os.strerror(code)))

    cdef end(self, exc):
        """Have the connection told, in a turn of its own, that it has ended."""
        if not self.ended:
            self.ended = True
            self.reading = False
            self.pending.clear()
            self.pending_bytes = 0
            self.poller.loop.call_soon(self._finish, exc)

    def _finish(self, exc):
        self.poller.forget(self)
        try:
            self.connection.connection_lost(exc)
        finally:
            self.sock.close()


cdef class Poller:
    """All client sockets of one server; the loop calls ``turn`` when one of them has something."""

    cdef int epfd
    cdef epoll_event events[EVENTS]
    cdef char* buffer
    cdef char* out
    cdef Py_ssize_t out_size, out_room
    cdef Py_ssize_t at[MAX_ARGUMENTS]
    cdef Py_ssize_t length[MAX_ARGUMENTS]
    cdef object loop, server, engine, tx, stats, timings
    cdef dict hot
    cdef list called
    cdef set transports
    cdef HotCommand get, set_, ping
    cdef long long commands, received, now_ms
    # What is known of ``server.timings``; when the last chunk ended, 0 if something else ran since.
    cdef long long watch_ns, chunk_ended
    cdef bint tracking, was_timed
    cdef object now
    # What is known of the keyspace while a chunk runs.
    cdef bint plain, room_changed
    cdef Py_ssize_t room
    cdef object db, expires
    cdef list records
    cdef bytes alone
    # What is known of the engine until somebody else runs.
    cdef bint known
    cdef int state
    cdef list answers
    # How many clients were active of late (``wait_for_more``).
    cdef long long window, window_ends
    cdef int window_events, window_clients, active
    cdef int fruitless, back_off

    def __cinit__(self):
        self.epfd = -1
        self.buffer = <char*>malloc(PARTIAL + CHUNK)
        self.out_room = CHUNK
        self.out = <char*>malloc(self.out_room)
        if self.buffer == NULL or self.out == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.buffer)
        free(self.out)

    def __init__(self, server):
        self.server = server
        self.loop = server.loop
        self.engine = server.engine
        self.tx = server.engine.tx
        self.stats = server.stats
        self.called = []
        self.transports = set()
        found = {key: HotCommand(value) for key, value in server.engine.hot.items() if key.isupper()}
        self.hot = {key: found[key.upper()] for key in server.engine.hot}
        self.get = self.hot.get(b"GET")
        self.set_ = self.hot.get(b"SET")
        self.ping = self.hot.get(b"PING")
        self.epfd = epoll_create1(EPOLL_CLOEXEC)
        if self.epfd < 0:
            raise OSError(errno, os.strerror(errno))
        self.engine.send_all = self.send_all
        self.timings = server.engine.timings
        self.timings.changed = self.look_at_timings
        self.look_at_timings()
        self.loop.add_reader(self.epfd, self.turn)

    def add(self, sock, connection):
        """Take in a client whose socket has just been accepted."""
        cdef Transport transport = Transport(self, sock, connection)
        cdef epoll_event event
        sock.setblocking(False)
        event.events = transport.watched = EPOLLIN
        event.data.ptr = <void*>transport
        if epoll_ctl(self.epfd, EPOLL_CTL_ADD, transport.fd, &event) != 0:
            raise OSError(errno, os.strerror(errno))
        self.transports.add(transport)
        connection.connection_made(transport)

    def look_at_timings(self):
        """See what is to be timed."""
        cdef HotCommand command
        self.watch_ns = self.timings.watch_ns
        self.tracking = self.timings.tracking
        for command in self.hot.values():
            command.total = command.entry.calls

    def close(self):
        """Watch nobody any more."""
        if self.epfd >= 0:
            self.loop.remove_reader(self.epfd)
            os.close(self.epfd)
            self.epfd = -1

    cdef forget(self, Transport transport):
        if self.epfd >= 0:
            epoll_ctl(self.epfd, EPOLL_CTL_DEL, transport.fd, NULL)
        self.transports.discard(transport)

    def turn(self):
        """Ticks of the engine, while clients have sent something and the loop's other work can wait."""
        cdef int count, index
        cdef int rounds = 0
        cdef long long ends = monotonic_ns() + TURN_NS
        engine = self.engine
        while self.epfd >= 0:
            count = epoll_wait(self.epfd, self.events, EVENTS, 0)
            if count <= 0:
                return
            if self.active >= ACTIVE_LEAST and 2 * count < self.active:
                count = self.wait_for_more(count)
            self.note_active(count)
            engine.tick_scheduled = True
            self.known = False
            self.chunk_ended = 0
            try:
                for index in range(count):
                    self.ready(<Transport>self.events[index].data.ptr, self.events[index].events)
                self.book()
            finally:
                engine.end_of_tick()
            rounds += 1
            if rounds == ROUNDS or monotonic_ns() > ends:
                return

    cdef void note_active(self, int count):
        """Count who is active, in windows of some events each."""
        cdef int index
        cdef long long now
        cdef Transport transport
        for index in range(count):
            transport = <Transport>self.events[index].data.ptr
            if transport.window != self.window:
                transport.window = self.window
                self.window_clients += 1
        self.window_events += count
        if self.window_events >= WINDOW_EVENTS:
            now = monotonic_ns()
            self.active = self.window_clients if now < self.window_ends else 0
            self.window += 1
            self.window_ends = now + WINDOW_NS
            self.window_events = self.window_clients = 0

    cdef int wait_for_more(self, int count):
        """Wait for half of the active clients, some microseconds at most.  Returns how many have sent something.

        A tick of few requests costs nearly as much as one of many: a write of the log, and on both sides
        the way to sleep and back.  Where clients take turns with pauses of their own nobody comes, and
        it is tried less and less often.
        """
        cdef long long now, step, ends
        cdef int found = count
        if self.back_off > 0:
            self.back_off -= 1
            return count
        now = monotonic_ns()
        ends = now + GATHER_NS
        while 2 * found < self.active and now < ends:
            step = now + SPIN_NS
            while now < step:
                relax()
                now = monotonic_ns()
            found = max(epoll_wait(self.epfd, self.events, EVENTS, 0), 0)
        if found > count:
            self.fruitless = 0
        else:
            self.fruitless = min(2 * self.fruitless + 1, BACK_OFF_MOST)
            self.back_off = self.fruitless
        return found

    cdef ready(self, Transport transport, uint32_t events):
        """One client's turn.  What goes wrong in it ends its connection and no other."""
        try:
            if events & EPOLLOUT and not transport.ended:
                transport.drain()
                self.chunk_ended = 0
            if not transport.ended and events & (EPOLLIN | EPOLLERR | EPOLLHUP):
                if transport.reading:
                    self.receive(transport)
                elif events & (EPOLLERR | EPOLLHUP):
                    transport.closing = True
                    transport.end(None)
        except Exception as error:
            self.settle()
            self.book()
            self.alone = None
            self.out_size = 0
            self.loop.call_exception_handler({"message": "a connection failed", "exception": error})
            transport.abort()

    cdef receive(self, Transport transport):
        """Read once, and run what came."""
        cdef Py_ssize_t have, got, used
        cdef int state, why
        connection = transport.connection
        state = slot(transport.client, CLIENT_STATE)
        if slot(connection, CONNECTION_PARSER) is not None or state & NOT_FAST or slot(connection, CONNECTION_BACKLOG):
            self.receive_strictly(transport)
            return
        have = PyBytes_GET_SIZE(transport.partial)
        if have:
            memcpy(self.buffer, PyBytes_AS_STRING(transport.partial), have)
        got = self.recv(transport, self.buffer + have, CHUNK)
        if got <= 0:
            return
        if have:
            transport.partial = b""
        why = WHOLE
        used = self.run(transport, self.buffer, have + got, &why)
        if used < have + got:
            if why == NOT_YET and have + got - used < PARTIAL:
                transport.partial = PyBytes_FromStringAndSize(self.buffer + used, have + got - used)
            elif not transport.ended:
                rest = PyBytes_FromStringAndSize(self.buffer + used, have + got - used)
                self.book()
                self.known = False
                self.chunk_ended = 0
                if connection._must_wait():
                    connection._receive_strictly(rest)
                else:
                    connection.data_received(rest)

    cdef receive_strictly(self, Transport transport):
        """Read once, for the connection's own parser."""
        cdef PyObject* text = PyBytes_FromStringAndSize_raw(NULL, LARGE_CHUNK)
        cdef Py_ssize_t got
        if text == NULL:
            raise MemoryError
        got = self.recv(transport, PyBytes_AS_STRING(<object>text), LARGE_CHUNK)
        _PyBytes_Resize(&text, got if got > 0 else 0)
        data = <object>text
        Py_DECREF(data)
        if got > 0:
            if transport.partial:
                data = transport.partial + data
                transport.partial = b""
            self.book()
            self.known = False
            self.chunk_ended = 0
            transport.connection.data_received(data)

    cdef Py_ssize_t recv(self, Transport transport, char* into, Py_ssize_t most) except -2:
        """Read once; 0 if there is nothing, or the end, which the connection is told."""
        cdef Py_ssize_t got
        while True:
            got = c_recv(transport.fd, into, most, MSG_DONTWAIT)
            if got > 0:
                return got
            if got == 0:
                transport.eof = True
                transport.reading = False
                transport.watch()
                if not transport.connection.eof_received():
                    transport.close()
                return 0
            if errno == EAGAIN:
                return 0
            if errno != EINTR:
                transport.broken(errno)
                return 0

    # ---- requests ----------------------------------------------------------------------

    cdef Py_ssize_t run(self, Transport transport, const char* text, Py_ssize_t size, int* why) except -2:
        """Run the whole requests of a chunk; how many bytes are done with, and why no more."""
        cdef Py_ssize_t done = 0
        cdef Py_ssize_t end, arguments
        cdef int state
        cdef long long before = self.commands
        cdef HotCommand hot
        cdef HotCommand last = None
        if not self.chunk_ended:
            self.chunk_ended = monotonic_ns()
        self.was_timed = False
        state = self.begin(transport)
        while done < size:
            end = self.find_arguments(text, done, size, &arguments)
            if end <= 0:
                why[0] = NOT_YET if end == 0 else ODD
                break
            hot = self.run_plain(text, done, end, arguments, state)
            if hot is None:
                argv = self.argv_of(text, arguments)
                hot = self.hot.get(argv[0])
                if hot is None or hot.gate & state or not hot.least <= arguments <= hot.most:
                    self.run_carefully(transport, argv)
                    done = end
                    if not self.goes_on(transport):
                        why[0] = ODD
                        return done
                    state = self.begin(transport)
                    continue
                self.run_hot(transport, hot, argv)
                if not self.known:
                    state = self.begin(transport)
            done = end
            last = hot
            if self.out_size > MAX_PENDING:
                self.send_out(transport)
                if transport.connection._must_wait():
                    why[0] = ODD
                    break
        self.settle()
        self.received += done
        if last is not None:
            set_slot(transport.client, CLIENT_LAST, last.entry)
            self.time_chunk(text, arguments, last, done == size and self.commands - before == 1 and not self.was_timed)
        self.send_out(transport)
        return done

    cdef int begin(self, Transport transport) except -1:
        """The client's turn begins: what runs, runs for it and at this time.  Returns what may close gates."""
        cdef long long now_ms = unix_ms()
        tx = self.tx
        client = transport.client
        if not self.known:
            self.now_ms = 0
            self.state = self.engine.state
            self.answers = self.engine.tick_answers
            self.known = True
        if slot(tx, TX_CLIENT) is not client:
            if slot(tx, TX_DB_INDEX) is slot(client, CLIENT_DB) and slot(tx, TX_RESP3) is slot(client, CLIENT_RESP3):
                set_slot(tx, TX_CLIENT, client)
            else:
                self.engine.enter(client)
        if now_ms != self.now_ms:
            self.now_ms = now_ms
            self.now = now_ms
            set_slot(tx, TX_NOW, self.now)
            set_slot(tx, TX_CLOCK, self.now)
        set_slot(client, CLIENT_INTERACTION, self.now)
        self.room_changed = False
        self.look()
        return self.state | <int>slot(client, CLIENT_STATE)

    cdef look(self):
        """See what the keyspace is now: a command may have emptied, exchanged or watched it."""
        tx = self.tx
        self.db = slot(tx, TX_DB)
        self.plain = type(self.db) is Database and not slot(tx, TX_NOTIFYING)
        if self.plain:
            self.expires = slot(self.db, DATABASE_EXPIRES)
            self.records = slot(tx, TX_RECORDS)
            self.room = slot(tx, TX_ROOM)

    cdef settle(self):
        """Tell the open batch what of its room is used, before anybody else looks."""
        if self.room_changed:
            set_slot(self.tx, TX_ROOM, self.room)
            self.room_changed = False

    cdef Py_ssize_t find_arguments(self, const char* text, Py_ssize_t at, Py_ssize_t size, Py_ssize_t* count) noexcept:
        """Where the arguments of the request at ``at`` stand; its end, 0 if it is not whole, -1 if it is odd."""
        cdef Py_ssize_t index, length
        if text[at] != 42:  # *
            return self.find_words(text, at, size, count)
        at = read_number(text, at + 1, size, count)
        if at <= 0:
            return at
        if count[0] < 1 or count[0] > MAX_ARGUMENTS:
            return -1
        for index in range(count[0]):
            if at >= size:
                return 0
            if text[at] != 36:  # $
                return -1
            at = read_number(text, at + 1, size, &length)
            if at <= 0:
                return at
            if length > size - at - 2:
                return 0 if length < PARTIAL else -1
            self.at[index] = at
            self.length[index] = length
            at += length
            if text[at] != 13 or text[at + 1] != 10:
                return -1
            at += 2
        return at

    cdef Py_ssize_t find_words(self, const char* text, Py_ssize_t at, Py_ssize_t size, Py_ssize_t* count) noexcept:
        """The same for an inline request of words between single blanks; any other is odd."""
        cdef Py_ssize_t start = at
        count[0] = 0
        while at < size and count[0] < 8:
            if text[at] == 32 or text[at] == 13:
                if at == start:
                    return -1
                self.at[count[0]] = start
                self.length[count[0]] = at - start
                count[0] += 1
                start = at + 1
                if text[at] == 13:
                    if start == size:
                        return 0
                    return start + 1 if text[start] == 10 else -1
            elif text[at] < 33 or text[at] == 34 or text[at] == 39:  # control characters, quotes, other alphabets
                return -1
            at += 1
        return -1 if count[0] == 8 else 0

    cdef list argv_of(self, const char* text, Py_ssize_t count):
        """The arguments that ``find_arguments`` found."""
        cdef list argv = PyList_New(count)
        cdef Py_ssize_t index
        for index in range(count):
            argument = PyBytes_FromStringAndSize(text + self.at[index], self.length[index])
            Py_INCREF(argument)
            PyList_SET_ITEM(argv, index, argument)
        return argv

    cdef HotCommand run_plain(self, const char* text, Py_ssize_t start, Py_ssize_t end, Py_ssize_t count, int state):
        """Run PING, or GET or SET of a plain key, here; None if it is none of them, or not as plain as that."""
        cdef const char* name = text + self.at[0]
        cdef HotCommand command
        cdef bint lower
        cdef PyObject* found
        cdef Py_ssize_t size
        cdef long long began = 0
        lower = name[0] > 96
        if count == 1:
            command = self.ping
            if self.length[0] != 4 or command is None or command.gate & state:
                return None
            if memcmp(name, b"PING" if not lower else b"ping", 4):
                return None
            began = self.timed(command)
            self.emit(PONG)
            self.count(command, began)
            return command
        if self.length[0] != 3 or not self.plain:
            return None
        if count == 2:
            command = self.get
            if not same_word(name, b"GET" if not lower else b"get") or command is None or command.gate & state:
                return None
            began = self.timed(command)
            key = PyBytes_FromStringAndSize(text + self.at[1], self.length[1])
            found = PyDict_GetItemWithError(self.db, key)
            if found == NULL or type(<object>found) is not bytes:
                return None
            if PyDict_Size(self.expires) and PyDict_Contains(self.expires, key):
                return None
            self.emit_bulk(<bytes>found)
        elif count == 3 and text[start] == 42:
            command = self.set_
            if not same_word(name, b"SET" if not lower else b"set") or command is None or command.gate & state:
                return None
            size = end - start
            if size > self.room:
                return None
            began = self.timed(command)
            record = PyBytes_FromStringAndSize(text + start, size)
            if lower:
                memcpy(PyBytes_AS_STRING(record) + (self.at[0] - start), b"SET", 3)
            key = PyBytes_FromStringAndSize(text + self.at[1], self.length[1])
            value = PyBytes_FromStringAndSize(text + self.at[2], self.length[2])
            # LOG-FIRST: what ``Tx.log`` does where there is room.
            self.records.append(record)
            self.room -= size
            self.room_changed = True
            size = PyDict_Size(self.db)
            PyDict_SetItem(self.db, key, value)
            if PyDict_Size(self.db) != size:
                slot(self.db, DATABASE_ORDER).append(key)
            elif PyDict_Size(self.expires) and PyDict_Contains(self.expires, key):
                del self.expires[key]
            self.emit(OK)
        else:
            return None
        self.count(command, began)
        return command

    cdef run_hot(self, Transport transport, HotCommand command, list argv):
        """Run a command of the hot table by its handler."""
        cdef bint slow = len(argv) > command.quick
        cdef long long took
        cdef long long began = monotonic_ns() if slow else self.timed(command)
        cdef Py_ssize_t room
        self.settle()
        room = slot(self.tx, TX_ROOM)
        try:
            reply = command.handler(self.tx, argv)
        except CommandError as error:
            self.known = False
            reply = transport.connection._refused(command.found, error)
        except Exception as failure:
            self.known = False
            reply = failures.internal_error(transport.connection, argv[0], failure)
        if <Py_ssize_t>slot(self.tx, TX_ROOM) > room:
            self.known = False  # the log's gate was asked, and may have found memory short
        self.count(command, 0)
        if began:
            took = monotonic_ns() - began
            self.record(command, took, 1 if slow or command.total <= ALL_TIMED else TIMED_ONE_IN)
            if took >= self.watch_ns:
                self.timings.slow(command.entry, argv, took)
                self.was_timed = True
        self.emit(reply)
        self.look()

    cdef run_carefully(self, Transport transport, list argv):
        """Have the connection run a command that is not hot, or not now."""
        self.settle()
        self.send_out(transport)
        self.book()
        self.known = False
        self.was_timed = True
        self.chunk_ended = 0
        transport.connection._run_one(argv)

    cdef bint goes_on(self, Transport transport):
        """May what follows a command that ran carefully be run here?"""
        connection = transport.connection
        return not (
            transport.ended
            or connection.parser is not None
            or connection.backlog
            or transport.client.state & NOT_FAST
            or connection._must_wait()
        )

    # ---- counting ------------------------------------------------------------------------

    cdef long long timed(self, HotCommand command):
        """When the command began, if this call is one of those that are timed; else 0."""
        if command.total & (TIMED_ONE_IN - 1) and command.total >= ALL_TIMED:
            return 0
        return monotonic_ns()

    cdef record(self, HotCommand command, long long took, long weight):
        """What ``server.timings`` does with a duration, and the cell of ``server.histogram``."""
        cdef long long cell
        cdef int shift = 0
        command.nanoseconds += took * weight
        if self.tracking:
            cell = took - took % 1000
            if cell > MOST_NS:
                cell = MOST_NS
            elif cell == 0:
                cell = 1
            while cell >> shift > 255:
                shift += 1
            cell = (shift << 7) + (cell >> shift)
            command.durations[cell] = command.durations.get(cell, 0) + weight

    cdef time_chunk(self, const char* text, Py_ssize_t arguments, HotCommand command, bint alone):
        """The chunk has ended; a command that came alone in it, and was not timed as such, took as long."""
        cdef long long now = monotonic_ns()
        cdef long long took = now - self.chunk_ended
        self.chunk_ended = now
        if alone and took >= self.watch_ns:
            self.timings.slow(command.entry, self.argv_of(text, arguments), took)

    cdef count(self, HotCommand command, long long began):
        command.calls += 1
        command.total += 1
        self.commands += 1
        if began:
            self.record(command, monotonic_ns() - began, 1 if command.total <= ALL_TIMED else TIMED_ONE_IN)
        if not command.listed:
            command.listed = True
            self.called.append(command)

    cdef book(self):
        """Enter what was counted here where everybody looks."""
        cdef HotCommand command
        for command in self.called:
            command.entry.calls += command.calls
            command.entry.nanoseconds += command.nanoseconds
            command.calls = command.nanoseconds = 0
            command.listed = False
        self.called.clear()
        if self.commands or self.received:
            self.stats.commands += self.commands
            self.stats.net_in += self.received
            self.commands = self.received = 0

    # ---- answers -------------------------------------------------------------------------

    cdef emit(self, bytes reply):
        """One more answer of this chunk.  One alone is kept as it is."""
        if self.out_size == 0 and self.alone is None:
            self.alone = reply
            return
        self.gather()
        self.put(PyBytes_AS_STRING(reply), PyBytes_GET_SIZE(reply))

    cdef emit_bulk(self, bytes value):
        """One more answer, a bulk string."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
        cdef char head[24]
        cdef int length = 24
        cdef Py_ssize_t number = size
        self.gather()
        head[22] = 13
        head[23] = 10
        length = 22
        while True:
            length -= 1
            head[length] = 48 + number % 10
            number //= 10
            if number == 0:
                break
        length -= 1
        head[length] = 36  # $
        self.put(head + length, 24 - length)
        self.put(PyBytes_AS_STRING(value), size)
        self.put(b"\r\n", 2)

    cdef gather(self):
        """Put an answer that was alone before those that follow."""
        cdef bytes reply = self.alone
        if reply is not None:
            self.alone = None
            self.put(PyBytes_AS_STRING(reply), PyBytes_GET_SIZE(reply))

    cdef put(self, const char* data, Py_ssize_t size):
        cdef char* larger
        cdef Py_ssize_t room = self.out_room
        if self.out_size + size > room:
            while self.out_size + size > room:
                room *= 2
            larger = <char*>realloc(self.out, room)
            if larger == NULL:
                raise MemoryError
            self.out = larger
            self.out_room = room
        memcpy(self.out + self.out_size, data, size)
        self.out_size += size

    cdef send_out(self, Transport transport):
        """Give the answers so far to the engine, or to the connection if they cannot simply wait for the tick's end."""
        cdef bytes data = self.alone
        if data is None:
            if not self.out_size:
                return
            data = PyBytes_FromStringAndSize(self.out, self.out_size)
            self.out_size = 0
            if self.out_room > MAX_PENDING:
                self.shrink()
        else:
            self.alone = None
        if not self.known:
            self.state = self.engine.state
            self.answers = self.engine.tick_answers
        if (
            PyBytes_GET_SIZE(data) <= LARGE_ANSWER
            and not <list>slot(transport.client, CLIENT_HELD)
            and not self.state & TRACKED
        ):
            self.answers.append((transport.client, data))
        else:
            connection = transport.connection
            self.known = False
            connection._send([data], connection._open_number())

    def send_all(self, list answers):
        """What ``Engine.send_all`` does."""
        cdef Py_ssize_t sent = 0
        cdef bytes data
        cdef tuple answer
        cdef list closing = []
        for answer in answers:
            client = answer[0]
            data = answer[1]
            connection = slot(client, CLIENT_CONNECTION)
            if connection is not None:
                transport = slot(connection, CONNECTION_TRANSPORT)
                if type(transport) is Transport:
                    (<Transport>transport).write(data)
                else:
                    connection.write(data)
                sent += PyBytes_GET_SIZE(data)
                if <int>slot(client, CLIENT_STATE) & IS_CLOSING:
                    closing.append(client)
        self.stats.net_out += sent
        for client in closing:
            if client.connection is not None:
                client.connection.close()

    cdef shrink(self):
        """Give back what one large answer took."""
        cdef char* smaller = <char*>realloc(self.out, CHUNK)
        if smaller != NULL:
            self.out = smaller
            self.out_room = CHUNK
