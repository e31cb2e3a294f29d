"""Show a run while it runs: its cell, its training, its last line."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from nbprod.cli.output import console
from nbprod.core.events import Event, EventType
from nbprod.core.live import Live
from nbprod.core.words import count, duration

if TYPE_CHECKING:
    from rich.console import Group

#: Seconds between two lines in a log, and between two lines of JSON that nothing but an output
#: or a step calls for.
_QUIET, _OFTEN = 5.0, 0.1


@contextmanager
def shown(title: str, *, quiet: bool = False) -> Iterator[Callable[[Event], None]]:
    """Yield what to call with each event: a live view on a terminal, plain lines elsewhere."""
    if quiet:
        yield lambda event: None
    elif console(err=True).is_terminal:
        with _view(title) as on_event:
            yield on_event
    else:
        yield Lines(title)


@contextmanager
def _view(title: str) -> Iterator[Callable[[Event], None]]:
    from rich.live import Live as Screen
    from rich.spinner import Spinner

    live, spinner, err = Live(), Spinner("dots"), console(err=True)

    def render() -> "Group":
        return _rendered(live, title, spinner, err.width)

    # It draws itself anew several times a second, whether or not anything happens.
    with Screen(get_renderable=render, console=err, transient=True, refresh_per_second=8):
        yield live


def _rendered(live: Live, title: str, spinner: Any, width: int) -> "Group":
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    rows = Table.grid(padding=(0, 1))
    done = (live.cell or 0) + (not live.is_in_cell and live.cell is not None)
    bar = ProgressBar(total=live.cells or None, completed=done, width=28, pulse=not live.cells)
    place = "recording" if live.ended is not None else live.place()
    rows.add_row(spinner, Text(title), bar, Text(place), Text(duration(live.elapsed())))
    if live.training and live.is_in_cell:
        step, steps = live.steps()
        bar = ProgressBar(total=steps, completed=step, width=28, pulse=steps is None)
        rows.add_row("", Text("  training"), bar, Text(live.training_line()), "")
    if not live.line:
        return Group(rows)
    line = Text(f"  {live.line}", style="bright_black", no_wrap=True)
    line.truncate(width - 1, overflow="ellipsis")
    return Group(rows, line)


class Lines:
    """Writes a line now and then, for logs: at the start, and where it is every five seconds."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._live = Live()
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        self._live(event)
        if event.type is EventType.RUN_STARTED:
            click.echo(f"{self._title}: started, {count(self._live.cells, 'cell')}", err=True)
        elif event.type in (EventType.CELL_STARTED, EventType.PROGRESS, EventType.OUTPUT):
            self.tick()

    def tick(self) -> None:
        """Write a line if it is time to, also where nothing happens."""
        now = time.monotonic()
        if self._live.started is None or self._live.ended is not None:
            return
        if now - self._last > _QUIET:
            self._last = now
            click.echo(f"{self._title}: {self._live}", err=True)


class JsonLines:
    """Writes where a run stands as JSON, a line a change, for programs.

    Of outputs and training steps, which may come by the thousand, every tenth of a second the
    last one.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._live = Live()
        self._last = 0.0
        self._held: Event | None = None

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        self._live(event)
        match event.type:
            case (
                EventType.RUN_STARTED
                | EventType.CELL_STARTED
                | EventType.CELL_FINISHED
                | EventType.RUN_FINISHED
            ):
                self._write(event)
            case EventType.OUTPUT | EventType.PROGRESS:
                self._held = event
                self.tick()
            case _:
                pass

    def tick(self) -> None:
        """Write what was held back, if it is time to."""
        if self._held is not None and time.monotonic() - self._last > _OFTEN:
            self._write(self._held)

    def _write(self, event: Event) -> None:
        self._held, self._last = None, time.monotonic()
        where = self._live.to_json(event.t)
        write_json_line({"run": self._run, "event": event.type.value, "t": event.t, **where})


def write_json_line(fields: dict[str, Any]) -> None:
    """Write one object, at once: who reads it waits for it."""
    click.echo(json.dumps(fields, default=str))
