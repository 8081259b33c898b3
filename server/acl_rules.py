"""ACL rules: the words of ACL SETUSER, ``user`` lines and ACL files, applied to a user, and a user written as such.

====================================  ==========================================================
on, off                               may one authenticate as this user?
nopass, resetpass                     every password fits; none does
>password, <password                  one more, one less
#hash, !hash                          the same by its SHA-256 in hex
sanitize-payload, skip-…              kept and shown, and without effect
~pattern, %R~p, %W~p, %RW~p           keys: read and write, or one of them
allkeys (~*), resetkeys               every key, none
&pattern, allchannels (&*), reset…    channels
+command, -command, +command|first    commands; a container's subcommands with it
+@category, -@category                all of a category
allcommands (+@all), nocommands       everything, those included that there will be; nothing
(rule ...), clearselectors            one more selector; no more than the root
reset                                 back to a user that may do nothing
====================================  ==========================================================

A description begins with what all commands have in common (``+@all`` or ``-@all``) and
goes on with the categories that fit best, the best first, and what is left of single
commands, by name.  Applied to a new user, it makes one with the same rights.

It must not know: connections, files.
"""

from __future__ import annotations

from perdure.server.acl_categories import CATEGORIES, command_named, members, own_commands, reach, with_subcommands
from perdure.server.acl_user import READ, READ_AND_WRITE, USER_FLAGS, WRITE, Selector, User, hash_password
from perdure.store import errors
from perdure.wal.words import split_words

_SPACES = frozenset(b" \t\n\r\v\f\0")
_HASH_DIGITS = frozenset(b"0123456789abcdef")
_HASH_LENGTH = 64
_RIGHTS = {0x52: READ, 0x57: WRITE}  # R, W
_SHOWN_RIGHTS = {READ_AND_WRITE: b"~", READ: b"%R~", WRITE: b"%W~"}


class RuleError(Exception):
    """A rule that is refused; ``text`` is stock's reason, ``unknown``: for a command or category that there is not."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text
        self.unknown = text == errors.ACL_UNKNOWN


class Unmatched(Exception):
    """A parenthesis that is opened by word number ``index`` and not closed."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


def has_spaces(text: bytes) -> bool:
    """Has a name what no name may have?"""
    return not _SPACES.isdisjoint(text)


def merge_selectors(words: list[bytes]) -> list[bytes]:
    """Rules, a selector whose words came apart as one of them.  ``Unmatched`` if it does not end."""
    merged: list[bytes] = []
    begun: list[bytes] = []
    begun_at = -1
    for at, word in enumerate(words):
        if word.startswith(b"(") and not word.endswith(b")"):
            begun, begun_at = [word], at  # one inside another begins anew, as in stock
        elif begun_at >= 0:
            begun.append(word.partition(b"\0")[0])
            if word.endswith(b")"):
                merged.append(b" ".join(begun))
                begun_at = -1
        else:
            merged.append(word)
    if begun_at >= 0:
        raise Unmatched(begun_at)
    return merged


# ---- applying --------------------------------------------------------------------------


def apply_rule(user: User, rule: bytes, all_channels: bool) -> None:
    """Change a user as a rule says; ``all_channels``: ``acl-pubsub-default``..

    RuleError; the user may be half changed then.
    """
    word = rule.partition(b"\0")[0].lower()
    first = rule[:1]
    if not rule:
        return
    if word in _SIMPLE:
        add, remove = _SIMPLE[word]
        user.flags.difference_update(remove)
        user.flags.update(add)
        if word in (b"nopass", b"resetpass"):
            user.passwords.clear()
    elif first in (b">", b"#"):
        digest = _hash_of(rule)
        if digest not in user.passwords:
            user.passwords.append(digest)
        user.flags.discard(b"nopass")
    elif first in (b"<", b"!"):
        digest = _hash_of(rule)
        if digest not in user.passwords:
            raise RuleError(errors.ACL_NO_SUCH_PASSWORD)
        user.passwords.remove(digest)
    elif first == b"(" and rule.endswith(b")"):
        selector = Selector(all_channels)
        for inner in split_words(rule[1:-1]) or []:
            apply_to_selector(selector, inner)
        user.selectors.append(selector)
    elif word == b"clearselectors":
        del user.selectors[1:]
    elif word == b"reset":
        for step in _RESET:
            apply_rule(user, step, all_channels)
        user.root.all_channels = all_channels
    else:
        apply_to_selector(user.root, rule)


