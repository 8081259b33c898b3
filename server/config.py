"""The configuration: the values of all options, how they got them, and CONFIG GET and CONFIG SET on them.

``load`` reads files and the command line as redis-server does: the file, then
stdin, then the options of the command line, each directive in its order, later
ones winning (save points add up).  A directive that cannot be honoured and whose
absence would endanger (cluster, replication, modules) refuses the start with its
file and line; what is only tuning is stored and shown.  The rules of a ``user``
line are tried here and applied by ``server.acl``; commands that they name may be
unknown until then, as in stock.

Relative paths are stock's: stock changes its directory when it meets ``dir``,
so an include before ``dir`` is relative to the directory of the start, and
``logfile``, ``pidfile``, ``unixsocket`` ... are relative to ``dir`` wherever
they stand.  This process need not change its directory: ``path`` answers
absolute paths.

CONFIG SET is all or nothing: every name is looked up, every value read, and then
the hooks of the options that changed are called in order, one that is about several
options once; whatever fails puts back all of it, and calls the hooks that had run
once more, with the old values.

Names are looked up in any case and by alias; values are typed as in
``option_values``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from perdure.server.acl_rules import RuleError, Unmatched, apply_rule, merge_selectors
from perdure.server.acl_user import User
from perdure.server.config_file import BAD_DIRECTIVE, Invocation, Line, Reader, lines_of, read_stdin
from perdure.server.option_values import ConfigError, Context, read, show
from perdure.server.options import BY_NAME, IGNORED, OPTIONS, REFUSED, WARNED, Option
from perdure.store import errors
from perdure.store.patterns import matches_ignoring_case

__all__ = ["Config", "ConfigError", "load"]

# Texts that clients see, as redis-server 7.0 words them; the reasons are in option_values.
UNKNOWN_OPTION: Final = "ERR Unknown option or number of arguments for CONFIG SET - '%s'"
SET_FAILED: Final = "ERR CONFIG SET failed (possibly related to argument '%s') - %s"
SET_FAILED_SILENTLY: Final = "ERR CONFIG SET failed (possibly related to argument '%s')"
IMMUTABLE: Final = "can't set immutable config"
PROTECTED: Final = "can't set protected config"
DUPLICATE: Final = "duplicate parameter"
WHILE_LOADING: Final = "LOADING Redis is loading the dataset in memory"
UNSUPPORTED: Final = "%s is not supported by this version of perdure"
DIR_IN_USE: Final = "the data directory holds the open log and cannot be changed while the server runs"
BAD_USER: Final = "Error in user declaration '%s': %s"
SENTINEL: Final = "sentinel directive while not in sentinel mode"

Hook = Callable[[Any], None]


class Config:
    """All values.  ``config["port"]`` is typed; ``file`` is the main file's absolute path or None."""

    def __init__(self, base: str) -> None:
        """``base``: an absolute directory, the one that the process was started in."""
        self.file: str | None = None
        self.rename_lines: list[Line] = []
        self.users: list[tuple[bytes, list[bytes]]] = []  # (name, rules)
        self.explicit: dict[str, Line] = {}  # canonical name -> the last line that set it
        self._values: dict[str, Any] = {option.name: option.default for option in OPTIONS}
        self._values["dir"] = os.path.realpath(base)
        self._hooks: dict[str, list[Hook]] = {}

    @property
    def renamed_commands(self) -> list[tuple[bytes, bytes]]:
        """(name, new name, or b"" to remove the command) of each ``rename-command``."""
        return [(line.words[1], line.words[2]) for line in self.rename_lines]

    def __getitem__(self, name: str) -> Any:
        """The typed value; KeyError for a name that no option has."""
        return self._values[BY_NAME[name].name]

    def path(self, name: str) -> str:
        """The absolute path that an option names; "" if it is not set."""
        value = self[name]
        return os.path.join(self._values["dir"], value) if value else ""

    def on_change(self, name: str, hook: Hook) -> None:
        """Call ``hook(new value)`` when CONFIG SET has changed an option; ConfigError(reason) from it refuses."""
        self._hooks.setdefault(BY_NAME[name].name, []).append(hook)

    def warnings(self) -> list[str]:
        """One line for each option that was set, has no effect here, and may be counted on."""
        return [
            f"'{name}' is set, but {reason}"
            for name, (nothing, reason) in WARNED.items()
            if self._values[name] != nothing
        ]

    # ---- CONFIG GET and SET --------------------------------------------------

    def get(self, patterns: list[bytes]) -> list[tuple[bytes, bytes]]:
        """CONFIG GET: every option that a pattern matches, once; a plain name is answered as it was written."""
        found: dict[bytes, tuple[bytes, bytes]] = {}
        for pattern in patterns:
            if not any(c in pattern for c in b"*?["):
                option = BY_NAME.get(os.fsdecode(pattern).lower())
                if option is not None:
                    found.setdefault(pattern.lower(), (pattern, show(option, self._values[option.name])))
                continue
            for name, option in BY_NAME.items():
                encoded = name.encode()
                if option.hidden or encoded in found:
                    continue
                if pattern == b"*" or matches_ignoring_case(pattern, encoded):
                    found[encoded] = (encoded, show(option, self._values[option.name]))
        return list(found.values())

    def set(self, pairs: list[tuple[bytes, bytes]], *, local: bool = False, loading: bool = False) -> None:
        """CONFIG SET, all pairs or none.  ConfigError has the whole error's text, from ``ERR`` (``LOADING``) on.

        ``local``: the client is on a loopback or unix socket (enable-protected-configs local).
        ``loading``: the data is being loaded.
        """
        options = self._settable(pairs, local, loading)
        before = dict(self._values)
        try:
            for option, (name, value) in zip(options, pairs, strict=True):
                context = Context(self._values[option.name], False, False, self._values["dir"])
                try:
                    new = read(option, [value], context)
                    if option.name == "dir" and new != self._values["dir"]:
                        raise ConfigError(DIR_IN_USE)
                except ConfigError as error:
                    raise _set_failed(name.lower(), error.text) from None
                self._values[option.name] = new
            names = {option.name: name.lower() for option, (name, _) in zip(options, pairs, strict=True)}
            self._call_hooks(names, before)
        except BaseException:
            self._values = before
            raise

    def _settable(self, pairs: list[tuple[bytes, bytes]], local: bool, loading: bool) -> list[Option]:
        options: list[Option] = []
        seen: set[bytes] = set()
        for name, _ in pairs:
            option = BY_NAME.get(os.fsdecode(name).lower())
            if option is None:
                raise ConfigError(_one_line(UNKNOWN_OPTION % os.fsdecode(name)))
            reason = ""
            if not option.mutable:
                reason = IMMUTABLE
            elif option.protected and not self._unprotected(local):
                reason = PROTECTED
            elif loading and option.deny_loading:
                raise ConfigError(WHILE_LOADING)
            elif name.lower() in seen:
                reason = DUPLICATE
            if reason:
                raise _set_failed(name, reason)
            seen.add(name.lower())
            options.append(option)
        return options

    def _unprotected(self, local: bool) -> bool:
        allowed = self._values["enable-protected-configs"]
        return bool(allowed == "yes" or (allowed == "local" and local))

    def _call_hooks(self, names: dict[str, bytes], before: dict[str, Any]) -> None:
        done: list[tuple[Hook, Any]] = []
        for name, written in names.items():
            if self._values[name] == before[name] and not BY_NAME[name].volatile:
                continue
            for hook in self._hooks.get(name, ()):
                if any(hook == called for called, _ in done):
                    continue  # it has seen to all options that it is about
                try:
                    hook(self._values[name])
                except BaseException as error:
                    self._values = before
                    for undo, old in reversed(done):
                        with suppress(ConfigError):  # the reason that counts is the first one
                            undo(old)
                    if isinstance(error, ConfigError):
                        raise _set_failed(written, error.text) from None
                    raise
                done.append((hook, before[name]))

    # ---- loading -------------------------------------------------------------

    def take(self, line: Line) -> None:
        """Set what one line of a file or of the command line says; ``include`` is not taken here."""
        name, words = line.name, line.words[1:]
        option = BY_NAME.get(name)
        if option is not None:
            context = Context(self._values[option.name], True, option.name in self.explicit, self._values["dir"])
            try:
                self._values[option.name] = read(option, words, context)
            except ConfigError as error:
                raise line.error(error.text) from None
            self.explicit[option.name] = line
        elif name == "rename-command" and len(words) == 2:
            self.rename_lines.append(line)
        elif name == "user" and words:
            self._take_user(line)
        elif name == "loadmodule" and words:
            raise line.error(UNSUPPORTED % name)
        elif name == "sentinel":
            raise line.error(SENTINEL)
        elif name not in IGNORED or len(words) != 1:
            raise line.error(BAD_DIRECTIVE)

    def _take_user(self, line: Line) -> None:
        """Try a user's rules.  Stock names another word of the line than the one that is wrong; here it is that one."""
        name, rules = line.words[1], line.words[2:]
        all_channels = self._values["acl-pubsub-default"] == "allchannels"
        wrong, reason = b"", b""
        if any(name == known for known, _ in self.users):
            wrong, reason = name, errors.ACL_DUPLICATE
        try:
            rules = merge_selectors(rules)
        except Unmatched as unmatched:
            wrong, reason = rules[unmatched.index], errors.ACL_UNMATCHED
        trial = User(name, all_channels)
        for rule in () if reason else rules:
            try:
                apply_rule(trial, rule, all_channels)
            except RuleError as error:
                if not error.unknown:
                    wrong, reason = rule, error.text
                    break
        if reason:
            shown = "< (not shown)" if wrong.startswith(b"<") else os.fsdecode(wrong)
            raise line.error(BAD_USER % (shown, os.fsdecode(reason)))
        self.users.append((name, rules))

    def refuse_unsupported(self) -> None:
        """ConfigError, with the line, if an option asks for what cannot be had and must not be passed over."""
        for name, nothing in REFUSED.items():
            if self._values[name] != nothing:
                reason = UNSUPPORTED % name
                raise self.explicit[name].error(reason) if name in self.explicit else ConfigError(reason)

    def _check(self) -> None:
        assert set(self._values) == {option.name for option in OPTIONS}
        assert os.path.isabs(self._values["dir"])
        for option in OPTIONS:
            value = self._values[option.name]
            if option.kind in ("int", "memory", "octal", "percent"):
                assert isinstance(value, int) and option.low <= value <= option.high, option.name
            elif option.kind == "enum":
                assert value in option.words, option.name
            assert isinstance(show(option, value), bytes), option.name


