"""``perdure check``: what it says, its exit status, and that it changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from server_harness import files_of
from typer.testing import CliRunner

from perdure.tools.cli import FINDINGS, SOUND, UNREADABLE, app
from perdure.wal.executor import InlineExecutor, SystemClock
from perdure.wal.filesystem import RealFilesystem
from perdure.wal.recovery import read_log
from perdure.wal.writer import LogWriter

SET = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a log of three commands, as a killed server leaves it."""
    fs, directory = RealFilesystem(), str(tmp_path / "appendonlydir")
    end = read_log(fs, directory, "appendonly.aof", len).end
    writer = LogWriter(
        fs, directory, "appendonly.aof", end, InlineExecutor(), SystemClock(), "always", new_log_id=b"a" * 32
    )
    writer.open()
    for _ in range(3):
        writer.commit(SET)
    return tmp_path


def check(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", *map(str, arguments)])
    return result.exit_code, result.output


def test_a_sound_log_is_called_sound(data: Path) -> None:
    before = files_of(data)
    status, output = check(data)
    assert status == SOUND, output
    assert "3 batches, 3 commands" in output and "Sound" in output
    assert check(data / "appendonlydir") == (status, output)
    assert files_of(data) == before


def test_a_torn_tail_is_told_and_left_alone(data: Path) -> None:
    path = data / "appendonlydir" / "appendonly.aof.1.incr.aof"
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"#W 17")
    before = files_of(data)
    status, output = check(data)
    assert status == FINDINGS
    assert f"5 bytes from byte {size} on" in output
    assert files_of(data) == before


def test_damage_is_told_with_file_and_offset(data: Path) -> None:
    path = data / "appendonlydir" / "appendonly.aof.1.incr.aof"
    damaged = bytearray(path.read_bytes())
    damaged[150] ^= 1
    path.write_bytes(damaged)
    status, output = check(data)
    assert status == FINDINGS
    assert "A start would be refused" in output and path.name in output


@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_what_is_no_log_is_unreadable(what: str, tmp_path: Path) -> None:
    place = tmp_path / what
    if what == "empty":
        place.mkdir()
    elif what == "file":
        place.write_text("no directory")
    status, output = check(place)
    assert status == UNREADABLE
    assert str(place) in output.replace("\n", "")


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0 and result.output.startswith("perdure ")
