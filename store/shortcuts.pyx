# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, nonecheck=False
"""Compiled shortcuts of the commands that are called most, in their most common form.

Role.  ``SHORTCUTS`` has for some handlers a function that may be called in their place: it
does the handler's work for one element of a value that is there, unpacked, of the right type
and without a deadline, while nobody listens to events and no uses are kept; for everything
else it calls the handler.  So a handler in ``store.commands`` is the truth, and says why what
is done is done; a function here does the same, in the same order (LOG-FIRST: validate, log,
change), and leaves the same bytes in the log and in memory, but for the case of the
command's name in a record (``tests/unit/test_shortcuts.py``).

Who calls passes arguments that are bytes, each of them; ``server.native`` does.

Speed comes from reading slots where they stand, from records and replies that are written
into one bytes object, and from bisecting plain doubles and bytes.

It must not know: clients, how a record reaches the disk.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Contains, PyDict_DelItem, PyDict_SetItem, PyDict_Size
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE, PyList_Insert
from libc.math cimport signbit
from libc.string cimport memcmp, memcpy

from perdure.store import list_blocks, resp, score_order
from perdure.store.commands import counters, hashes, lists, set_draws, sets, strings, zset_pops, zsets
from perdure.store.database import Database
from perdure.store.hash_value import MANY_FIELDS, MAX_ENTRIES, MAX_VALUE, Hash
from perdure.store.key_order import KeyOrder
from perdure.store.list_value import List
from perdure.store.score_order import ScoreOrder
from perdure.store.set_value import MANY_MEMBERS, Set
from perdure.store.tx import Tx
from perdure.store.zset_value import Big, ZSet

include "slots.pxi"

cdef extern from "Python.h":
    PyObject* PyDict_GetItemWithError(object table, object key) except? NULL
    int PyList_DropSlice "PyList_SetSlice"(object some, Py_ssize_t low, Py_ssize_t high, void* nothing) except -1

cdef Py_ssize_t TX_DB = place_of(Tx, "db")
cdef Py_ssize_t TX_LIMITS = place_of(Tx, "limits")
cdef Py_ssize_t TX_NOTIFYING = place_of(Tx, "notifying")
cdef Py_ssize_t TX_NULL = place_of(Tx, "null")
cdef Py_ssize_t TX_RECORDS = place_of(Tx, "records")
cdef Py_ssize_t TX_RESP3 = place_of(Tx, "resp3")
cdef Py_ssize_t TX_RNG = place_of(Tx, "rng")
cdef Py_ssize_t TX_ROOM = place_of(Tx, "room")
cdef Py_ssize_t DATABASE_EXPIRES = place_of(Database, "expires")
cdef Py_ssize_t DATABASE_ORDER = place_of(Database, "order")
cdef Py_ssize_t KEYS_APPEND = place_of(KeyOrder, "append")
cdef Py_ssize_t KEYS_ENTRIES = place_of(KeyOrder, "entries")
cdef Py_ssize_t KEYS_GONE = place_of(KeyOrder, "gone")
cdef Py_ssize_t LIST_HEAD = place_of(List, "head")
cdef Py_ssize_t LIST_HEAD_SIZES = place_of(List, "head_sizes")
cdef Py_ssize_t LIST_TAIL = place_of(List, "tail")
cdef Py_ssize_t LIST_TAIL_SIZES = place_of(List, "tail_sizes")
cdef Py_ssize_t LIST_MIDDLE = place_of(List, "middle")
cdef Py_ssize_t LIST_LENGTH = place_of(List, "length")
cdef Py_ssize_t SET_ORDER = place_of(Set, "order")
cdef Py_ssize_t HASH_BIG = place_of(Hash, "big")
cdef Py_ssize_t HASH_ORDER = place_of(Hash, "order")
cdef Py_ssize_t ZSET_BIG = place_of(ZSet, "big")
cdef Py_ssize_t ZSET_ORDER = place_of(ZSet, "order")
cdef Py_ssize_t ZSET_PACKED = place_of(ZSet, "packed")
cdef Py_ssize_t ZSET_SCORES = place_of(ZSet, "scores")
cdef Py_ssize_t BIG_SCAN = place_of(Big, "scan")
cdef Py_ssize_t ORDER_MEMBERS = place_of(ScoreOrder, "members")
cdef Py_ssize_t ORDER_SCORES = place_of(ScoreOrder, "scores")
cdef Py_ssize_t ORDER_LAST_MEMBERS = place_of(ScoreOrder, "last_members")
cdef Py_ssize_t ORDER_LAST_SCORES = place_of(ScoreOrder, "last_scores")
cdef Py_ssize_t ORDER_SIZE = place_of(ScoreOrder, "size")
cdef Py_ssize_t ORDER_TREE = place_of(ScoreOrder, "tree")

cdef Py_ssize_t BLOCK_BYTES = list_blocks.BLOCK_BYTES
cdef Py_ssize_t SHORT = list_blocks.SHORT
cdef Py_ssize_t FULL = score_order._FULL
cdef Py_ssize_t HALF = score_order._HALF
cdef Py_ssize_t LOW = score_order._LOW
cdef Py_ssize_t MERGED = score_order._MERGED
cdef Py_ssize_t APPENDED = score_order._APPENDED
cdef Py_ssize_t MOST_MEMBERS = MANY_MEMBERS
cdef Py_ssize_t MOST_FIELDS = MANY_FIELDS

cdef list INTEGERS = [resp.integer(n) for n in range(1024)]
cdef bytes OK = resp.OK
cdef bytes ZERO = resp.ZERO
cdef bytes ONE = resp.ONE
cdef bytes EMPTY_ARRAY = resp.EMPTY_ARRAY

cdef enum:
    NUMBER_CHARS = 18
    SCORE_CHARS = 15

cdef double WHOLE_SCORES = 1e15


# ---- records and replies -----------------------------------------------------------------


cdef inline Py_ssize_t digits_of(Py_ssize_t n) noexcept nogil:
    """How many digits a number >= 0 has."""
    cdef Py_ssize_t count = 1
    while n > 9:
        n //= 10
        count += 1
    return count


cdef inline char* put_number(char* to, Py_ssize_t n) noexcept nogil:
    """Write a number >= 0; where it ends."""
    cdef char* end = to + digits_of(n)
    cdef char* at = end
    while True:
        at -= 1
        at[0] = 48 + n % 10
        n //= 10
        if n == 0:
            return end


cdef inline Py_ssize_t bulk_size(bytes text) noexcept:
    """What ``put_bulk`` writes."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
    return size + digits_of(size) + 5


