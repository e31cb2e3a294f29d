"""The journal: the append-only record of cell events, one JSON object a line."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nbprod.core.events import Event, EventType, parse_event
from nbprod.core.json import JSON
from nbprod.notebook.rendering import render

__all__ = ["Journal", "parse_lines", "read_events", "render"]

#: Seconds between two calls of fsync. A killed process loses nothing without it, only a machine
#: that stops does; syncing every event would cost 1 to 10 ms each.
SYNC_EVERY = 1.0


class Journal:
    """Appends events to `events.jsonl`, each in one write, so that readers see whole lines.

    `after` is called with each event that was written.

    Raises:
        OSError: from `append`, when the disk is full. What was written before stays readable.
    """

    def __init__(self, path: Path, *, after: Callable[[Event], None] = lambda event: None) -> None:
        self.path = path
        self._after = after
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._synced = time.monotonic()
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            # A writer was killed in the middle of a line: end it, so that the next one is whole.
            os.write(self._file, b"\n")

    def append(self, kind: EventType, **fields: JSON) -> Event:
        """Write one event and return it."""
        event = Event(type=kind, t=time.time(), fields=fields)
        self.write(event)
        return event

    def write(self, event: Event) -> None:
        """Write an event made elsewhere."""
        # Lone surrogates reach here from undecodable bytes a cell printed. Written as escapes
        # they are valid inside a JSON string.
        line = memoryview(event.line().encode("utf-8", "backslashreplace"))
        while line:
            line = line[os.write(self._file, line) :]
        if event.type is EventType.RUN_FINISHED or (
            event.type is EventType.CELL_FINISHED and time.monotonic() - self._synced > SYNC_EVERY
        ):
            os.fsync(self._file)
            self._synced = time.monotonic()
        self._after(event)

    def silence(self) -> None:
        """Let nothing more be written, from whatever thread: appending raises OSError now."""
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(nothing, self._file, inheritable=False)
        os.close(nothing)

    def close(self) -> None:
        """Close the file; appending afterwards is an error."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def read_events(path: Path) -> Iterator[Event]:
    """Yield the journal's events; a torn line or one of a later version is passed over."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        yield from parse_lines(file)


def parse_lines(lines: Any) -> Iterator[Event]:
    """Yield the events of an iterable of lines in bytes."""
    for line in lines:
        event = parse_event(line.decode("utf-8", "replace"))
        if event is not None:
            yield event
