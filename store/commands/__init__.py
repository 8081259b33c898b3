"""Commands that need nothing but the store, a module or two a data type.

Importing this package registers all of them in the one command table.
"""

from perdure.store.commands import (
    bitfields,
    bits,
    counters,
    expiry,
    hash_pages,
    hashes,
    hyperloglogs,
    keys,
    lcs,
    list_blocking,
    list_edits,
    list_moves,
    lists,
    objects,
    set_algebra,
    set_draws,
    sets,
    sorting,
    string_edits,
    strings,
)

__all__ = [
    "bitfields",
    "bits",
    "counters",
    "expiry",
    "hash_pages",
    "hashes",
    "hyperloglogs",
    "keys",
    "lcs",
    "list_blocking",
    "list_edits",
    "list_moves",
    "lists",
    "objects",
    "set_algebra",
    "set_draws",
    "sets",
    "sorting",
    "string_edits",
    "strings",
]