cdef inline char* put_bulk(char* to, bytes text) noexcept:
    """Write a bulk string; where it ends."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
    to[0] = 36  # $
    to = put_number(to + 1, size)
    memcpy(to, b"\r\n", 2)
    memcpy(to + 2, PyBytes_AS_STRING(text), size)
    memcpy(to + 2 + size, b"\r\n", 2)
    return to + size + 4


cdef bytes joined(bytes head, bytes a, bytes b=None, bytes c=None):
    """A head and up to three bulk strings behind it."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(head)
    cdef bytes out = PyBytes_FromStringAndSize(
        NULL, size + bulk_size(a) + (0 if b is None else bulk_size(b)) + (0 if c is None else bulk_size(c))
    )
    cdef char* to = PyBytes_AS_STRING(out)
    memcpy(to, PyBytes_AS_STRING(head), size)
    to = put_bulk(to + size, a)
    if b is not None:
        to = put_bulk(to, b)
    if c is not None:
        put_bulk(to, c)
    return out


cdef bytes integer(long long n):
    """An integer as a reply."""
    if 0 <= n < 1024:
        return <bytes>PyList_GET_ITEM(INTEGERS, n)
    return b":%b\r\n" % number_text(n)


cdef bytes number_text(long long n):
    """A number of at most ``NUMBER_CHARS`` digits, as text."""
    cdef char text[24]
    cdef char* at = text
    if n < 0:
        at[0] = 45  # -
        at += 1
        n = -n
    at = put_number(at, n)
    return PyBytes_FromStringAndSize(text, at - text)


cdef bint read_digits(bytes text, Py_ssize_t most, long long* number) noexcept:
    """Read up to ``most`` digits with or without a minus sign; False if there is anything else, or nothing."""
    cdef const char* at = PyBytes_AS_STRING(text)
    cdef Py_ssize_t left = PyBytes_GET_SIZE(text)
    cdef long long value = 0
    cdef bint below = left and at[0] == 45
    if below:
        at += 1
        left -= 1
    if not 0 < left <= most:
        return False
    while left:
        if at[0] < 48 or at[0] > 57:
            return False
        value = value * 10 + at[0] - 48
        at += 1
        left -= 1
    number[0] = -value if below else value
    return True


