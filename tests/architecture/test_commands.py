"""Every command explains itself, and the README knows it."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from nbprod.core.plugins import installed

README = Path(__file__).parents[2] / "README.md"


def leaves(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with the words that call it."""
    if not isinstance(command, click.Group):
        yield " ".join(words), command
        return
    for name, inner in sorted(command.commands.items()):
        yield from leaves(inner, (*words, name))


def commands() -> dict[str, click.Command]:
    """Return the commands of every installed entry point of the group `nbprod.commands`."""
    return {
        words: command
        for name, entry in installed("nbprod.commands").items()
        for words, command in leaves(entry.load(), (name,))
    }


def is_in(readme: str, words: str) -> bool:
    """Say whether a line of `readme` names the command, also as `nbprod runs list | show ID`."""
    *noun, verb = words.split()
    lead = r"\s+".join(["nbprod", *map(re.escape, noun)])
    return bool(re.search(rf"{lead}\b[^\n]*(?<![\w-]){re.escape(verb)}(?![\w-])", readme))


def test_there_are_commands_to_check() -> None:
    verbs = {"doctor", "export", "init", "run"}
    nouns = {"jobs list", "models promote", "reports make", "runs show", "templates check"}

    assert sorted((verbs | nouns) - commands().keys()) == []


def test_every_command_and_every_group_has_help() -> None:
    groups = {name: entry.load() for name, entry in installed("nbprod.commands").items()}

    silent = [words for words, command in {**groups, **commands()}.items() if not command.help]

    assert silent == []


def test_every_option_has_help() -> None:
    silent = [
        f"nbprod {words} {option.opts[-1]}"
        for words, command in commands().items()
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]

    assert silent == []


def test_every_command_appears_in_the_readme() -> None:
    readme = README.read_text()

    missing = [f"nbprod {words}" for words in commands() if not is_in(readme, words)]

    assert missing == []


def test_every_reader_speaks_json() -> None:
    readers = {"list", "show", "compare", "history", "check", "doctor", "verify"}

    mute = [
        f"nbprod {words}"
        for words, command in commands().items()
        if words.split()[-1] in readers
        and not any("--json" in parameter.opts for parameter in command.params)
    ]

    assert mute == []
