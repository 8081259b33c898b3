"""docs/commands.md is what the command table says."""

from __future__ import annotations

from pathlib import Path

import perdure.server.commands  # noqa: F401 - fills the command table
from perdure.server import differences
from perdure.server.command_page import GROUPS, page
from perdure.store.command import every_command

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "commands.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make docs"


def test_every_command_is_on_the_page_once() -> None:
    text = page()
    for entry in every_command():
        assert entry.group in GROUPS, entry.name
        assert text.count(f"### {entry.name.decode().replace('|', ' ')}\n") == 1, entry.name


def test_differences_are_those_of_commands_that_there_are() -> None:
    differences._check()
    assert set(differences.absent()) <= set(differences.ABSENT)
