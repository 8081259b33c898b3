"""Commands that run only if the configuration allows it: DEBUG, and loading modules.

``enable-debug-command`` and ``enable-module-command`` say no, yes, or local: to who comes
from this machine.  It is told before who may do what, and before MULTI queues anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.server.client import Client
from perdure.store import errors
from perdure.store.command import Command

if TYPE_CHECKING:
    from perdure.server.config import Config

_LOCAL = (b"127.0.0.1:", b"[::1]:", b"::1:")


def is_local(client: Client) -> bool:
    """Does the client come from this machine, as ``enable-*-command local`` means it?"""
    return client.unix or client.address.startswith(_LOCAL)


def refusal(config: Config, client: Client, entry: Command) -> bytes | None:
    """Why a ``PROTECTED`` command is not allowed, or None."""
    is_debug = entry.name == b"DEBUG"
    allowed = config["enable-debug-command" if is_debug else "enable-module-command"]
    if allowed == "yes" or (allowed == "local" and is_local(client)):
        return None
    return errors.DEBUG_NOT_ALLOWED if is_debug else errors.MODULE_NOT_ALLOWED
