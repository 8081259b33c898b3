"""The ``perdure`` command: its commands and what they print.

``perdure check DIRECTORY`` reads a log as recovery would, changes nothing, and says
what a start would do.  Exit status: 0 sound, 1 findings, 2 bad usage or unreadable.

It must not know: how a log is read (``wal.recovery``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import hiredis
import typer

from perdure.snapshot.base import skim_base
from perdure.wal.damage import LogDamaged, RdbBaseUnsupported
from perdure.wal.filesystem import RealFilesystem
from perdure.wal.recovery import BaseRead, Recovery, read_log

SOUND, FINDINGS, UNREADABLE = range(3)

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Offline tools for perdure's and Redis's files.")


@app.callback(invoke_without_command=True)
def _options(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show_version:
        typer.echo(f"perdure {version('perdure')}")
        raise typer.Exit


@app.command()
def check(
    directory: Annotated[Path, typer.Argument(help="A data directory, or the appendonlydir in one.")],
    filename: Annotated[str, typer.Option(help="The option appendfilename.")] = "appendonly.aof",
    dirname: Annotated[str, typer.Option(help="The option appenddirname.")] = "appendonlydir",
) -> None:
    """Say whether a log is sound, and what a start on it would do.  Changes nothing."""
    place = _log_directory(directory, filename, dirname)
    fs = RealFilesystem()

    def skim(path: str, tell: Callable[[int], None]) -> BaseRead:
        base = skim_base(fs, path, tell)
        return BaseRead(base.end, base.keys)

    try:
        recovery = read_log(fs, place, filename, _count_commands, load_base=skim)
    except (LogDamaged, RdbBaseUnsupported) as refusal:
        typer.echo(f"A start would be refused: {refusal}")
        raise typer.Exit(FINDINGS) from None
    except OSError as error:
        typer.echo(f"Cannot read {error.filename or place}: {error.strerror or error}", err=True)
        raise typer.Exit(UNREADABLE) from None
    if not recovery.found:
        typer.echo(f"There is no log in {place}: a start would begin empty.", err=True)
        raise typer.Exit(UNREADABLE)
    for line in _report(recovery):
        typer.echo(line)
    raise typer.Exit(FINDINGS if recovery.cut is not None else SOUND)


def _log_directory(directory: Path, filename: str, dirname: str) -> str:
    """The append-only directory that was meant; exits if there is nothing of the name."""
    if not directory.is_dir():
        typer.echo(f"{directory}: not a directory", err=True)
        raise typer.Exit(UNREADABLE)
    if (directory / f"{filename}.manifest").exists():
        return os.fspath(directory)
    return os.fspath(directory / dirname)


def _count_commands(payload: bytes) -> int:
    """How many commands a payload holds, without the SELECT that every batch begins with."""
    reader = hiredis.Reader(notEnoughData=None)
    reader.feed(payload)
    return sum(argv[0] != b"SELECT" for argv in iter(reader.gets, None))


def _report(recovery: Recovery) -> list[str]:
    """What a start would do, in lines."""
    lines = [
        f"{recovery.files} files, {recovery.batches} batches, {recovery.commands} commands, "
        f"{recovery.payload_bytes} payload bytes, up to lsn {recovery.end.lsn}."
    ]
    lines += [f"Unverified: {line}" for line in recovery.unverified]
    cut = recovery.cut
    if cut is None:
        return [*lines, "Sound: a start would load all of it."]
    return [
        *lines,
        f"Torn tail: {cut.file} has {cut.bytes} bytes from byte {cut.offset} on that are not whole: {cut.reason}.",
        "A start would set them aside, cut the file there and go on.",
    ]


def main() -> None:
    """The console script."""
    app(prog_name="perdure")