_SIMPLE: dict[bytes, tuple[tuple[bytes, ...], tuple[bytes, ...]]] = {
    b"on": ((b"on",), (b"off",)),
    b"off": ((b"off",), (b"on",)),
    b"nopass": ((b"nopass",), ()),
    b"resetpass": ((), (b"nopass",)),
    b"sanitize-payload": ((b"sanitize-payload",), (b"skip-sanitize-payload",)),
    b"skip-sanitize-payload": ((b"skip-sanitize-payload",), (b"sanitize-payload",)),
}
"""Rules about flags: those that they set and those that they take away."""
_RESET = (b"resetpass", b"resetkeys", b"resetchannels", b"off", b"sanitize-payload", b"clearselectors", b"-@all")


def _hash_of(rule: bytes) -> bytes:
    """The hash that a rule about a password names."""
    if rule[:1] in (b">", b"<"):
        return hash_password(rule[1:])
    digest = rule[1:]
    if len(digest) != _HASH_LENGTH or not _HASH_DIGITS.issuperset(digest):
        raise RuleError(errors.ACL_BAD_HASH)
    return digest


def apply_to_selector(selector: Selector, rule: bytes) -> None:
    """Change a selector as a rule about keys, channels or commands says.  RuleError."""
    word = rule.partition(b"\0")[0].lower()
    first = rule[:1]
    if word in (b"allkeys", b"~*", b"resetkeys"):
        selector.all_keys = word != b"resetkeys"
        selector.keys.clear()
    elif word in (b"allchannels", b"&*", b"resetchannels"):
        selector.all_channels = word != b"resetchannels"
        selector.channels.clear()
    elif word in (b"allcommands", b"+@all", b"nocommands", b"-@all"):
        selector.allow_all(word in (b"allcommands", b"+@all"))
    elif first in (b"~", b"%"):
        _add_key_pattern(selector, rule)
    elif first == b"&":
        if selector.all_channels:
            raise RuleError(errors.ACL_ALL_CHANNELS)
        if has_spaces(rule[1:]):
            raise RuleError(errors.ACL_SYNTAX)
        selector.channels[rule[1:]] = None
    elif first in (b"+", b"-") and rule[1:2] == b"@":
        category = word[2:].decode("latin-1")
        if category not in CATEGORIES:
            raise RuleError(errors.ACL_UNKNOWN)
        _allow_category(selector, category, first == b"+")
    elif first == b"+":
        _add_command(selector, rule[1:].partition(b"\0")[0])
    elif first == b"-":
        entry = command_named(word[1:])
        if entry is None:
            raise RuleError(errors.ACL_UNKNOWN)
        selector.first_args.pop(entry.name, None)
        selector.allow(with_subcommands(entry), False)
    else:
        raise RuleError(errors.ACL_SYNTAX)


def _add_key_pattern(selector: Selector, rule: bytes) -> None:
    if selector.all_keys:
        raise RuleError(errors.ACL_ALL_KEYS)
    rights, pattern = READ_AND_WRITE, rule[1:]
    if rule[:1] == b"%":
        rights = 0
        letters, _, pattern = pattern.partition(b"~")
        for letter in letters.upper():
            right = _RIGHTS.get(letter, 0)
            if not right or rights & right:
                raise RuleError(errors.ACL_SYNTAX)
            rights |= right
        if not rights:
            raise RuleError(errors.ACL_SYNTAX)
    if has_spaces(pattern):
        raise RuleError(errors.ACL_SYNTAX)
    selector.keys[pattern] = selector.keys.get(pattern, 0) | rights


def _allow_category(selector: Selector, category: str, allowed: bool) -> None:
    for name in members(category).intersection(selector.first_args):
        del selector.first_args[name]
    selector.allow(reach(category), allowed)


