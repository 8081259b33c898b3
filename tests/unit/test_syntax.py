"""Syntax lines as trees of arguments, and every command's line as redis-cli prints it."""

from __future__ import annotations

import pytest

import perdure.server.commands
import perdure.store.commands  # noqa: F401 - fills the command table
from perdure.store.command import Command, every_command
from perdure.store.syntax import Argument, arguments_of, parse


def shown(argument: Argument) -> str:
    """One argument as redis-cli's hints print it."""
    if argument.type == "oneof":
        text = "|".join(map(shown, argument.arguments))
    elif argument.type == "block":
        text = " ".join(map(shown, argument.arguments))
    elif argument.type == "pure-token":
        return f"[{argument.token}]" if argument.optional else argument.token
    else:
        text = argument.name
    before = argument.token + " " if argument.token else ""
    if argument.multiple:
        text = f"{text} [{before if argument.multiple_token else ''}{text} ...]"
    text = before + text
    return f"[{text}]" if argument.optional else text


def hint(syntax: str) -> str:
    return " ".join(map(shown, parse(syntax, 1)))


def fewest(arguments: tuple[Argument, ...]) -> int:
    """The least number of words that the arguments may be."""
    total = 0
    for argument in arguments:
        if argument.optional:
            continue
        if argument.type == "oneof":
            total += min(fewest((choice,)) for choice in argument.arguments)
        elif argument.type == "block":
            total += fewest(argument.arguments)
        else:
            total += 1
        total += argument.token != "" and argument.type != "pure-token"
    return total


def is_fixed(arguments: tuple[Argument, ...]) -> bool:
    """Is there but one number of words?"""
    for argument in arguments:
        if argument.optional or argument.multiple or not is_fixed(argument.arguments):
            return False
        if argument.type == "oneof" and len({fewest((choice,)) for choice in argument.arguments}) > 1:
            return False
    return True


def test_names_become_typed_arguments_and_keys_know_their_specification() -> None:
    assert parse("key seconds value", 1) == (
        Argument("key", "key", key_spec=0),
        Argument("seconds", "integer"),
        Argument("value", "string"),
    )
    assert [a.key_spec for a in parse("source destination", 2)] == [0, 1]
    assert [a.key_spec for a in parse("key1 key2", 1)] == [0, 0]
    assert parse("source destination", 0)[0].type == "string"


def test_a_bracket_with_choices_is_an_optional_oneof() -> None:
    (one,) = parse("[NX | EX seconds | KEEPTTL]")
    assert (one.type, one.optional, one.name) == ("oneof", True, "nx_seconds_keepttl")
    assert one.arguments == (
        Argument("nx", "pure-token", "NX"),
        Argument("seconds", "integer", "EX"),
        Argument("keepttl", "pure-token", "KEEPTTL"),
    )
    assert not parse("<ON | OFF>")[0].optional


def test_repetition_folds_into_what_it_repeats() -> None:
    assert parse("key [key ...]", 1) == (Argument("key", "key", multiple=True, key_spec=0),)
    (pair,) = parse("field value [field value ...]")
    assert (pair.type, pair.name, pair.multiple, pair.optional) == ("block", "field_value", True, False)
    assert parse("[section ...]") == (Argument("section", "string", optional=True, multiple=True),)
    assert parse("[section [section ...]]") == parse("[section ...]")


def test_a_token_takes_the_names_behind_it() -> None:
    assert parse("[LIMIT offset count]")[0] == Argument(
        "offset_count", "block", "LIMIT", True, arguments=(Argument("offset", "integer"), Argument("count", "integer"))
    )
    (weights,) = parse("[WEIGHTS weight [weight ...]]")
    assert (weights.token, weights.multiple, weights.multiple_token) == ("WEIGHTS", True, False)
    (get,) = parse("[GET pattern [GET pattern ...]]")
    assert (get.token, get.multiple, get.multiple_token, get.optional) == ("GET", True, True, True)
    (choice,) = parse("[FILTERBY <MODULE module-name | ACLCAT category>]")
    assert (choice.type, choice.token, len(choice.arguments)) == ("oneof", "FILTERBY", 2)


@pytest.mark.parametrize(
    "syntax",
    [
        "key value [NX|XX] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|KEEPTTL]",
        "key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value [field value ...]",
        "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]",
        "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA]",
        "[GROUP group consumer] STREAMS key [key ...] id [id ...]",
    ],
)
def test_the_hint_that_a_client_makes_of_the_tree_is_the_syntax_line(syntax: str) -> None:
    written = (
        syntax.replace("[MAXLEN|MINID [=", "[<MAXLEN|MINID> [=")
        .replace("*|id", "<*|id>")
        .replace("SUM|MIN|MAX", "<SUM|MIN|MAX>")
    )
    assert hint(written) == syntax


@pytest.mark.parametrize("syntax", ["[key", "key]", "a | b", "key ...", "[]", "[a | ]", "[...]", "<a", "[... a]"])
def test_a_line_that_is_not_of_the_grammar_is_refused(syntax: str) -> None:
    with pytest.raises(ValueError):
        parse(syntax)


LOOSER = {
    b"AUTH": "the optional name stands before the password",
    b"QUIT": "ignores whatever follows",
    b"CLIENT|KILL": "takes an address, or filters",
    b"PSYNC": "ignores whatever follows, as stock does",
}


@pytest.mark.parametrize("entry", every_command(), ids=lambda entry: entry.lower_name.decode())
def test_every_command_has_a_syntax_line_that_agrees_with_its_arity(entry: Command) -> None:
    arguments = arguments_of(entry)
    if entry.subcommands:
        assert not arguments
        return
    words = fewest(arguments) + (2 if b"|" in entry.name else 1)
    if entry.name not in LOOSER:
        assert words <= abs(entry.arity)
        assert is_fixed(arguments) == (entry.arity > 0)
        if entry.arity > 0:
            assert words == entry.arity
