# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What Python's objects take in this process: one number that follows what is freed, too.

Role.  ``maxmemory`` needs to know at any moment how much memory the data takes, and a
resident set does not say it: it does not shrink when keys are deleted.

Where objects come from, and how it is known what they take:

large (> 512 bytes)
    From the domain RAW of ``PyMem``, which ends in ``malloc``.  It is wrapped here for
    good: ``malloc_usable_size`` says what a block takes, and one number is kept.
small
    From pools of blocks of equal size, in arenas.  The arenas come from here, out of one
    reservation of addresses, so where the pools are is known; the head of a pool says how
    many blocks of which size are in use.  The sum over all pools (``used``) costs some
    50 ns for each 16 KiB; over more than ``MOST_POOLS`` it is taken of a part, evenly spread.
    While ``count(True)``, the domains OBJ and MEM are wrapped as well, and the sum is kept
    with each allocation, some 4 ns.  So ``used`` costs nothing and is exact then.

The arena that the interpreter had before ``install`` is not ours and counts as nothing.
Memory that libraries take from ``malloc`` themselves is not counted; it holds no data.

``install`` tries all of that out and refuses where something is not as described: another
C library, an interpreter with another layout of pools or with another allocator.
``server.memory_use`` then makes do with an estimate.

It must not know: what the memory is for.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uintptr_t

cdef extern from "Python.h" nogil:
    ctypedef enum PyMemAllocatorDomain:
        PYMEM_DOMAIN_RAW
        PYMEM_DOMAIN_MEM
        PYMEM_DOMAIN_OBJ
    ctypedef struct PyMemAllocatorEx:
        void* ctx
        void* (*malloc)(void* ctx, size_t size) noexcept nogil
        void* (*calloc)(void* ctx, size_t count, size_t size) noexcept nogil
        void* (*realloc)(void* ctx, void* block, size_t size) noexcept nogil
        void (*free)(void* ctx, void* block) noexcept nogil
    ctypedef struct PyObjectArenaAllocator:
        void* ctx
        void* (*alloc)(void* ctx, size_t size) noexcept nogil
        void (*free)(void* ctx, void* arena, size_t size) noexcept nogil
    void PyMem_GetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)
    void PyMem_SetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)
    void PyObject_GetArenaAllocator(PyObjectArenaAllocator* allocator)
    void PyObject_SetArenaAllocator(PyObjectArenaAllocator* allocator)
    void* PyObject_Malloc(size_t size)
    void PyObject_Free(void* block)

cdef extern from "malloc.h" nogil:
    size_t malloc_usable_size(void* block)

cdef extern from "sys/mman.h" nogil:
    void* mmap(void* at, size_t size, int protection, int flags, int fd, long offset)
    int mprotect(void* at, size_t size, int protection)
    int munmap(void* at, size_t size)
    int madvise(void* at, size_t size, int advice)
    int PROT_NONE, PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE, MADV_DONTNEED
    void* MAP_FAILED

cdef extern from *:
    """
    static long long perdure_large = 0;
    #define ADD_LARGE(n) __atomic_fetch_add(&perdure_large, (long long)(n), __ATOMIC_RELAXED)
    #define GET_LARGE() __atomic_load_n(&perdure_large, __ATOMIC_RELAXED)
    """
    void ADD_LARGE(int64_t n) noexcept nogil
    int64_t GET_LARGE() noexcept nogil

cdef enum:
    ARENA = 1048576
    POOL = 16384
    POOLS = 64
    # In the head of a pool: how many of its blocks are in use, and their class; class n has blocks of 16 (n + 1) bytes.
    IN_USE = 0
    SIZE_CLASS = 36
    CLASSES = 32
    MALLOC_HEAD = 8
    MOST_POOLS = 16384
    TRIED = 65536

cdef bint installed = False
cdef bint counting = False
cdef int64_t small = 0
cdef uint32_t turn = 0
cdef PyMemAllocatorEx raw, objects, memory
cdef PyObjectArenaAllocator arenas
cdef uintptr_t reserved = 0
cdef size_t reservation = 0
# Of the reservation's slots for arenas: how many there are, were ever used, and are free among those.
cdef uint32_t slots = 0
cdef uint32_t slots_used = 0
cdef uint32_t slots_free = 0
cdef uint32_t* free_slots = NULL
cdef uint8_t* slot_is_used = NULL


# ---- arenas --------------------------------------------------------------------------