cdef bint read_integer(bytes text, long long* number) noexcept:
    """Read an integer in its canonical form and of up to ``NUMBER_CHARS`` digits; False if it is none."""
    cdef const char* at = PyBytes_AS_STRING(text)
    if not read_digits(text, NUMBER_CHARS, number):
        return False
    return at[at[0] == 45] != 48 or PyBytes_GET_SIZE(text) == 1


# ---- the database and the log ------------------------------------------------------------


cdef inline object plain_db(object tx):
    """The database if nothing is to be told of what happens in it; else None."""
    db = slot(tx, TX_DB)
    return None if type(db) is not Database or slot(tx, TX_NOTIFYING) else db


cdef inline bint has_deadline(object db, object key) except -1:
    expires = slot(db, DATABASE_EXPIRES)
    return PyDict_Size(expires) and PyDict_Contains(expires, key)


cdef inline object plain_value(object db, bytes key, object kind):
    """The value of a key if it is of this class and without a deadline, else None."""
    cdef PyObject* found = PyDict_GetItemWithError(db, key)
    if found == NULL or type(<object>found) is not kind or has_deadline(db, key):
        return None
    return <object>found


cdef int log(object tx, bytes record) except -1:
    """``Tx.log``."""
    cdef Py_ssize_t room = <Py_ssize_t>slot(tx, TX_ROOM) - PyBytes_GET_SIZE(record)
    if room < 0:
        tx.log(record)
    else:
        set_slot(tx, TX_ROOM, room)
        (<list>slot(tx, TX_RECORDS)).append(record)
    return 0


# ---- strings -----------------------------------------------------------------------------


def mset(tx, list argv):
    """MSET key value [key value ...]"""
    cdef Py_ssize_t count = PyList_GET_SIZE(argv)
    cdef Py_ssize_t index, before
    cdef Py_ssize_t size = digits_of(count) + 3 + 10
    cdef bytes record
    cdef char* to
    db = plain_db(tx)
    if not count & 1 or db is None:
        return strings.mset(tx, argv)
    for index in range(1, count):
        size += bulk_size(<bytes>PyList_GET_ITEM(argv, index))
    record = PyBytes_FromStringAndSize(NULL, size)
    to = PyBytes_AS_STRING(record)
    to[0] = 42  # *
    to = put_number(to + 1, count)
    memcpy(to, b"\r\n$4\r\nMSET\r\n", 12)
    to += 12
    for index in range(1, count):
        to = put_bulk(to, <bytes>PyList_GET_ITEM(argv, index))
    log(tx, record)
    tx.changes += count // 2 - 1
    for index in range(1, count, 2):
        key = <object>PyList_GET_ITEM(argv, index)
        before = PyDict_Size(db)
        PyDict_SetItem(db, key, <object>PyList_GET_ITEM(argv, index + 1))
        if PyDict_Size(db) != before:
            slot(slot(db, DATABASE_ORDER), KEYS_APPEND)(key)
        elif has_deadline(db, key):
            del slot(db, DATABASE_EXPIRES)[key]
    return OK


def incr(tx, list argv):
    """INCR key"""
    cdef bytes key = argv[1]
    cdef PyObject* found
    cdef long long n = 0
    db = plain_db(tx)
    if db is None or has_deadline(db, key):
        return counters.incr(tx, argv)
    found = PyDict_GetItemWithError(db, key)
    if found == NULL:
        log(tx, joined(b"*2\r\n$4\r\nINCR\r\n", key))
        PyDict_SetItem(db, key, b"1")
        slot(slot(db, DATABASE_ORDER), KEYS_APPEND)(key)
        return ONE
    if type(<object>found) is not bytes or not read_integer(<bytes>found, &n):
        return counters.incr(tx, argv)
    log(tx, joined(b"*2\r\n$4\r\nINCR\r\n", key))
    PyDict_SetItem(db, key, number_text(n + 1))
    return integer(n + 1)


# ---- lists -------------------------------------------------------------------------------


cdef object find_list(object tx, bytes key):
    """The list of a key as plain as a shortcut wants it, else None."""
    db = plain_db(tx)
    return None if db is None else plain_value(db, key, List)


