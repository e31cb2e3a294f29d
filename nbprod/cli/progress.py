"""Show a run while it runs: by cell, and by training step within a cell."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from nbprod.cli.output import console
from nbprod.core.events import Event, EventType
from nbprod.core.words import count

#: Seconds between two lines in a log.
_QUIET = 5.0


@contextmanager
def shown(title: str, *, quiet: bool = False) -> Iterator[Callable[[Event], None]]:
    """Yield what to call with each event: a live bar on a terminal, plain lines elsewhere."""
    err = console(err=True)
    if quiet:
        yield lambda event: None
    elif err.is_terminal:
        with _bar(title) as on_event:
            yield on_event
    else:
        yield _Lines(title)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[Event], None]]:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        console=console(err=True),
        transient=True,
    )
    with progress:
        cells = progress.add_task(title, total=None, detail="starting")
        steps = progress.add_task("  training", total=None, detail="", visible=False)

        def on_event(event: Event) -> None:
            match event.type:
                case EventType.RUN_STARTED:
                    progress.update(cells, total=_int(event, "cells"), detail="")
                case EventType.CELL_STARTED:
                    index = _int(event, "cell") or 0
                    progress.update(cells, completed=index, detail=f"cell {index + 1}")
                    progress.update(steps, visible=False)
                case EventType.PROGRESS:
                    step, total, detail = _training(event)
                    progress.update(steps, visible=True, completed=step, total=total, detail=detail)
                case EventType.RUN_FINISHED:
                    progress.update(cells, detail="recording")
                case _:
                    pass

        yield on_event


class _Lines:
    """Writes a line now and then, for logs: at the start, and what it is at every five seconds."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._cells = 0
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        match event.type:
            case EventType.RUN_STARTED:
                self._cells = _int(event, "cells") or 0
                click.echo(f"{self._title}: started, {count(self._cells, 'cell')}", err=True)
            case EventType.CELL_STARTED if self._is_time():
                cell = (_int(event, "cell") or 0) + 1
                click.echo(f"{self._title}: cell {cell} of {self._cells}", err=True)
            case EventType.PROGRESS if self._is_time():
                step, total, detail = _training(event)
                click.echo(
                    f"{self._title}: step {step:g} of {f'{total:g}' if total else '?'} {detail}",
                    err=True,
                )
            case _:
                pass

    def _is_time(self) -> bool:
        now = time.monotonic()
        is_time = now - self._last > _QUIET
        if is_time:
            self._last = now
        return is_time


def _training(event: Event) -> tuple[float, float | None, str]:
    fields = event.fields.get("progress")
    if not isinstance(fields, dict):
        return 0.0, None, ""
    step, steps = fields.get("step"), fields.get("steps")
    shown_fields = (
        f"{name} {value:.4g}"
        for name, value in fields.items()
        if name not in ("step", "steps") and isinstance(value, int | float)
    )
    return (
        float(step) if isinstance(step, int | float) else 0.0,
        float(steps) if isinstance(steps, int | float) else None,
        " ".join(shown_fields),
    )


def _int(event: Event, name: str) -> int | None:
    value = event.fields.get(name)
    return value if isinstance(value, int) else None