cdef void* arena_alloc(void* ctx, size_t size) noexcept nogil:
    """An arena out of the reservation; one as it was before us if there is no more of it."""
    global slots_used, slots_free
    cdef uint32_t slot
    if size == ARENA:
        if slots_free:
            slots_free -= 1
            slot = free_slots[slots_free]
            slot_is_used[slot] = 1
            return <void*>(reserved + <uintptr_t>slot * ARENA)
        if slots_used < slots:
            slot = slots_used
            if mprotect(<void*>(reserved + <uintptr_t>slot * ARENA), ARENA, PROT_READ | PROT_WRITE) == 0:
                slots_used += 1
                slot_is_used[slot] = 1
                return <void*>(reserved + <uintptr_t>slot * ARENA)
    return arenas.alloc(ctx, size)


cdef void arena_free(void* ctx, void* arena, size_t size) noexcept nogil:
    """Give the arena's pages back to the system and keep its addresses."""
    global slots_free
    cdef uint32_t slot
    if <uintptr_t>arena - reserved < reservation:
        slot = <uint32_t>((<uintptr_t>arena - reserved) // ARENA)
        madvise(arena, size, MADV_DONTNEED)
        slot_is_used[slot] = 0
        free_slots[slots_free] = slot
        slots_free += 1
    else:
        arenas.free(ctx, arena, size)


cdef inline int64_t pool_bytes(uintptr_t pool) noexcept nogil:
    """What is in use of a pool."""
    cdef uint32_t count = (<uint32_t*>(pool + IN_USE))[0]
    cdef uint32_t size_class = (<uint32_t*>(pool + SIZE_CLASS))[0]
    return <int64_t>count * ((size_class + 1) << 4) if count and size_class < CLASSES else 0


cdef int64_t all_pools(bint exact) noexcept nogil:
    """What is in use of all pools; unless ``exact``, that of a part of them, multiplied."""
    global turn
    cdef int64_t total = 0
    cdef uint32_t slot, at
    cdef uint32_t step = 1
    if not exact:
        while <int64_t>slots_used * POOLS > <int64_t>MOST_POOLS * step:
            step += 2
    turn = (turn + 1) % step
    at = turn
    for slot in range(slots_used):
        if slot_is_used[slot]:
            while at < POOLS:
                total += pool_bytes(reserved + <uintptr_t>slot * ARENA + <uintptr_t>at * POOL)
                at += step
            at -= POOLS
    return total * step


# ---- large blocks --------------------------------------------------------------------


cdef inline int64_t large_size(void* block) noexcept nogil:
    return malloc_usable_size(block) + MALLOC_HEAD if block != NULL else 0


cdef void* raw_malloc(void* ctx, size_t size) noexcept nogil:
    cdef void* block = raw.malloc(ctx, size)
    ADD_LARGE(large_size(block))
    return block


cdef void* raw_calloc(void* ctx, size_t count, size_t size) noexcept nogil:
    cdef void* block = raw.calloc(ctx, count, size)
    ADD_LARGE(large_size(block))
    return block


cdef void* raw_realloc(void* ctx, void* block, size_t size) noexcept nogil:
    cdef int64_t before = large_size(block)
    cdef void* moved = raw.realloc(ctx, block, size)
    if moved != NULL:
        ADD_LARGE(large_size(moved) - before)
    return moved


cdef void raw_free(void* ctx, void* block) noexcept nogil:
    ADD_LARGE(-large_size(block))
    raw.free(ctx, block)


# ---- small blocks, while they are counted one by one -----------------------------------


cdef inline int64_t small_size(void* block) noexcept nogil:
    """What a block takes of its pool; 0 if it is large."""
    cdef uintptr_t at = <uintptr_t>block
    if at - reserved < reservation:
        return ((<uint32_t*>((at & ~<uintptr_t>(POOL - 1)) + SIZE_CLASS))[0] + 1) << 4
    return 0


cdef void* small_malloc(void* ctx, size_t size) noexcept nogil:
    global small
    cdef PyMemAllocatorEx* inner = <PyMemAllocatorEx*>ctx
    cdef void* block = inner.malloc(inner.ctx, size)
    small += small_size(block)
    return block


cdef void* small_calloc(void* ctx, size_t count, size_t size) noexcept nogil:
    global small
    cdef PyMemAllocatorEx* inner = <PyMemAllocatorEx*>ctx
    cdef void* block = inner.calloc(inner.ctx, count, size)
    small += small_size(block)
    return block


cdef void* small_realloc(void* ctx, void* block, size_t size) noexcept nogil:
    global small
    cdef PyMemAllocatorEx* inner = <PyMemAllocatorEx*>ctx
    cdef int64_t before = small_size(block)
    cdef void* moved = inner.realloc(inner.ctx, block, size)
    if moved != NULL:
        small += small_size(moved) - before
    return moved


cdef void small_free(void* ctx, void* block) noexcept nogil:
    global small
    cdef PyMemAllocatorEx* inner = <PyMemAllocatorEx*>ctx
    small -= small_size(block)
    inner.free(inner.ctx, block)


cdef void wrap(PyMemAllocatorDomain domain, PyMemAllocatorEx* inner) noexcept:
    cdef PyMemAllocatorEx wrapper
    PyMem_GetAllocator(domain, inner)
    wrapper.ctx = inner
    wrapper.malloc = small_malloc
    wrapper.calloc = small_calloc
    wrapper.realloc = small_realloc
    wrapper.free = small_free
    PyMem_SetAllocator(domain, &wrapper)


# ---- for everybody ---------------------------------------------------------------------


def install(size_t most_bytes):
    """Begin, once, as early as possible; ``most_bytes``: what arenas may take at most.  Did it work?"""
    global installed
    cdef PyMemAllocatorEx wrapper
    cdef PyObjectArenaAllocator ours
    if installed or not reserve(most_bytes):
        return installed
    PyObject_GetArenaAllocator(&arenas)
    ours.ctx = arenas.ctx
    ours.alloc = arena_alloc
    ours.free = arena_free
    PyObject_SetArenaAllocator(&ours)
    if not pools_are_as_described():
        PyObject_SetArenaAllocator(&arenas) if not slots_used else None
        return False
    PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw)
    wrapper.ctx = raw.ctx
    wrapper.malloc = raw_malloc
    wrapper.calloc = raw_calloc
    wrapper.realloc = raw_realloc
    wrapper.free = raw_free
    PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &wrapper)
    installed = large_blocks_are_counted()
    if not installed:
        PyMem_SetAllocator(PYMEM_DOMAIN_RAW, &raw)
    return installed


