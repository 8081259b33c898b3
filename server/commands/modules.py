"""MODULE: there are no modules, and none can be loaded.

LOAD, LOADEX and UNLOAD are refused as stock refuses them, by ``enable-module-command``
first; the server's log says why nothing could be loaded.
"""

from __future__ import annotations

from perdure.server.tx import ServerTx
from perdure.store import errors
from perdure.store.command import ADMIN, LOADING, NO_ASYNC_LOADING, NOSCRIPT, PROTECTED, STALE, command
from perdure.store.errors import CommandError
from perdure.store.resp import EMPTY_ARRAY, array, simple

_ACL = ("admin", "slow", "dangerous")
_LOADS = ADMIN | NOSCRIPT | NO_ASYNC_LOADING | PROTECTED
_HELP = (
    b"MODULE <subcommand> [<argument> ...]. The subcommands:",
    b"LIST",
    b"    The modules that are loaded: none, for perdure takes none.",
    b"LOAD <path> [<argument> ...]",
    b"    Refused.",
    b"LOADEX <path> [CONFIG <name> <value> ...] [ARGS <argument> ...]",
    b"    Refused.",
    b"UNLOAD <name>",
    b"    Refused.",
    b"HELP",
    b"    These lines.",
)


def _not_loaded(tx: ServerTx, path: bytes) -> CommandError:
    shown = path[:256].decode("utf-8", "backslashreplace")
    tx.server.log.warning(f"Module {shown} not loaded: perdure takes no modules")
    return CommandError(errors.MODULE_NOT_LOADED)


@command(
    "MODULE", arity=-2, flags=0, group="server", since="4.0.0", acl=("slow",), complexity="See its subcommands",
    summary="Has subcommands about modules.",
)  # fmt: skip
def module(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MODULE HELP, for who asks the container itself"""
    return module_help(tx, argv)


@command(
    "MODULE|LIST", arity=2, flags=ADMIN | NOSCRIPT, group="server", since="4.0.0", acl=_ACL, complexity="O(1)",
    tips=("nondeterministic_output_order",), summary="Returns the modules that are loaded: none.",
)  # fmt: skip
def module_list(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MODULE LIST"""
    return EMPTY_ARRAY


@command(
    "MODULE|LOAD", arity=-3, flags=_LOADS, group="server", since="4.0.0", acl=_ACL, syntax="path [arg [arg ...]]",
    complexity="O(1)", summary="Refuses to load a module.",
)  # fmt: skip
def module_load(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MODULE LOAD path [arg ...]"""
    raise _not_loaded(tx, argv[2])


@command(
    "MODULE|LOADEX", arity=-3, flags=_LOADS, group="server", since="7.0.0", acl=_ACL,
    syntax="path [CONFIG name value [CONFIG name value ...]] [ARGS arg [arg ...]]", complexity="O(1)",
    summary="Refuses to load a module that is given options.",
)  # fmt: skip
def module_loadex(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MODULE LOADEX path [CONFIG name value ...] [ARGS arg ...]"""
    raise _not_loaded(tx, argv[2])


@command(
    "MODULE|UNLOAD", arity=3, flags=_LOADS, group="server", since="4.0.0", acl=_ACL, syntax="name", complexity="O(1)",
    summary="Refuses to unload a module, for none is loaded.",
)  # fmt: skip
def module_unload(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MODULE UNLOAD name"""
    raise CommandError(errors.NO_SUCH_MODULE)


@command(
    "MODULE|HELP", arity=2, flags=LOADING | STALE, group="server", since="5.0.0", acl=("slow",), complexity="O(1)",
    summary="Tells about the subcommands.",
)  # fmt: skip
def module_help(tx: ServerTx, argv: list[bytes]) -> bytes:
    """MODULE HELP"""
    return array([simple(line) for line in _HELP])