def _set_failed(name: bytes, reason: str) -> ConfigError:
    shown = os.fsdecode(name)
    return ConfigError(_one_line(SET_FAILED % (shown, reason) if reason else SET_FAILED_SILENTLY % shown))


def _one_line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")


def load(invocation: Invocation, stdin: Callable[[int], bytes], base: str) -> Config:
    """The configuration that a command line asks for.

    ``stdin`` is a binary file's ``read``; ``base`` the directory of the start.
    ConfigError has the text for stderr, several lines, as stock prints it.
    """
    config = Config(base)
    reader = Reader()
    if invocation.path is not None:
        config.file = os.path.join(base, invocation.path)
        _take_file(config, reader, config.file, 0)
    if invocation.stdin:
        for line in lines_of(read_stdin(stdin), "the configuration from stdin"):
            _take_line(config, reader, line, 0)
    for line in invocation.options:
        _take_line(config, reader, line, 0)
    config.refuse_unsupported()
    return config


def _take_file(config: Config, reader: Reader, path: str, depth: int) -> None:
    for line in reader.lines(os.path.join(config["dir"], path), depth):
        _take_line(config, reader, line, depth)


def _take_line(config: Config, reader: Reader, line: Line, depth: int) -> None:
    if line.name == "include" and len(line.words) == 2:
        _take_file(config, reader, os.fsdecode(line.words[1]), depth + 1)
    else:
        config.take(line)