cdef bint reserve(size_t most_bytes) noexcept:
    """Reserve addresses for the arenas, and room for what is known of each."""
    global reserved, reservation, slots, free_slots, slot_is_used
    cdef size_t count = most_bytes // ARENA
    cdef void* at = mmap(NULL, (count + 1) * ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if at == MAP_FAILED:
        return False
    cdef void* books = mmap(
        NULL, count * 5 + 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0
    )
    if books == MAP_FAILED:
        munmap(at, (count + 1) * ARENA)
        return False
    free_slots = <uint32_t*>books
    slot_is_used = <uint8_t*>books + count * 4
    reserved = (<uintptr_t>at + ARENA - 1) & ~<uintptr_t>(ARENA - 1)
    reservation = count * ARENA
    slots = <uint32_t>count
    return True


cdef bint pools_are_as_described() noexcept:
    """Allocate until blocks of some sizes lie in arenas of ours: are the heads of their pools as they should be?"""
    cdef size_t size
    for size in (512, 272, 1):
        if not pool_of_size_is_as_described(size):
            return False
    return True


cdef bint pool_of_size_is_as_described(size_t size) noexcept:
    cdef void** chain = NULL
    cdef void** block = NULL
    cdef uintptr_t at = 0
    cdef int64_t before
    cdef int tried = 0
    cdef bint fits = False
    while tried < TRIED:
        block = <void**>PyObject_Malloc(size if size > sizeof(void*) else sizeof(void*))
        if block == NULL:
            break
        block[0] = chain
        chain = block
        tried += 1
        at = <uintptr_t>block
        if at - reserved < reservation:
            at = at & ~<uintptr_t>(POOL - 1)
            before = pool_bytes(at)
            fits = small_size(block) == <int64_t>((size + 15) & ~<size_t>15) and before >= small_size(block)
            break
    while chain != NULL:
        block = chain
        chain = <void**>block[0]
        PyObject_Free(block)
    if fits:
        fits = pool_bytes(at) < before or not slot_is_used[(at - reserved) // ARENA]
    return fits


cdef bint large_blocks_are_counted() noexcept:
    """Does a large object show in the number, and go from it?"""
    cdef int64_t before = GET_LARGE()
    cdef void* block = PyObject_Malloc(100000)
    if block == NULL:
        return False
    cdef int64_t during = GET_LARGE()
    PyObject_Free(block)
    return during - before >= 100000 and GET_LARGE() == before


def count(bint on):
    """Keep the sum of small blocks with each allocation, or no longer."""
    global counting, small
    if not installed or counting == on:
        return
    if on:
        wrap(PYMEM_DOMAIN_OBJ, &objects)
        wrap(PYMEM_DOMAIN_MEM, &memory)
        small = all_pools(True)
    else:
        PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &objects)
        PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &memory)
    counting = on


def used():
    """Bytes in use."""
    return GET_LARGE() + (small if counting else all_pools(False))


def measure(bint exact=True):
    """(bytes in use of small blocks as their pools say, of large ones, bytes of arenas)."""
    return all_pools(exact), GET_LARGE(), <int64_t>(slots_used - slots_free) * ARENA