cdef bytes glued(bytes a, bytes b):
    """``a + b``"""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(a)
    cdef bytes out = PyBytes_FromStringAndSize(NULL, size + PyBytes_GET_SIZE(b))
    memcpy(PyBytes_AS_STRING(out), PyBytes_AS_STRING(a), size)
    memcpy(PyBytes_AS_STRING(out) + size, PyBytes_AS_STRING(b), PyBytes_GET_SIZE(b))
    return out


cdef bytes with_size(bytes sizes, Py_ssize_t size, bint left):
    """The sizes of a block with one more item."""
    cdef Py_ssize_t count = PyBytes_GET_SIZE(sizes)
    cdef bytes out = PyBytes_FromStringAndSize(NULL, count + 1)
    memcpy(PyBytes_AS_STRING(out) + left, PyBytes_AS_STRING(sizes), count)
    PyBytes_AS_STRING(out)[0 if left else count] = <char>size
    return out


cdef bint takes(bytes blob, bytes sizes, Py_ssize_t size) noexcept:
    """Does a block that is not empty take an item of that size?"""
    if size >= SHORT or PyBytes_GET_SIZE(blob) + size > BLOCK_BYTES or not PyBytes_GET_SIZE(blob):
        return False
    return PyBytes_GET_SIZE(sizes) != 1 or PyBytes_AS_STRING(sizes)[0] != 0


cdef object push(object tx, object value, bytes head, bytes key, bytes element, bint left):
    """LPUSH and RPUSH of one element."""
    cdef bytes item, blob, sizes
    cdef Py_ssize_t size, place, sizes_place
    log(tx, joined(head, key, element))
    item = joined(b"", element)
    size = PyBytes_GET_SIZE(item)
    place, sizes_place = (LIST_HEAD, LIST_HEAD_SIZES) if left else (LIST_TAIL, LIST_TAIL_SIZES)
    blob = slot(value, place)
    sizes = slot(value, sizes_place)
    if takes(blob, sizes, size):
        set_slot(value, LIST_LENGTH, slot(value, LIST_LENGTH) + 1)
        set_slot(value, place, glued(item, blob) if left else glued(blob, item))
        set_slot(value, sizes_place, with_size(sizes, size, left))
    elif left:
        value.push_left(item)
    else:
        value.push_right(item)
    return integer(slot(value, LIST_LENGTH))


def lpush(tx, list argv):
    """LPUSH key element"""
    if PyList_GET_SIZE(argv) == 3:
        value = find_list(tx, argv[1])
        if value is not None:
            return push(tx, value, b"*3\r\n$5\r\nLPUSH\r\n", argv[1], argv[2], True)
    return lists.lpush(tx, argv)


def rpush(tx, list argv):
    """RPUSH key element"""
    if PyList_GET_SIZE(argv) == 3:
        value = find_list(tx, argv[1])
        if value is not None:
            return push(tx, value, b"*3\r\n$5\r\nRPUSH\r\n", argv[1], argv[2], False)
    return lists.rpush(tx, argv)


cdef object pop(object tx, object value, bytes head, bytes key, bint left):
    """LPOP and RPOP of one element."""
    cdef bytes blob, sizes, item
    cdef Py_ssize_t size, count, bytes_left, place, sizes_place
    log(tx, joined(head, key))
    place, sizes_place = (LIST_HEAD, LIST_HEAD_SIZES) if left else (LIST_TAIL, LIST_TAIL_SIZES)
    blob = slot(value, place)
    sizes = slot(value, sizes_place)
    count = PyBytes_GET_SIZE(sizes)
    if count > 1:
        size = <unsigned char>PyBytes_AS_STRING(sizes)[0 if left else count - 1]
        bytes_left = PyBytes_GET_SIZE(blob) - size
        item = PyBytes_FromStringAndSize(PyBytes_AS_STRING(blob) + (0 if left else bytes_left), size)
        set_slot(value, LIST_LENGTH, slot(value, LIST_LENGTH) - 1)
        set_slot(value, place, PyBytes_FromStringAndSize(PyBytes_AS_STRING(blob) + (size if left else 0), bytes_left))
        set_slot(value, sizes_place, PyBytes_FromStringAndSize(PyBytes_AS_STRING(sizes) + left, count - 1))
        return item
    item = value.pop_left() if left else value.pop_right()
    if not slot(value, LIST_LENGTH):
        slot(tx, TX_DB).remove(key)
    return item


