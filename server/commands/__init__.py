"""Commands that need more than the store: connection, server and transaction commands.

Importing this package registers all of them, and the store's, in the one command table.
"""

import perdure.store.commands  # noqa: F401
from perdure.server.commands import (
    acl,
    clients,
    cluster,
    command_info,
    connection,
    debug,
    dumping,
    functions,
    info,
    latency,
    listening,
    lolwut,
    memory,
    modules,
    pausing,
    pubsub,
    replication,
    scripts,
    server,
    slowlog,
    tracking,
    transactions,
    waiting,
)

__all__ = [
    "acl",
    "clients",
    "cluster",
    "command_info",
    "connection",
    "debug",
    "dumping",
    "functions",
    "info",
    "latency",
    "listening",
    "lolwut",
    "memory",
    "modules",
    "pausing",
    "pubsub",
    "replication",
    "scripts",
    "server",
    "slowlog",
    "tracking",
    "transactions",
    "waiting",
]
