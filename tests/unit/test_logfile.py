"""The log's lines, levels and file."""

from __future__ import annotations

import os
import re
import time

from perdure.server.logfile import Log


def written(path) -> list[str]:
    return path.read_text().splitlines()


def test_line_has_redis_form(tmp_path):
    when = time.mktime((2026, 11, 3, 22, 33, 1, 0, 0, -1)) + 0.123456
    log = Log(str(tmp_path / "log"), role="M", clock=lambda: when)
    log.notice("hello")
    assert written(tmp_path / "log") == [f"{os.getpid()}:M 03 Nov 2026 22:33:01.123 * hello"]


def test_levels_filter_and_have_their_marks(tmp_path):
    log = Log(str(tmp_path / "log"), "debug")
    for write in (log.debug, log.verbose, log.notice, log.warning):
        write("x")
    log.set_level("warning")
    for write in (log.debug, log.verbose, log.notice, log.warning, log.banner):
        write("y")
    marks = [re.fullmatch(r"\d+:C .* (.) ([xy])", line) for line in written(tmp_path / "log")]
    assert [match and match.groups() for match in marks] == [(".", "x"), ("-", "x"), ("*", "x"), ("#", "x"), ("#", "y")]


def test_file_is_appended_and_may_be_renamed_away(tmp_path):
    (tmp_path / "log").write_text("before\n")
    log = Log(str(tmp_path / "log"))
    log.notice("one")
    os.rename(tmp_path / "log", tmp_path / "old")
    log.notice("two")
    assert [line.split()[-1] for line in written(tmp_path / "old")] == ["before", "one"]
    assert [line.split()[-1] for line in written(tmp_path / "log")] == ["two"]


def test_stdout_is_the_default(tmp_path):
    read, write = os.pipe()
    Log(stdout=write).notice("hello")
    Log(stdout=write).banner("a\nb")
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read().endswith(" * hello\na\nb\n")


def test_text_cannot_forge_lines_and_is_bounded(tmp_path):
    log = Log(str(tmp_path / "log"))
    log.notice("a\r\n1:M # forged\x1b[0m\udcff")
    log.notice("x" * 100_000)
    lines = written(tmp_path / "log")
    assert len(lines) == 2
    assert lines[0].endswith(r"a\x0d\x0a1:M # forged\x1b[0m\udcff")
    assert len(lines[1]) < 5000


def test_file_that_cannot_be_opened_is_an_error_at_the_start_and_silence_later(tmp_path):
    log = Log(str(tmp_path / "no" / "log"))
    assert log.open_error() == "Can't open the log file: No such file or directory"
    log.warning("lost")
    assert Log(str(tmp_path / "log")).open_error() == ""
    assert Log().open_error() == ""


def test_closed_stdout_does_not_raise():
    read, write = os.pipe()
    os.close(read)
    Log(stdout=write).notice("lost")
    os.close(write)