def lpop(tx, list argv):
    """LPOP key"""
    if PyList_GET_SIZE(argv) == 2:
        value = find_list(tx, argv[1])
        if value is not None:
            return pop(tx, value, b"*2\r\n$4\r\nLPOP\r\n", argv[1], True)
    return lists.lpop(tx, argv)


def rpop(tx, list argv):
    """RPOP key"""
    if PyList_GET_SIZE(argv) == 2:
        value = find_list(tx, argv[1])
        if value is not None:
            return pop(tx, value, b"*2\r\n$4\r\nRPOP\r\n", argv[1], False)
    return lists.rpop(tx, argv)


cdef Py_ssize_t offset_of(bytes blob, bytes sizes, Py_ssize_t index) noexcept:
    """``list_blocks.offset_of``"""
    cdef const unsigned char* at = <const unsigned char*>PyBytes_AS_STRING(sizes)
    cdef Py_ssize_t total = 0
    cdef Py_ssize_t i
    if index == PyBytes_GET_SIZE(sizes):
        return PyBytes_GET_SIZE(blob)
    for i in range(index):
        total += at[i]
    return total


cdef Py_ssize_t add_part(list parts, bytes blob, bytes sizes, Py_ssize_t at, Py_ssize_t start, Py_ssize_t stop) except -1:
    """Add what the range ``start`` to ``stop`` has of a block whose first item is number ``at``; where it ends."""
    cdef Py_ssize_t behind = at + PyBytes_GET_SIZE(sizes)
    cdef Py_ssize_t low, high
    if start <= at and behind <= stop:
        parts.append(blob)
    elif start < behind and at < stop:
        low = offset_of(blob, sizes, start - at) if start > at else 0
        high = offset_of(blob, sizes, stop - at) if stop < behind else PyBytes_GET_SIZE(blob)
        parts.append(PyBytes_FromStringAndSize(PyBytes_AS_STRING(blob) + low, high - low))
    return behind


cdef object items(object value, Py_ssize_t start, Py_ssize_t stop):
    """``List.items`` of a range that is not nearer to the end, behind the head of an array."""
    cdef list parts = [resp.array_head(stop - start)]
    cdef Py_ssize_t at = add_part(parts, slot(value, LIST_HEAD), slot(value, LIST_HEAD_SIZES), 0, start, stop)
    cdef tuple blocks
    middle = slot(value, LIST_MIDDLE)
    if at < stop and middle is not None:
        for blocks in middle:
            at = add_part(parts, blocks[0], blocks[1], at, start, stop)
            if at >= stop:
                break
    if at < stop:
        add_part(parts, slot(value, LIST_TAIL), slot(value, LIST_TAIL_SIZES), at, start, stop)
    return b"".join(parts)


def lrange(tx, list argv):
    """LRANGE key start stop"""
    cdef long long start = 0
    cdef long long stop = 0
    cdef long long length
    value = find_list(tx, argv[1])
    if value is None or not read_integer(argv[2], &start) or not read_integer(argv[3], &stop):
        return lists.lrange(tx, argv)
    length = slot(value, LIST_LENGTH)
    if start < 0:
        start = max(start + length, 0)
    if stop < 0:
        stop += length
    stop = min(stop + 1, length)
    if start >= stop:
        return EMPTY_ARRAY
    return items(value, start, stop) if start <= length - stop else lists.lrange(tx, argv)


# ---- sets and hashes ---------------------------------------------------------------------


cdef int entered(object value, Py_ssize_t order_place, object member, Py_ssize_t most) except -1:
    """A member that was new is in a table now: tell its order, if it has one or needs one."""
    order = slot(value, order_place)
    if order is not None:
        slot(order, KEYS_APPEND)(member)
    elif PyDict_Size(value) > most:
        value.ordered()
    return 0


def sadd(tx, list argv):
    """SADD key member"""
    cdef bytes key, member
    db = plain_db(tx)
    if PyList_GET_SIZE(argv) == 3 and db is not None:
        key = argv[1]
        member = argv[2]
        value = plain_value(db, key, Set)
        if value is not None:
            if PyDict_Contains(value, member):
                return ZERO
            log(tx, joined(b"*3\r\n$4\r\nSADD\r\n", key, member))
            PyDict_SetItem(value, member, None)
            entered(value, SET_ORDER, member, MOST_MEMBERS)
            return ONE
    return sets.sadd(tx, argv)


