"""Values, CONFIG GET and CONFIG SET, without a server."""

from __future__ import annotations

import os

import pytest

from perdure.server.config import Config, ConfigError
from perdure.server.options import BY_NAME, OPTIONS


@pytest.fixture
def config(tmp_path) -> Config:
    return Config(str(tmp_path))


def refusal(config: Config, *pairs: tuple[bytes, bytes], **how) -> str:
    with pytest.raises(ConfigError) as caught:
        config.set(list(pairs), **how)
    config._check()
    return caught.value.text


def test_defaults_are_typed(config, tmp_path):
    config._check()
    assert config["port"] == 6379
    assert config["appendfsync"] == "everysec"
    assert config["appendonly"] is True
    assert config["save"] == ()
    assert config["bind"] == ("*", "-::*")
    assert config["requirepass"] == b""
    assert config["dir"] == os.path.realpath(tmp_path)
    assert config["client-output-buffer-limit"]["pubsub"] == (33554432, 8388608, 60)


def test_no_name_is_given_twice():
    assert len(BY_NAME) == sum(1 + len(option.aliases) for option in OPTIONS)


def test_alias_reads_and_writes_the_same_value(config):
    config.set([(b"hash-max-ziplist-entries", b"7")])
    assert config["hash-max-listpack-entries"] == config["hash-max-ziplist-entries"] == 7
    assert dict(config.get([b"hash-max-*-entries"])) == {
        b"hash-max-listpack-entries": b"7",
        b"hash-max-ziplist-entries": b"7",
    }


def test_get_answers_a_plain_name_as_written_and_a_glob_in_lower_case(config):
    assert config.get([b"Port"]) == [(b"Port", b"6379")]
    assert config.get([b"port", b"PORT", b"p[o]rt"]) == [(b"port", b"6379")]
    assert config.get([b"NO-SUCH", b""]) == []
    assert len(config.get([b"*"])) > 190


def test_hidden_options_show_by_exact_name_only(config):
    assert config.get([b"watchdog-*"]) == []
    assert config.get([b"watchdog-period"]) == [(b"watchdog-period", b"0")]


def test_unknown_option_is_refused(config):
    text = "ERR Unknown option or number of arguments for CONFIG SET - 'nope'"
    assert refusal(config, (b"nope", b"1")) == text
    assert refusal(config, (b"maxmemory", b"x"), (b"nope", b"1"), (b"databases", b"1")) == text


def test_duplicate_is_refused_in_any_case(config):
    assert refusal(config, (b"port", b"1"), (b"PORT", b"1")) == (
        "ERR CONFIG SET failed (possibly related to argument 'PORT') - duplicate parameter"
    )


def test_immutable_and_protected_are_refused(config, tmp_path):
    assert refusal(config, (b"databases", b"1")).endswith("- can't set immutable config")
    assert refusal(config, (b"dir", str(tmp_path).encode())).endswith("- can't set protected config")
    assert refusal(config, (b"dbfilename", b"x"), local=True).endswith("- can't set protected config")


def test_protected_can_be_set_when_allowed(config, tmp_path):
    config._values["enable-protected-configs"] = "local"
    assert refusal(config, (b"dbfilename", b"x")).endswith("- can't set protected config")
    config.set([(b"dbfilename", b"x")], local=True)
    assert config["dbfilename"] == "x"
    assert "cannot be changed while the server runs" in refusal(config, (b"dir", b"/"), local=True)


def test_set_is_all_or_nothing(config):
    refusal(config, (b"timeout", b"5"), (b"maxmemory", b"many"))
    assert config["timeout"] == 0
    config.set([(b"timeout", b"5"), (b"maxmemory", b"1gb")])
    assert (config["timeout"], config["maxmemory"]) == (5, 1 << 30)


