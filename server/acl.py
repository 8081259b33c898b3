"""Access control: the users, who speaks as which, what was denied, and users in files.

Every client speaks as a user (``Client.user``), ``default`` until it authenticates.  Two
bits of a client's state keep it off the hot path: NEEDS_AUTH, and RESTRICTED for a
user that may not do everything.  ``refresh`` sets them after any change of users, so a
command of a user with all rights is looked at by nobody.

``requirepass`` is the default user's password; a ``user default`` line or an ACL file
wins over it, and ACL SETUSER default does not change the option.

Users come from ``user`` lines of redis.conf or from ``aclfile``, never from both.  An
ACL file is taken whole or not at all, and replaced by the rules of ATOMIC-FILE.

It must not know: the wire, how a rule is written (``acl_rules``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from perdure.server.acl_log import IN_SCRIPT, IN_TRANSACTION, TOP_LEVEL, AclLog, Entry
from perdure.server.acl_rules import RuleError, Unmatched, apply_rule, has_spaces, merge_selectors, user_line
from perdure.server.acl_user import AUTH, CHANNEL, COMMAND, KEY, Denial, User, channel_fits
from perdure.server.client import CLOSING, IN_MULTI, NEEDS_AUTH, RESTRICTED, Client
from perdure.store import errors
from perdure.store.command import Command
from perdure.store.errors import CommandError
from perdure.wal.atomic import replace_file

if TYPE_CHECKING:
    from perdure.server.server import Server

DEFAULT_USER = b"default"
MAX_FILE_BYTES = 64 << 20
FILE_AND_LINES = (
    "Configuring users in redis.conf and an ACL file (aclfile) at the same time is invalid: "
    "define users in the ACL file or in redis.conf, not in both."
)
_DEFAULT_RULES = (b"+@all", b"~*", b"&*", b"on", b"nopass")

_QUEUED_REASONS = {
    COMMAND: b"no permission to execute the command or subcommand",
    KEY: b"no permission to touch the specified keys",
    CHANNEL: b"no permission to access one of the channels used as arguments to the command",
}
_SCRIPT_REASONS = {
    COMMAND: b"can't run this command or subcommand",
    KEY: b"can't access at least one of the keys mentioned in the command arguments",
    CHANNEL: b"can't publish to the channel mentioned in the command",
}

Subscriptions = tuple[Iterable[bytes], Iterable[bytes]]
"""Patterns and channels that a client has subscribed to."""


class AclRefused(Exception):
    """Users cannot be loaded; ``text`` says why."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Acl:
    """The users of a server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.default = new_default_user()
        self.users: dict[bytes, User] = {DEFAULT_USER: self.default}
        self.log = AclLog()
        self.client_line: Callable[[Client], bytes] = lambda client: b""
        """A client as the log shows it; set by who knows how CLIENT LIST does."""
        self.subscriptions: Callable[[Client], Subscriptions] = lambda client: ((), ())
        """What a client listens to; set by who knows."""

    @property
    def all_channels(self) -> bool:
        """May a new user use every channel?"""
        return bool(self.server.config["acl-pubsub-default"] == "allchannels")

    def sorted_users(self) -> list[User]:
        """All users by name."""
        return [user for _, user in sorted(self.users.items())]

    # ---- who speaks ----------------------------------------------------------------------

    def greet(self, client: Client) -> None:
        """A client that came, or was reset, is the default user, and let in if that is open to all."""
        client.user = self.default
        client.authenticated = self.default.is_open
        self._refresh_client(client)

    def log_in(self, client: Client, name: bytes, password: bytes, by: bytes) -> None:
        """Let a client in as a user; CommandError (WRONGPASS), and an entry of the log, if it may not.

        ``by``: the command's name as the client wrote it.
        """
        user = self.users.get(name)
        if user is None or not user.accepts(password):
            self._note(client, Denial(AUTH, by), _context(client), name)
            raise CommandError(errors.BAD_PASSWORD)
        client.authenticated = True
        client.user = user
        self._refresh_client(client)

    def refresh(self) -> None:
        """Users have changed: who must authenticate, who is restricted?"""
        for client in self.server.clients.values():
            self._refresh_client(client)

    def _refresh_client(self, client: Client) -> None:
        state = client.state & ~(NEEDS_AUTH | RESTRICTED)
        if not client.authenticated and not self.default.is_open:
            state |= NEEDS_AUTH
        if client.user is not None and client.user.restricted:
            state |= RESTRICTED
        client.state = state

    # ---- what is denied --------------------------------------------------------------------

    def refusal(self, client: Client, entry: Command, argv: list[bytes]) -> bytes | None:
        """The error for a command that a client sent and may not run, noted in the log; None if it may."""
        denial = self._denial(client, entry, argv)
        if denial is None:
            return None
        self._note(client, denial, _context(client))
        if denial.kind == KEY:
            return errors.NO_PERMISSION_KEY
        if denial.kind == CHANNEL:
            return errors.NO_PERMISSION_CHANNEL
        return errors.no_permission_command(denial.thing)

    def refusal_of_queued(self, client: Client, entry: Command, argv: list[bytes]) -> bytes | None:
        """The same for a command that EXEC runs."""
        denial = self._denial(client, entry, argv)
        if denial is None:
            return None
        self._note(client, denial, IN_TRANSACTION)
        return errors.no_permission_any_more(_QUEUED_REASONS[denial.kind])

    def refusal_in_script(self, client: Client, entry: Command, argv: list[bytes]) -> bytes | None:
        """The same for a command of a script that ``client`` runs."""
        denial = self._denial(client, entry, argv)
        if denial is None:
            return None
        self._note(client, denial, IN_SCRIPT)
        return errors.script_not_permitted(_SCRIPT_REASONS[denial.kind])

    def allows(self, client: Client, entry: Command, argv: list[bytes]) -> bool:
        """May a client run a command?  Asked only, and noted nowhere."""
        return self._denial(client, entry, argv) is None

    def _denial(self, client: Client, entry: Command, argv: list[bytes]) -> Denial | None:
        return None if client.user is None else client.user.denial(entry, argv)

    def _note(self, client: Client, denial: Denial, context: bytes, name: bytes | None = None) -> None:
        if name is None:
            name = client.user.name if client.user is not None else b""
        entry = Entry(denial.kind, context, denial.thing, name, self.client_line(client), int(time.time() * 1000))
        self.log.add(entry, self.server.config["acllog-max-len"])

    # ---- changing users ----------------------------------------------------------------------

    def set_user(self, name: bytes, rules: list[bytes]) -> None:
        """ACL SETUSER: make or change a user, by all rules or none.  CommandError for the first that is refused."""
        if has_spaces(name):
            raise CommandError(errors.ACL_BAD_USERNAME)
        try:
            merged = merge_selectors(rules)
        except Unmatched as unmatched:
            raise CommandError(errors.unmatched_parenthesis(rules[unmatched.index])) from None
        known = self.users.get(name)
        changed = User(name, self.all_channels)
        if known is not None:
            changed.become(known)
        for rule in merged:
            try:
                apply_rule(changed, rule, self.all_channels)
            except RuleError as error:
                raise CommandError(errors.bad_acl_rule(rule, error.text)) from None
        if known is None:
            self.users[name] = changed
            return
        self._kill_listeners(known, changed)
        known.become(changed)
        self.refresh()

    def delete_users(self, names: list[bytes]) -> int:
        """ACL DELUSER: how many there were; their clients are closed.  CommandError for the default user."""
        if DEFAULT_USER in names:
            raise CommandError(errors.ACL_DEFAULT_STAYS)
        gone = [user for name in names if (user := self.users.pop(name, None)) is not None]
        self._kill_clients_of(gone)
        return len(gone)

    def set_default_password(self, password: bytes) -> None:
        """``requirepass``: the default user's only password; b"" for none."""
        apply_rule(self.default, b"resetpass", True)
        apply_rule(self.default, b">" + password if password else b"nopass", True)
        self.refresh()

    def _kill_clients_of(self, users: list[User]) -> None:
        me = self.server.tx.client
        for client in list(self.server.clients.values()):
            if not any(client.user is user for user in users):
                continue
            client.user = self.default
            client.authenticated = False
            self._refresh_client(client)
            if client is me:
                client.state |= CLOSING  # behind the answer
            else:
                self.server.kill_client(client)

    def _kill_listeners(self, known: User, changed: User) -> None:
        """Close the clients of ``known`` that listen to what the changed user may not."""
        allowed, before = changed.channels(), known.channels()
        if allowed is None or (before is not None and before <= allowed):
            return
        for client in list(self.server.clients.values()):
            if client.user is not known:
                continue
            patterns, channels = self.subscriptions(client)
            if not (
                all(channel_fits(allowed, pattern, True) for pattern in patterns)
                and all(channel_fits(allowed, channel, False) for channel in channels)
            ):
                self.server.kill_client(client)

    # ---- files ---------------------------------------------------------------------------------

    def load_at_start(self) -> None:
        """Users from the configuration's ``user`` lines or its ``aclfile``.  AclRefused with the reason."""
        config = self.server.config
        if config["aclfile"] and config.users:
            raise AclRefused(FILE_AND_LINES)
        for name, rules in config.users:
            self._load_line(name, rules)
        if config["aclfile"]:
            trouble = self.load_file()
            if trouble:
                raise AclRefused(f"Aborting startup because of ACL errors: {os.fsdecode(trouble)}")
        self.refresh()

    def _load_line(self, name: bytes, rules: list[bytes]) -> None:
        if has_spaces(name):
            raise AclRefused("Spaces not allowed in ACL usernames")
        user = self.users.setdefault(name, User(name, self.all_channels))
        if user is self.default:
            apply_rule(user, b"reset", self.all_channels)
        for rule in rules:
            try:
                apply_rule(user, rule, self.all_channels)
            except RuleError as error:
                text = b"Error loading ACL rule '%b' for the user named '%b': %b" % (rule, name, error.text)
                raise AclRefused(os.fsdecode(text)) from None
        if not user.enabled:
            self.server.log.notice(
                f"The user '{os.fsdecode(name)}' is disabled (there is no 'on' modifier in the user description). "
                "Make sure this is not a configuration error."
            )

    def load_file(self) -> bytes:
        """Take all users from ``aclfile``; b"", or what is wrong with it, and then nothing was changed."""
        shown = os.fsencode(self.server.config["aclfile"])
        path = self.server.config.path("aclfile")
        try:
            size = self.server.fs.size(path)
            data = self.server.fs.read(path, 0, min(size, MAX_FILE_BYTES + 1))
        except OSError as error:
            reason = os.fsencode(os.strerror(error.errno or 0))
            return b"Error loading ACLs, opening file '%b': %b" % (shown, reason)
        if len(data) > MAX_FILE_BYTES:
            return b"Error loading ACLs, file '%b' is larger than %d MiB" % (shown, MAX_FILE_BYTES >> 20)
        users, trouble = read_users(data, shown, self.all_channels)
        if trouble:
            return trouble + errors.ACL_NO_CHANGE
        replaced = [user for user in self.users.values() if user is not self.default]
        self.default.become(users.get(DEFAULT_USER) or new_default_user())
        users[DEFAULT_USER] = self.default
        self.users = users
        self._kill_clients_of(replaced)
        self.refresh()
        return b""

    def save_file(self) -> None:
        """Write all users to ``aclfile``.  OSError: the old file stands."""
        directory, name = os.path.split(self.server.config.path("aclfile"))
        data = b"".join([user_line(user) + b"\n" for user in self.sorted_users()])
        replace_file(self.server.fs, directory, name, data)

    def _check(self) -> None:
        assert self.users[DEFAULT_USER] is self.default
        for name, known in self.users.items():
            assert known.name == name
            known._check()
        for client in self.server.clients.values():
            user = client.user
            assert user is not None and self.users[user.name] is user
            assert bool(client.state & RESTRICTED) == user.restricted
            assert bool(client.state & NEEDS_AUTH) == (not client.authenticated and not self.default.is_open)