def spop(tx, list argv):
    """SPOP key, of a set that has an order"""
    cdef bytes key
    cdef PyObject* found
    cdef Py_ssize_t at, count
    cdef list entries
    cdef set gone
    db = plain_db(tx)
    if PyList_GET_SIZE(argv) != 2 or db is None:
        return set_draws.spop(tx, argv)
    key = argv[1]
    found = PyDict_GetItemWithError(db, key)
    if found == NULL:
        return slot(tx, TX_NULL)
    value = <object>found
    if type(value) is not Set or has_deadline(db, key):
        return set_draws.spop(tx, argv)
    count = PyDict_Size(value)
    order = slot(value, SET_ORDER)
    if order is None or count == 1:
        return set_draws.spop(tx, argv)
    entries = slot(order, KEYS_ENTRIES)
    gone = slot(order, KEYS_GONE)
    random = slot(tx, TX_RNG).random
    while True:
        at = <Py_ssize_t>(<double>random() * PyList_GET_SIZE(entries))
        member = <object>PyList_GET_ITEM(entries, at)
        if not len(gone) or member not in gone:
            break
    log(tx, joined(b"*3\r\n$4\r\nSREM\r\n", key, member))
    PyDict_DelItem(value, member)
    if len(gone):
        order.drop(at)
    else:
        last = entries.pop()
        if at < PyList_GET_SIZE(entries):
            entries[at] = last
    if not count & (count - 1):
        value.tidy()
    return joined(b"", member)


def hset(tx, list argv):
    """HSET key field value"""
    cdef bytes key, field, content
    cdef Py_ssize_t longest
    cdef bint created
    db = plain_db(tx)
    if PyList_GET_SIZE(argv) != 4 or db is None:
        return hashes.hset(tx, argv)
    key = argv[1]
    field = argv[2]
    content = argv[3]
    value = plain_value(db, key, Hash)
    if value is None:
        return hashes.hset(tx, argv)
    log(tx, joined(b"*4\r\n$4\r\nHSET\r\n", key, field, content))
    created = not PyDict_Contains(value, field)
    PyDict_SetItem(value, field, content)
    if created:
        entered(value, HASH_ORDER, field, MOST_FIELDS)
    if slot(value, HASH_BIG) is False:
        limits = slot(tx, TX_LIMITS)
        longest = limits[MAX_VALUE]
        if (
            PyBytes_GET_SIZE(content) > longest
            or PyBytes_GET_SIZE(field) > longest
            or PyDict_Size(value) > <Py_ssize_t>limits[MAX_ENTRIES]
        ):
            set_slot(value, HASH_BIG, True)
    return ONE if created else ZERO


# ---- sorted sets -------------------------------------------------------------------------


cdef inline double score_at(list scores, Py_ssize_t at) noexcept:
    return PyFloat_AS_DOUBLE(<object>PyList_GET_ITEM(scores, at))


cdef Py_ssize_t left_of(list scores, double score) noexcept:
    """``bisect_left`` over floats."""
    cdef Py_ssize_t low = 0
    cdef Py_ssize_t high = PyList_GET_SIZE(scores)
    cdef Py_ssize_t middle
    while low < high:
        middle = (low + high) >> 1
        if score_at(scores, middle) < score:
            low = middle + 1
        else:
            high = middle
    return low


cdef bint is_below(bytes a, bytes b) noexcept:
    """``a < b``"""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(a)
    cdef Py_ssize_t other = PyBytes_GET_SIZE(b)
    cdef int order = memcmp(PyBytes_AS_STRING(a), PyBytes_AS_STRING(b), size if size < other else other)
    return order < 0 or (order == 0 and size < other)


cdef Py_ssize_t where(list scores, list members, double score, bytes member) noexcept:
    """Where in parallel lists a pair stands or would stand: ``ScoreOrder._block`` and ``ScoreOrder._index``."""
    cdef Py_ssize_t low = left_of(scores, score)
    cdef Py_ssize_t high = PyList_GET_SIZE(scores)
    cdef Py_ssize_t middle
    cdef Py_ssize_t end = high
    if low == end or score_at(scores, low) != score:
        return low
    if low + 1 == end or score_at(scores, low + 1) != score:  # one pair has this score
        return low + is_below(<bytes>PyList_GET_ITEM(members, low), member)
    while low < high:  # pairs of this score come before all of a higher one
        middle = (low + high) >> 1
        if score_at(scores, middle) == score and is_below(<bytes>PyList_GET_ITEM(members, middle), member):
            low = middle + 1
        else:
            high = middle
    return low


