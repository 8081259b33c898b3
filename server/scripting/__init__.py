"""Lua: scripts (EVAL ...) and libraries of functions (FCALL ...), on ``lupa.lua51``.

===============  ==================================================================
``lua/``         what runs inside of Lua: the sandbox, replies, cjson, cmsgpack, math
``machine``      one Lua: its sandbox, its memory's bound, calls into it
``values``       RESP replies as Lua values
``builtins``     struct and bit, which are faster and shorter in Python
``api``          the ``redis`` table's functions
``run``          one run of a script, from its flags to its reply
``scripts``      what a server has of all this: the cache of scripts, who runs now
``slices``       scripts that take long: run in slices, answered -BUSY meanwhile, killed
``libraries``    FUNCTION's libraries, which are data: in the keyspace, in the log
``payload``      what FUNCTION DUMP and RESTORE exchange
``shebang``      a script's first line
===============  ==================================================================

Two machines, as in stock: one for scripts, one for libraries.  A script is compiled once
and kept by its SHA-1.  ``redis.call`` is one call from Lua into Python, to the engine's
``run`` as for any client, and what it changed is one group of the log.

A script that takes long
------------------------

The server is one loop in one thread, and Lua cannot be left in the middle and come back
to, except on a C stack of its own.  So what may run Lua (EVAL ..., an EXEC with one of them
queued) runs on a greenlet, one that is kept: about half a microsecond for a short script.
A count hook fires every 100,000 instructions; once ``busy-reply-threshold`` has passed, it
switches back to the loop, which goes on serving: everybody else is answered -BUSY but for
what stock allows (SCRIPT KILL, FUNCTION KILL, FUNCTION STATS, SHUTDOWN NOSAVE, MULTI ...).
The loop resumes the script in every turn.  There is one thread and one writer: while a script
is suspended, nothing but it touches the keyspace (``BUSY``: no commands, no expiry, nobody who
waits is served).  What was logged before its group is committed and answered; its group stays
open in the batch, and is dropped if the process ends before it does.

Limits: one call of a C function (``string.rep``, a pattern that backtracks) is not
interrupted, as in stock.  A machine's memory is bounded (``machine.MEMORY_BYTES``); a
script that passes it ends with an error that it cannot catch, and the machine is made anew.

Where it is not stock
---------------------

- ``redis.set_repl`` checks its argument and changes nothing: what changes memory is logged.
- A number passed to ``redis.call`` that is minus zero arrives as 0, where stock has ``-0``.
- Functions of the base library that look at read-only tables (``rawset``, ``setmetatable``, ``load`` ...) are
  written in Lua: in a tail call that fails (``return load('x')``) the line it is in is not known, and said as ``?``.
- SCRIPT DEBUG YES and SYNC are taken and debug nothing; ``breakpoint`` and ``debug`` do nothing,
  as they do in stock without a debugger.
"""