def test_hooks_are_called_with_typed_values_and_only_on_a_change(config):
    seen: list[object] = []
    config.on_change("timeout", seen.append)
    config.on_change("min-slaves-to-write", seen.append)
    config.set([(b"timeout", b"9"), (b"appendfsync", b"no")])
    config.set([(b"timeout", b"9")])
    config.set([(b"min-replicas-to-write", b"1")])
    assert seen == [9, 1]


def test_refusing_hook_rolls_everything_back(config):
    seen: list[tuple[str, object]] = []

    def refuse(value: object) -> None:
        raise ConfigError("no room")

    config.on_change("timeout", lambda value: seen.append(("timeout", value)))
    config.on_change("maxclients", refuse)
    text = refusal(config, (b"timeout", b"9"), (b"maxclients", b"5"), (b"hz", b"20"))
    assert text == "ERR CONFIG SET failed (possibly related to argument 'maxclients') - no room"
    assert seen == [("timeout", 9), ("timeout", 0)]
    assert (config["timeout"], config["maxclients"], config["hz"]) == (0, 10000, 10)


def test_hook_that_refuses_the_old_value_as_well_does_not_hide_the_reason(config):
    undone: list[object] = []

    def once(value: object) -> None:
        if value == 0:
            raise ConfigError("not that either")

    def refuse(value: object) -> None:
        raise ConfigError("no room")

    config.on_change("timeout", undone.append)
    config.on_change("timeout", once)
    config.on_change("maxclients", refuse)
    assert refusal(config, (b"timeout", b"9"), (b"maxclients", b"5")).endswith("- no room")
    assert undone == [9, 0]


def test_failing_hook_leaves_no_half_set_values(config):
    def fail(value: object) -> None:
        raise ZeroDivisionError

    config.on_change("maxclients", fail)
    with pytest.raises(ZeroDivisionError):
        config.set([(b"timeout", b"9"), (b"maxclients", b"5")])
    assert config["timeout"] == 0


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (b"maxmemory", b"1k", b"1000"),
        (b"maxmemory", b"1Kb", b"1024"),
        (b"maxmemory", b"1GB", b"1073741824"),
        (b"maxmemory-clients", b"50%", b"50%"),
        (b"notify-keyspace-events", b"KEA", b"AKE"),
        (b"notify-keyspace-events", b"g$lshzxetdK", b"AK"),
        (b"client-output-buffer-limit", b"slave 1k 2kb 3 pubsub 0 0 0", b"normal 0 0 0 slave 1000 2048 3 pubsub 0 0 0"),
        (b"save", b"900 1 300 10", b"900 1 300 10"),
        (b"save", b"", b""),
        (b"bind", b"127.0.0.1 -::1", b"127.0.0.1 -::1"),
        (b"shutdown-on-sigint", b"force now", b"now force"),
        (b"latency-tracking-info-percentiles", b"50 99.99 0.001", b"50 99.99 0.001"),
        (b"oom-score-adj-values", b"-5 0 5", b"-5 0 5"),
        (b"hz", b"1000", b"500"),
        (b"requirepass", b"\x00\xff\n", b"\x00\xff\n"),
        (b"cluster-announce-ip", b"\xff", b"\xff"),
        (b"appendfsync", b"ALWAYS", b"always"),
    ],
)
def test_value_is_shown_as_stock_shows_it(config, name, value, shown):
    config.set([(name, value)])
    config._check()
    assert config.get([name]) == [(name, shown)]


def test_loading_refuses_what_must_not_change_then(config):
    assert refusal(config, (b"appendonly", b"no"), loading=True).startswith("LOADING ")
    config.set([(b"timeout", b"1")], loading=True)


def test_line_ends_in_a_name_do_not_reach_the_reply(config):
    assert "\n" not in refusal(config, (b"a\r\nb", b"1"))


def test_path_is_absolute_against_dir(config):
    assert config.path("logfile") == ""
    config._values["logfile"] = "x.log"
    assert config.path("logfile") == os.path.join(config["dir"], "x.log")
    config._values["logfile"] = "/y.log"
    assert config.path("logfile") == "/y.log"