cdef inline Py_ssize_t block_of(object order, double score, bytes member):
    return where(slot(order, ORDER_LAST_SCORES), slot(order, ORDER_LAST_MEMBERS), score, member)


cdef inline list block(object order, Py_ssize_t place, Py_ssize_t at):
    """A block's scores or members."""
    return <list>PyList_GET_ITEM(<list>slot(order, place), at)


cdef int insert(object order, double score, object number, object member) except -1:
    """``ScoreOrder.add``; ``number`` is the score as an object."""
    cdef list scores, members
    cdef Py_ssize_t count = PyList_GET_SIZE(<list>slot(order, ORDER_SCORES))
    cdef Py_ssize_t b = block_of(order, score, member)
    cdef Py_ssize_t i
    if not count:
        order.add(number, member)
        return 0
    set_slot(order, ORDER_SIZE, slot(order, ORDER_SIZE) + 1)
    if b < count:
        scores = block(order, ORDER_SCORES, b)
        members = block(order, ORDER_MEMBERS, b)
        i = where(scores, members, score, member)
        PyList_Insert(scores, i, number)
        PyList_Insert(members, i, member)
    else:
        b -= 1
        scores = block(order, ORDER_SCORES, b)
        scores.append(number)
        block(order, ORDER_MEMBERS, b).append(member)
        (<list>slot(order, ORDER_LAST_SCORES))[b] = number
        (<list>slot(order, ORDER_LAST_MEMBERS))[b] = member
    if PyList_GET_SIZE(scores) > FULL:
        order._split(b, APPENDED if (<list>slot(order, ORDER_LAST_MEMBERS))[count - 1] is member else HALF)
    elif slot(order, ORDER_TREE) is not None:
        order._note(b)
    return 0


cdef bint stays(object order, Py_ssize_t b, Py_ssize_t left):
    """Does a block that has so many pairs left stay by itself?"""
    cdef list blocks = slot(order, ORDER_SCORES)
    cdef Py_ssize_t count = PyList_GET_SIZE(blocks)
    if left >= LOW:
        return True
    if not left:
        return False
    if b + 1 < count and left + PyList_GET_SIZE(<list>PyList_GET_ITEM(blocks, b + 1)) <= MERGED:
        return False
    return not (b and left + PyList_GET_SIZE(<list>PyList_GET_ITEM(blocks, b - 1)) <= MERGED)


cdef object take_out(object order, Py_ssize_t b, Py_ssize_t i):
    """``ScoreOrder._remove_at``"""
    cdef list scores = block(order, ORDER_SCORES, b)
    cdef list members = block(order, ORDER_MEMBERS, b)
    cdef Py_ssize_t left = PyList_GET_SIZE(scores) - 1
    if not stays(order, b, left):
        return order._remove_at(b, i)
    set_slot(order, ORDER_SIZE, slot(order, ORDER_SIZE) - 1)
    member = <object>PyList_GET_ITEM(members, i)
    PyList_DropSlice(members, i, i + 1, NULL)
    PyList_DropSlice(scores, i, i + 1, NULL)
    if i == left:
        (<list>slot(order, ORDER_LAST_SCORES))[b] = scores[left - 1]
        (<list>slot(order, ORDER_LAST_MEMBERS))[b] = members[left - 1]
    if slot(order, ORDER_TREE) is not None:
        order._note(~b)
    return member


cdef int move(object order, double old, double score, object number, object member) except -1:
    """``ScoreOrder.move``"""
    cdef Py_ssize_t b = block_of(order, old, member)
    cdef list scores = block(order, ORDER_SCORES, b)
    cdef Py_ssize_t i = where(scores, block(order, ORDER_MEMBERS, b), old, member)
    if 0 < i < PyList_GET_SIZE(scores) - 1 and score_at(scores, i - 1) < score < score_at(scores, i + 1):
        scores[i] = number
        return 0
    member = take_out(order, b, i)
    return insert(order, score, number, member)


cdef object find_zset(object db, bytes key):
    """The sorted set of a key as plain as a shortcut wants it, else None."""
    value = plain_value(db, key, ZSet)
    return None if value is None or slot(value, ZSET_PACKED) is not None else value


