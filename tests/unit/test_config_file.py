"""Files and the command line: the grammar, includes, and what a wrong line says."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.server.config import Config, ConfigError, load
from perdure.server.config_file import (
    MAX_FILE_BYTES,
    MAX_INCLUDE_DEPTH,
    Invocation,
    parse_command_line,
)


@pytest.fixture
def start(tmp_path):
    """start("--port", "1", file="port 2", stdin=b"...") -> Config"""

    def run(*arguments: str, file: str | bytes | None = None, stdin: bytes = b"") -> Config:
        if file is not None:
            data = file.encode() if isinstance(file, str) else file
            (tmp_path / "redis.conf").write_bytes(data)
            arguments = ("redis.conf", *arguments)
        invocation = parse_command_line(list(arguments), "0")
        assert invocation.answer is None, invocation.answer
        config = load(invocation, io.BytesIO(stdin).read, str(tmp_path))
        config._check()
        return config

    return run


def refusal(start, *arguments: str, **more) -> str:
    with pytest.raises(ConfigError) as caught:
        start(*arguments, **more)
    return caught.value.text


def test_file_sets_values_and_comments_are_skipped(start):
    text = "# x\n\n  port 7000\r\nAppendFsync Always # now\nsave 900 1   # at least\nrequirepass #secret\n"
    config = start(file=text)
    assert (config["port"], config["appendfsync"]) == (7000, "always")
    assert config["save"] == ((900, 1),)
    assert config["requirepass"] == b"#secret"
    assert os.path.isabs(config.file)


def test_save_lines_add_up_and_an_empty_one_clears(start):
    assert start(file="save 900 1\nsave 300 10 60 5\n")["save"] == ((900, 1), (300, 10), (60, 5))
    assert start(file='save 900 1\nsave ""\nsave 1 1\n')["save"] == ((1, 1),)
    assert start(file='save "900 1"\n')["save"] == ((900, 1),)


def test_later_line_wins_and_the_command_line_is_last(start):
    config = start("--port", "3", "--save", "5", "5", file="port 1\nport 2\nsave 900 1\n")
    assert config["port"] == 3
    assert config["save"] == ((900, 1), (5, 5))


def test_buffer_limits_change_only_the_class_they_name(start):
    limits = start(file="client-output-buffer-limit replica 1k 2 3\n")["client-output-buffer-limit"]
    assert limits["replica"] == (1000, 2, 3)
    assert limits["pubsub"] == (32 << 20, 8 << 20, 60)


def test_command_line_forms_of_stock(start):
    assert start("--save", "")["save"] == ()
    assert start("--save", "900", "1", "--save", "300", "10")["save"] == ((900, 1), (300, 10))
    assert start("--save", "--port", "5")["port"] == 5
    assert start("--port", "5", "--save")["save"] == ()
    assert start("--port 5", "--timeout", "6")["timeout"] == 6
    assert start("--requirepass", "--secret")["requirepass"] == b"--secret"
    assert start("--requirepass", "a b")["requirepass"] == b"a b"
    assert start("--requirepass", '"x"')["requirepass"] == b'"x"'
    assert start("--requirepass", "#")["requirepass"] == b"#"
    assert start("--bind", "127.0.0.1", "-::1")["bind"] == ("127.0.0.1", "-::1")


def test_stdin_is_read_first_or_last(start):
    assert start("-", stdin=b"port 5\n")["port"] == 5
    assert start("-", "--port", "6", stdin=b"port 5\n")["port"] == 6
    assert start("--timeout", "6", "-", stdin=b"port 5\n")["port"] == 5
    assert start("-", file="port 4\ntimeout 7\n", stdin=b"port 5\n")["port"] == 5
    assert refusal(start, "-", stdin=b"port x\n").splitlines()[1] == "Reading the configuration from stdin, at line 1"


def test_version_help_and_what_there_is_not():
    assert "0.1" in (parse_command_line(["--version"], "0.1").answer or "")
    assert parse_command_line(["-v"], "0.1").status == 0
    assert "Usage" in (parse_command_line(["-h"], "0.1").answer or "")
    for option in ("--test-memory", "--check-system", "--sentinel"):
        refused = parse_command_line([option, "1"], "0.1")
        assert refused.status == 1
        assert refused.answer
    assert parse_command_line([], "0.1") == Invocation()


def test_unknown_directive_names_file_line_and_what_was_meant(start, tmp_path):
    assert refusal(start, file="port 1\n\nappendfsnyc always\n") == (
        "*** FATAL CONFIG FILE ERROR (perdure) ***\n"
        f"Reading the configuration file '{tmp_path}/redis.conf', at line 3\n"
        ">>> 'appendfsnyc always'\n"
        "Bad directive or wrong number of arguments\n"
        "Did you mean 'appendfsync'?"
    )
    assert refusal(start, "--foo", "1") == (
        "*** FATAL CONFIG FILE ERROR (perdure) ***\nReading the command line\n"
        ">>> 'foo \"1\"'\nBad directive or wrong number of arguments"
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("appendonly maybe", "argument must be 'yes' or 'no'"),
        ("port 70000", "argument must be between 0 and 65535 inclusive"),
        ("port 1k", "argument couldn't be parsed into an integer"),
        ("maxmemory many", "argument must be a memory value"),
        ("port", "wrong number of arguments"),
        ("port 1 2", "wrong number of arguments"),
        ("save 900", "Invalid save parameters"),
        ("dir /no/such/place", "No such file or directory"),
        ("dir /etc/passwd", "Not a directory"),
        ("unixsocketperm 800", "argument couldn't be parsed as an octal number"),
        ('port "1', "Unbalanced quotes in configuration line"),
        ("cluster-enabled yes", "cluster-enabled is not supported by this version of perdure"),
        ("slaveof 10.0.0.1 6379", "replicaof is not supported by this version of perdure"),
        ("loadmodule /x.so a", "loadmodule is not supported by this version of perdure"),
        ("user bob on foo", "Error in user declaration 'foo': Syntax error"),
        ("user bob on (~a", "Error in user declaration '(~a': Unmatched parenthesis in selector definition"),
        ("sentinel monitor a b 1 1", "sentinel directive while not in sentinel mode"),
        ("include a b", "Bad directive or wrong number of arguments"),
        ("rename-command GET", "Bad directive or wrong number of arguments"),
    ],
)
def test_wrong_line_is_refused_with_the_reason(start, line, reason):
    text = refusal(start, file=f"timeout 1\n{line}\ntimeout 2\n").splitlines()
    assert text[1].endswith("at line 2")
    assert text[3] == reason


def test_unsupported_option_that_is_turned_off_again_starts(start):
    start(file="replicaof no one\ncluster-enabled no\n")


def test_secret_is_not_shown_in_an_error(start):
    for line in ("requirepass one two", 'masterauth "one', '"requirepass" one two'):
        assert "one" not in refusal(start, file=line)
    for line in ("user bob >one foo", 'user bob "<one"', "user bob on <one"):
        assert "one" not in refusal(start, file=line)


def test_bare_hash_as_a_value_says_what_to_do(start):
    assert "put it in quotes" in refusal(start, file="requirepass #\n")
    assert start(file='requirepass "#"\n')["requirepass"] == b"#"


def test_old_directives_are_taken_and_ignored(start):
    start(file="lua-replicate-commands no\nlist-max-ziplist-entries 512\n")


def test_users_are_kept_and_commands_that_they_name_may_be_unknown_yet(start):
    config = start(file="user a on +nosuch (+get ~b) ( ~c )\nUSER default off\n")
    assert config.users == [(b"a", [b"on", b"+nosuch", b"(+get ~b)", b"( ~c )"]), (b"default", [b"off"])]
    assert "Duplicate user" in refusal(start, file="user a on\nuser a off\n")


def test_renamed_commands_are_kept(start):
    assert start(file='rename-command CONFIG ""\nrename-command GET G\n').renamed_commands == [
        (b"CONFIG", b""),
        (b"GET", b"G"),
    ]


def test_include_nests_globs_and_names_its_own_lines(start, tmp_path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "10.conf").write_text("port 10\ninclude other.conf\n")
    (tmp_path / "conf.d" / "20.conf").write_text("port 20\n")
    (tmp_path / "other.conf").write_text("timeout 3\n")
    config = start(file="include conf.d/*.conf\ninclude nothing*.conf\nhz 20\n")
    assert (config["port"], config["timeout"], config["hz"]) == (20, 3, 20)
    (tmp_path / "other.conf").write_text("\nbad 3\n")
    assert f"'{tmp_path}/other.conf', at line 2" in refusal(start, file="include conf.d/*.conf\n")


def test_include_of_a_missing_file_is_refused(start):
    assert "No such file or directory" in refusal(start, file="include nope.conf\n")


def test_include_of_itself_ends(start):
    assert f"deeper than {MAX_INCLUDE_DEPTH}" in refusal(start, file="include redis.conf\n")
    assert "config file" in refusal(start, file="include redis.conf\n" * 3)
    assert "config file" in refusal(start, file="include *.conf\n" * 3)


def test_file_that_is_too_large_is_refused(start):
    assert "larger than" in refusal(start, file=b"#" * (MAX_FILE_BYTES + 1))


def test_dir_moves_the_base_of_what_follows(start, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "more.conf").write_text("logfile x.log\n")
    config = start(file="pidfile p.pid\ndir d\ninclude more.conf\n")
    assert config["dir"] == str(tmp_path / "d")
    assert config.path("logfile") == str(tmp_path / "d" / "x.log")
    assert config.path("pidfile") == str(tmp_path / "d" / "p.pid")


def test_warnings_name_what_has_no_effect(start):
    assert start().warnings() == []
    assert any("syslog" in line for line in start("--syslog-enabled", "yes").warnings())


@given(st.binary(max_size=200))
def test_any_bytes_load_or_are_refused(data):
    invocation = Invocation(stdin=True)
    try:
        load(invocation, io.BytesIO(data).read, "/")._check()
    except ConfigError as error:
        assert error.text.startswith(("*** FATAL", "Fatal error"))
