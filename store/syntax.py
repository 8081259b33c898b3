"""A command's syntax line as a tree of arguments, which COMMAND DOCS answers.

``Command.syntax`` is written for people; this is its grammar::

    syntax       = item*
    item         = word | "[" alternatives "]" | "<" alternatives ">"
    alternatives = item+ ( "|" item+ )*
    word         = TOKEN | name | "..."        a TOKEN has no lower-case letter

- ``[...]`` is optional, ``<...>`` is not; both choose where there is a ``|``.
- A bracket that ends with ``...`` repeats: ``key [key ...]`` is one argument, key, given
  once or more; ``field value [field value ...]`` is a block of two; ``[section ...]``
  alone is given any number of times.  ``[GET pattern [GET pattern ...]]`` repeats its
  token too, ``WEIGHTS weight [weight ...]`` does not.
- A TOKEN takes the names right behind it, or one ``<...>``, as its value: ``EX seconds``
  is one argument, ``LIMIT offset count`` a block; a TOKEN with nothing behind it stands
  for itself.

Types of arguments (integer, key, pattern ...) come from their names, which is what
the names are chosen for.

It must not know: replies, clients.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from perdure.store.command import Command

_WORD = re.compile(r"[\[\]<>|]|[^\s\[\]<>|]+")
_REPEAT = "..."

_TYPES = {
    "key": "key newkey source destination key1 key2 sourcekey destkey",
    "integer": "seconds milliseconds count db destination-db index index1 index2 offset start end stop increment "
    "decrement numkeys cursor length len port client-id protover numreplicas numlocal bit rank num-matches maxlen "
    "limit entries-added entries-read",
    "double": "timeout score longitude latitude radius width height weight float-increment",
    "pattern": "pattern",
    "unix-time": "unix-time-seconds unix-time-milliseconds",
}
_TYPE_OF = {name: kind for kind, names in _TYPES.items() for name in names.split()}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: a value of a ``type``, a ``pure-token``, or a ``block`` or ``oneof`` of ``arguments``.

    ``token`` stands before it on the command line, before each if ``multiple_token``;
    ``key_spec`` is the index of the key specification that it belongs to, -1 for no key.
    """

    name: str
    type: str
    token: str = ""
    optional: bool = False
    multiple: bool = False
    multiple_token: bool = False
    key_spec: int = -1
    arguments: tuple[Argument, ...] = ()


@dataclass(frozen=True, slots=True)
class _Group:
    """A bracket: its alternatives, each a sequence of words and groups."""

    optional: bool
    alternatives: tuple[tuple[_Node, ...], ...]
    repeats: bool


@dataclass(frozen=True, slots=True)
class _Repeated:
    """What is given once or more."""

    nodes: tuple[_Node, ...]


_Node = str | _Group | _Repeated


@dataclass(slots=True)
class _Naming:
    """Which key specification the next key belongs to."""

    specs: int
    keys: int = field(default=0)

    def value(self, name: str) -> Argument:
        kind = _TYPE_OF.get(name, "string")
        if kind != "key":
            return Argument(name, kind)
        if not self.specs:
            return Argument(name, "string")
        index = min(self.keys, self.specs - 1)
        self.keys += 1
        return Argument(name, "key", key_spec=index)


def arguments_of(entry: Command) -> tuple[Argument, ...]:
    """The arguments behind a command's name.  ValueError for a line that is not of the grammar."""
    return parse(entry.syntax, len(entry.key_specs) or int(entry.keys_at[0] > 0))


@lru_cache(maxsize=1024)
def parse(syntax: str, key_specs: int = 0) -> tuple[Argument, ...]:
    """The arguments of a syntax line of a command with so many key specifications."""
    words = iter(_WORD.findall(syntax))
    alternatives = _alternatives(words, "")
    if len(alternatives) != 1:
        raise ValueError(f"a choice outside of brackets: {syntax}")
    return _arguments(alternatives[0], _Naming(key_specs)) if alternatives[0] else ()


# ---- reading ---------------------------------------------------------------------------