def zadd(tx, list argv):
    """ZADD key score member, of a sorted set that is big and was never scanned"""
    cdef bytes key, text, member
    cdef PyObject* found
    cdef long long whole = 0
    cdef double score
    cdef object number
    db = plain_db(tx)
    if PyList_GET_SIZE(argv) != 4 or db is None:
        return zsets.zadd(tx, argv)
    key = argv[1]
    text = argv[2]
    member = argv[3]
    value = find_zset(db, key)
    if value is None:
        return zsets.zadd(tx, argv)
    big = slot(value, ZSET_BIG)
    if big is None or slot(big, BIG_SCAN) is not None:
        return zsets.zadd(tx, argv)
    if not read_digits(text, SCORE_CHARS, &whole) or (not whole and PyBytes_GET_SIZE(text) > 1):
        return zsets.zadd(tx, argv)  # a fraction, -0, or no number
    score = <double>whole
    scores = slot(value, ZSET_SCORES)
    found = PyDict_GetItemWithError(scores, member)
    if found != NULL and PyFloat_AS_DOUBLE(<object>found) == score:
        return ZERO
    log(tx, joined(b"*4\r\n$4\r\nZADD\r\n", key, text, member))
    number = score
    if found == NULL:
        PyDict_SetItem(scores, member, number)
        insert(slot(value, ZSET_ORDER), score, number, member)
        return ONE
    old = <object>found
    PyDict_SetItem(scores, member, number)
    move(slot(value, ZSET_ORDER), PyFloat_AS_DOUBLE(old), score, number, member)
    return ZERO


cdef bytes score_text(object number):
    """``print_double``"""
    cdef double score = PyFloat_AS_DOUBLE(number)
    cdef long long whole
    if -WHOLE_SCORES < score < WHOLE_SCORES:
        whole = <long long>score
        if whole == score and (whole or not signbit(score)):
            return number_text(whole)
    return b"%.17g" % number


cdef object pop_end(object tx, list argv, bint lowest):
    """ZPOPMIN and ZPOPMAX of one member; None if that is not as plain as a shortcut wants it."""
    cdef bytes key, text
    cdef list members
    cdef Py_ssize_t b, i
    db = plain_db(tx)
    if PyList_GET_SIZE(argv) != 2 or db is None:
        return None
    key = argv[1]
    value = find_zset(db, key)
    if value is None:
        return None if PyDict_Contains(db, key) else EMPTY_ARRAY
    order = slot(value, ZSET_ORDER)
    b = 0 if lowest else PyList_GET_SIZE(<list>slot(order, ORDER_MEMBERS)) - 1
    members = block(order, ORDER_MEMBERS, b)
    i = 0 if lowest else PyList_GET_SIZE(members) - 1
    member = <object>PyList_GET_ITEM(members, i)
    text = score_text(<object>PyList_GET_ITEM(block(order, ORDER_SCORES, b), i))
    log(tx, joined(b"*2\r\n$7\r\nZPOPMIN\r\n" if lowest else b"*2\r\n$7\r\nZPOPMAX\r\n", key))
    take_out(order, b, i)
    PyDict_DelItem(slot(value, ZSET_SCORES), member)
    big = slot(value, ZSET_BIG)
    if big is not None and slot(big, BIG_SCAN) is not None:
        slot(big, BIG_SCAN).removed(member)
    if not PyDict_Size(slot(value, ZSET_SCORES)):
        db.remove(key)
    if slot(tx, TX_RESP3):
        return joined(b"*2\r\n", member) + b",%b\r\n" % text
    return joined(b"*2\r\n", member, text)


def zpopmin(tx, list argv):
    """ZPOPMIN key"""
    reply = pop_end(tx, argv, True)
    return zset_pops.zpopmin(tx, argv) if reply is None else reply


def zpopmax(tx, list argv):
    """ZPOPMAX key"""
    reply = pop_end(tx, argv, False)
    return zset_pops.zpopmax(tx, argv) if reply is None else reply


SHORTCUTS = {
    strings.mset: mset, counters.incr: incr,
    lists.lpush: lpush, lists.rpush: rpush, lists.lpop: lpop, lists.rpop: rpop, lists.lrange: lrange,
    sets.sadd: sadd, set_draws.spop: spop, hashes.hset: hset,
    zsets.zadd: zadd, zset_pops.zpopmin: zpopmin, zset_pops.zpopmax: zpopmax,
}
"""What may be called in a handler's place."""