def new_default_user() -> User:
    """The user that every client is at first: everyone, and allowed everything."""
    user = User(DEFAULT_USER, True)
    for rule in _DEFAULT_RULES:
        apply_rule(user, rule, True)
    return user


def _context(client: Client) -> bytes:
    return IN_TRANSACTION if client.state & IN_MULTI else TOP_LEVEL


def read_users(data: bytes, path: bytes, all_channels: bool) -> tuple[dict[bytes, User], bytes]:
    """The users of an ACL file, and all that is wrong with it in stock's words, b"" for nothing."""
    users: dict[bytes, User] = {}
    trouble = b""
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.strip(b" \t\r\n")
        if not line:
            continue
        words = line.split(b" ")
        if words[0] != b"user" or len(words) < 2:
            trouble += b"%b:%d should start with user keyword followed by the username. " % (path, number)
        elif has_spaces(words[1]):
            trouble += b"'%b:%d: username '%b' contains invalid characters. " % (path, number, words[1])
        elif words[1] in users:
            trouble += b"WARNING: Duplicate user '%b' found on line %d. " % (words[1], number)
        else:
            users[words[1]] = User(words[1], all_channels)
            trouble += _read_rules(users[words[1]], words[2:], b"%b:%d: " % (path, number), all_channels)
    return users, trouble


def _read_rules(user: User, words: list[bytes], where: bytes, all_channels: bool) -> bytes:
    """Apply a line's rules; what is wrong with them: every unknown command, and the first of anything else."""
    try:
        rules = merge_selectors(words)
    except Unmatched:
        return where + b"Unmatched parenthesis in selector definition."
    trouble = b""
    told = False
    for rule in rules:
        rule = rule.strip(b"\t\r\n")
        try:
            apply_rule(user, rule, all_channels)
        except RuleError as error:
            if error.unknown:
                trouble += b"%bError in applying operation '%b': %b. " % (where, rule, error.text)
            elif not told:
                trouble += b"%b%b. " % (where, error.text)
                told = True
    return trouble
