"""Tables on a terminal that is too narrow for them."""

import os
import pty
import subprocess
from pathlib import Path

import click

from tests.acceptance.conftest import NBPROD, Cli, write_notebook


def on_terminal(folder: Path, *arguments: str, columns: int) -> str:
    """Return what a command prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "xterm"}
    with subprocess.Popen(
        [NBPROD, *arguments], cwd=folder, env=environment, stdout=theirs, stderr=theirs
    ):
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65_536):
                shown += part
        except OSError:
            pass  # Linux reports the closed terminal so
    os.close(ours)
    return click.unstyle(shown.decode())


def test_an_id_keeps_every_digit(team: Cli) -> None:
    path = write_notebook(team.folder / "notebooks" / "a_rather_long_name.ipynb", "1")
    run = team.json("run", path)

    shown = on_terminal(team.folder, "runs", "list", columns=50)

    assert run["id"] in shown
    assert max(map(len, shown.splitlines())) <= 50