def _add_command(selector: Selector, name: bytes) -> None:
    """``+command``, ``+container|subcommand`` or ``+command|first-argument``."""
    container, bar, sub = name.rpartition(b"|")
    entry = command_named(container if bar else sub)
    if entry is None:
        raise RuleError(errors.ACL_UNKNOWN)
    if bar:
        if b"|" in container:
            raise RuleError(errors.ACL_CHILD)
        if not sub:
            raise RuleError(errors.ACL_SYNTAX)
        if not entry.subcommands:
            words = selector.first_args.setdefault(entry.name, [])
            if sub.lower() not in map(bytes.lower, words):
                words.append(sub)
            selector.described = b""
            return
        entry = command_named(name)
        if entry is None:
            raise RuleError(errors.ACL_UNKNOWN)
    selector.first_args.pop(entry.name, None)
    selector.allow(with_subcommands(entry), True)


# ---- describing ------------------------------------------------------------------------


def describe_commands(selector: Selector) -> bytes:
    """The rules that make the selector's set of commands."""
    if not selector.described:
        selector.described = _describe_commands(selector)
    return selector.described


def _describe_commands(selector: Selector) -> bytes:
    """O(C**2 + N) for C categories and N commands."""
    additive = not selector.future
    sign = b"+@" if additive else b"-@"
    rules = [b"-@all" if additive else b"+@all"]
    made = Selector(False)
    made.allow_all(not additive)
    left = set(selector.commands)
    names = list(CATEGORIES)
    while True:
        best, fewest, most = "", 1 << 31, 0
        for name in names:
            inside = len(members(name) & left)
            outside = len(members(name)) - inside
            same, different = (inside, outside) if additive else (outside, inside)
            if same > different and (different < fewest or (different == fewest and same > most)):
                best, fewest, most = name, different, same
        if not best:
            break
        names.remove(best)
        rules.append(sign + best.encode())
        made.allow(reach(best), additive)
        if additive:
            left -= reach(best)
        else:
            left |= reach(best)
    for entry in own_commands():
        allowed = entry.name in selector.commands
        if allowed != (entry.name in made.commands):
            rules.append((b"+" if allowed else b"-") + entry.lower_name)
            made.allow(with_subcommands(entry), allowed)
        if not allowed:
            rules += [b"+%b|%b" % (entry.lower_name, word) for word in selector.first_args.get(entry.name, ())]
    assert made.commands == selector.commands
    return b" ".join(rules)


def describe_keys(selector: Selector) -> bytes:
    """The selector's key patterns as rules.

    A ``*`` that was put together of ``%R~*`` and ``%W~*`` is no ``allkeys``, and behind ``~*`` no pattern may
    follow: stock writes it so and cannot read it back.
    """
    if selector.all_keys:
        return b"~*"
    rules = [_SHOWN_RIGHTS[rights] + pattern for pattern, rights in selector.keys.items()]
    return b" ".join([b"%RW~*" if rule == b"~*" else rule for rule in rules[:-1]] + rules[-1:])


def describe_channels(selector: Selector) -> bytes:
    """The selector's channel patterns as rules."""
    if selector.all_channels:
        return b"&*"
    return b" ".join([b"&" + pattern for pattern in selector.channels])


def describe_selector(selector: Selector) -> bytes:
    """All of a selector as rules."""
    keys, channels = describe_keys(selector), describe_channels(selector)
    parts = [keys] if keys else []
    if not selector.all_channels:
        parts.append(b"resetchannels")
    if channels:
        parts.append(channels)
    return b" ".join([*parts, describe_commands(selector)])


def flags_of(user: User) -> list[bytes]:
    """The user's flags in the order in which they are shown."""
    return [flag for flag in USER_FLAGS if flag in user.flags]


def describe_user(user: User) -> bytes:
    """A user as a line of an ACL file has it, from its flags on."""
    parts = flags_of(user) + [b"#" + digest for digest in user.passwords]
    parts.append(describe_selector(user.root))
    parts += [b"(%b)" % describe_selector(selector) for selector in user.selectors[1:]]
    return b" ".join(parts)


def user_line(user: User) -> bytes:
    """A user as ACL LIST, ACL files and redis.conf have it."""
    return b"user %b %b" % (user.name, describe_user(user))
