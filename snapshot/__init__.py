"""Point-in-time files: what a keyspace was at one moment, as a file, and back.

================  ==========================================================
``rdb``           the RDB codec: files as events, events as files
``store_values``  values of the store as the codec has them, and back
``keyspace``      a keyspace out of a file, and a keyspace as one
``files``         a large file that is written whole or not at all
``base``          the BASE of a log in RDB form, loaded
``rewrite``       the BASE of a log, written and read back
``digest``        everything in a keyspace as one number
================  ==========================================================

When snapshots are made, and by whom, is the server's affair (``server.saves``, ``server.rewrite``).
"""
