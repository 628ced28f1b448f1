"""`gtr COMMAND --help` explains every command and every option in whole sentences."""

from typing import Any

import pytest
import typer

from flows.cli import app
from gtr_core.config import MERGE_METHODS


def commands(group: Any, path: str = "gtr") -> dict[str, Any]:
    """Every command by how it is called, and every group of commands."""
    found = {path: group}
    for name, command in getattr(group, "commands", {}).items():
        found |= commands(command, f"{path} {name}")
    return found


COMMANDS = commands(typer.main.get_command(app))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_text_is_a_sentence(name: str) -> None:
    command = COMMANDS[name]
    for what, text in [(name, command.help), *((p.name, getattr(p, "help", None)) for p in command.params)]:
        assert text and text[0].isupper() and text.rstrip().endswith("."), f"{what}: {text}"


def test_the_help_of_merge_names_every_method_that_works_without_episodes() -> None:
    text = next(getattr(p, "help", "") for p in COMMANDS["gtr merge"].params if p.name == "method")
    assert all(method in text for method in MERGE_METHODS if method != "greedy_soup")
