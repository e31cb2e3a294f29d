"""Follow a run that any process executes: its journal as it grows, until the store calls it final.

Needs nothing of whoever executes it but a folder that both can read.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from nbprod.core.events import Event, EventType, parse_event
from nbprod.core.runner import JOURNAL_FILE
from nbprod.workspace.salvage import salvage

if TYPE_CHECKING:
    from nbprod.store.store import Store

#: Seconds between two looks at the journal, and at the store.
LOOK_EVERY, ASK_EVERY = 0.1, 0.5
#: Seconds that the two clocks go apart when this machine was asleep, or its time was set; and for
#: how long nobody is taken for lost after that.
LEAP, SPARED = 1.0, 60.0
#: Bytes read at once.
_CHUNK = 1 << 20


def follow(store: "Store", root: Path, run_id: str) -> Iterator[Event | None]:
    """Yield the events of a run from its first, as they come; None where nothing is new.

    Ends when the run is final and all its events were yielded. A run whose supervisor vanished
    becomes lost meanwhile, as soon as its lease is over; supervisors that slept with this machine
    are first given time to renew theirs. One that begins anew in another attempt is followed
    there, from its RUN_STARTED.
    """
    sleep = _Sleep()
    with _Growing() as journal:
        ask_at, has_ended = 0.0, False
        while True:
            is_final = False
            if has_ended or time.monotonic() >= ask_at:
                # First whether it is final, then what it wrote: nothing comes after that.
                if not sleep.was_just_now():
                    salvage(store, store.runs.expire(), root)
                run = store.runs.get(run_id)
                is_final = run.status.is_final
                if run.folder:
                    journal.move_to(root / run.folder / JOURNAL_FILE)
                ask_at = time.monotonic() + ASK_EVERY
            for event in journal.read():
                # The store says the same in a moment, unless another attempt begins.
                has_ended = event.type is not EventType.RUN_STARTED and (
                    has_ended or event.type is EventType.RUN_FINISHED
                )
                yield event
            if is_final:
                return
            yield None
            time.sleep(LOOK_EVERY)


class _Sleep:
    """Tells that this machine slept: its wall clock went on, and its monotonic one did not."""

    def __init__(self) -> None:
        self._apart = time.time() - time.monotonic()
        self._spared_until = time.monotonic()

    def was_just_now(self) -> bool:
        """Say whether supervisors on this machine may not have beaten since they woke up."""
        before, self._apart = self._apart, time.time() - time.monotonic()
        if abs(self._apart - before) > LEAP:
            self._spared_until = time.monotonic() + SPARED
        return time.monotonic() < self._spared_until


class _Growing:
    """A file of events to which someone else appends."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._rest = b""

    def move_to(self, path: Path) -> None:
        """Read that file from its beginning, if it is not the one that is read already."""
        if path != self._path:
            self.close()
            self._path, self._rest = path, b""

    def read(self) -> Iterator[Event]:
        """Yield the events that were completed since the last call."""
        if self._file is None and self._path is not None:
            with suppress(FileNotFoundError):
                self._file = self._path.open("rb")
        if self._file is None:
            return
        parts = [self._rest]
        while chunk := self._file.read(_CHUNK):
            parts.append(chunk)
            if b"\n" not in chunk:
                continue
            *lines, rest = b"".join(parts).split(b"\n")
            parts = [rest]
            for line in lines:
                event = parse_event(line.decode("utf-8", "replace"))
                if event is not None:
                    yield event
        self._rest = b"".join(parts)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
