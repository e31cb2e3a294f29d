"""How commands speak: data on stdout, talk on stderr, colour only on a terminal."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from nbprod.core.words import bytes_size, duration

if TYPE_CHECKING:
    from rich.console import Console

    from nbprod.core.runs import Run
    from nbprod.core.scraps import Scrap
    from nbprod.notebook.discovery import Found
    from nbprod.workspace import Workspace

F = TypeVar("F", bound=Callable[..., object])

STATUS_STYLE = {
    "succeeded": "green",
    "passed": "green",
    "promoted": "green",
    "would promote": "green",
    "failed": "red",
    "blocked": "yellow",
    "would block": "yellow",
    "unknown": "yellow",
    "lost": "magenta",
    "cancelled": "magenta",
    "running": "cyan",
    "queued": "cyan",
    "skipped": "bright_black",
}
#: Columns that the names in a table always get: a run's id has 22 characters.
_NAME_WIDTH = 24
MARK = {"passed": "✓", "failed": "✗", "unknown": "?"}


def json_option(command: F) -> F:
    """Add `--json` to a reader."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    return option(command)


def workspace() -> "Workspace":
    """Open the workspace that the current folder lies in."""
    import nbprod

    return nbprod.open()


def templates_here() -> "tuple[Workspace | None, dict[str, Found]]":
    """Return the workspace and its templates; outside of one, the installed ones.

    Reading templates needs no workspace: that is how a newcomer finds out what there is.
    """
    import nbprod
    from nbprod.core.errors import WorkspaceNotFoundError
    from nbprod.notebook.discovery import find_templates

    try:
        ws = nbprod.open()
    except WorkspaceNotFoundError:
        return None, find_templates(None)
    return ws, ws.templates()


def console(*, err: bool = False) -> "Console":
    """Return where to print: honours NO_COLOR, and plain text when it is not a terminal."""
    from rich.console import Console

    return Console(stderr=err, highlight=False, soft_wrap=True)


def plain(value: object) -> object:
    """Return `value` as what JSON knows."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


def print_json(value: object) -> None:
    """Print one JSON document, indented."""
    click.echo(json.dumps(plain(value), ensure_ascii=False, indent=2, default=str))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()
) -> None:
    """Print rows under headings, as wide as they need to be; a pipe gets every character."""
    from rich.table import Table

    out = console()
    rows = list(rows)
    shown = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    # The first column is what the next command is given: of an id no digit may go.
    named = min(max((len(row[0]) for row in rows), default=0), _NAME_WIDTH)
    for place, column in enumerate(columns):
        shown.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=place == 0 or not out.is_terminal,
            overflow="fold",
            min_width=named if place == 0 else None,
        )
    for row in rows:
        shown.add_row(*(styled(cell) for cell in row))
    if not out.is_terminal:
        out.width = 10_000
    out.print(shown)


def styled(text: str) -> str:
    """Escape rich's markup and colour the words that name a state."""
    from rich.markup import escape

    style = STATUS_STYLE.get(text)
    return f"[{style}]{escape(text)}[/{style}]" if style else escape(text)


def number(value: object) -> str:
    """Return a scrap's value short enough for a table."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def scrap_text(scrap: "Scrap") -> str:
    """Return what a scrap holds in a few words: its value, or what kind of thing it is."""
    from nbprod.core.scraps import ScrapType

    match scrap.type:
        case ScrapType.DISPLAY:
            return "a picture or table"
        case ScrapType.FRAME | ScrapType.ARRAY | ScrapType.MODEL:
            kind = {"frame": "a table", "array": "an array", "model": "a model"}[scrap.type]
            size = f", {bytes_size(scrap.sidecar.size_bytes)}" if scrap.sidecar else ""
            digest = f", sha256 {scrap.sidecar.digest[:12]}" if scrap.sidecar else ""
            return f"{kind}{size}{digest}"
        case _:
            return number(scrap.value)


def ago(moment: datetime | None) -> str:
    """Return how long ago, in the largest unit that fits."""
    if moment is None:
        return ""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def run_line(run: "Run") -> tuple[str, ...]:
    """Return a run's cells for the table of runs."""
    return (run.id, run.template, str(run.status), ago(run.started_at), duration(run.seconds))