def _alternatives(words: Iterator[str], closing: str) -> tuple[tuple[_Node, ...], ...]:
    out: list[tuple[_Node, ...]] = []
    nodes: list[_Node] = []
    for word in words:
        if word == closing:
            break
        if word in ("[", "<"):
            nodes.append(_group(words, word))
        elif word == "|":
            out.append(tuple(nodes))
            nodes = []
        elif word in ("]", ">"):
            raise ValueError(f"{word} without its opening")
        else:
            nodes.append(word)
    else:
        if closing:
            raise ValueError(f"{closing} is missing")
    out.append(tuple(nodes))
    if closing and not all(out):
        raise ValueError("an empty alternative")
    return tuple(out)


def _group(words: Iterator[str], opening: str) -> _Group:
    alternatives = _alternatives(words, "]" if opening == "[" else ">")
    last = alternatives[-1]
    repeats = last[-1] == _REPEAT
    if repeats:
        alternatives = (*alternatives[:-1], last[:-1])
    for nodes in alternatives:
        if not nodes or _REPEAT in nodes:
            raise ValueError("... stands at the end of a bracket, behind what repeats")
    return _Group(opening == "[", alternatives, repeats)


# ---- understanding -----------------------------------------------------------------------


def _arguments(nodes: Sequence[_Node], naming: _Naming) -> tuple[Argument, ...]:
    """A sequence's arguments."""
    nodes = _fold(nodes)
    out: list[Argument] = []
    i = 0
    while i < len(nodes):
        node = nodes[i]
        i += 1
        if not _is_token(node):
            out.append(_argument(node, naming))
            continue
        assert isinstance(node, str)
        values: list[Argument] = []
        while i < len(nodes) and _is_value(nodes[i]):
            values.append(_argument(nodes[i], naming))
            i += 1
        if not values and i < len(nodes) and _is_choice(nodes[i]):
            values.append(_argument(nodes[i], naming))
            i += 1
        if not values:
            out.append(Argument(node.lower(), "pure-token", token=node))
        else:
            out.append(replace(_one(values), token=node))
    return tuple(out)


def _fold(nodes: Sequence[_Node]) -> list[_Node]:
    """Make ``key [key ...]`` one node."""
    out: list[_Node] = []
    for node in nodes:
        if node == _REPEAT:
            raise ValueError("... outside of brackets")
        if isinstance(node, _Group) and node.repeats and len(node.alternatives) == 1:
            again = node.alternatives[0]
            if tuple(out[-len(again) :]) == again:
                del out[-len(again) :]
                out.append(_Repeated(again))
                continue
        out.append(node)
    return out


def _argument(node: _Node, naming: _Naming) -> Argument:
    """A name, a bracket or a repetition as one argument."""
    if isinstance(node, str):
        return naming.value(node)
    if isinstance(node, _Repeated):
        argument = _one(_arguments(node.nodes, naming))
        return replace(argument, multiple=True, multiple_token=bool(argument.token))
    choices = [_one(_arguments(nodes, naming)) for nodes in node.alternatives]
    if len(choices) == 1:
        argument = choices[0]
    else:
        argument = Argument(_join_names(choices), "oneof", arguments=tuple(choices))
    if node.repeats:
        argument = replace(argument, multiple=True, multiple_token=bool(argument.token))
    return replace(argument, optional=True) if node.optional else argument


def _one(arguments: Sequence[Argument]) -> Argument:
    """Several arguments as a block, one as itself."""
    if len(arguments) == 1:
        return arguments[0]
    return Argument(_join_names(arguments), "block", arguments=tuple(arguments))


def _join_names(arguments: Sequence[Argument]) -> str:
    return "_".join(argument.name for argument in arguments)


def _is_token(node: _Node) -> bool:
    return isinstance(node, str) and node == node.upper()


def _is_value(node: _Node) -> bool:
    """A name, or a repetition that begins with one: what a token takes."""
    first = node.nodes[0] if isinstance(node, _Repeated) else node
    return isinstance(first, str) and not _is_token(first)


def _is_choice(node: _Node) -> bool:
    return isinstance(node, _Group) and not node.optional
