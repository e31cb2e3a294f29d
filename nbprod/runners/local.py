"""Executes an attempt in a process of this machine, and says in truth how it ended."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from nbprod.core.events import Event, EventType, parse_event
from nbprod.core.runner import JOURNAL_FILE, LOG_FILE, AttemptRequest, AttemptResult
from nbprod.core.runs import CellError, RunStatus
from nbprod.runners.attempt import IO_ERROR
from nbprod.runners.finish import finish
from nbprod.runners.memory import OUT_OF_MEMORY, machine_kills, machine_sentence
from nbprod.runners.processes import explain_exit
from nbprod.runners.start import StartedAttempt, kill, start_attempt
from nbprod.runners.watch import in_words

#: Seconds between two looks at the journal and at the flag of a cancellation, where nobody rings.
POLL = 0.05
#: What the attempt gets beyond its own grace, to write the notebook, before it is killed.
MARGIN = timedelta(seconds=10)


class LocalRunner:
    """Runs attempts here, each a process in a session of its own."""

    def execute(
        self,
        request: AttemptRequest,
        *,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> AttemptResult:
        """Execute the attempt; return when every process of it is gone.

        Setting `cancel`, or Ctrl-C here, interrupts the running cell, and kills after the
        request's grace. A second Ctrl-C kills at once. The notebook of the result is read-only.
        """
        result = self.settle(request, on_event=on_event, cancel=cancel)
        if result.rest is not None:
            result.rest()
        return replace(result, rest=None)

    def settle(
        self,
        request: AttemptRequest,
        *,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> AttemptResult:
        """Execute the attempt; return when its result is final and its notebook written."""
        try:
            attempt = self._start(request)
        except OSError as error:
            reason = f"The attempt could not be started: {error}."
            return AttemptResult(
                status=RunStatus.FAILED,
                reason=reason,
                error=CellError(type=type(error).__name__, message=reason),
            )
        supervision = _Supervision(request, attempt, on_event=on_event, cancel=cancel)
        is_settled = False
        try:
            is_settled = supervision.follow()
        finally:
            if not is_settled:
                attempt.end()
        return supervision.result(rest=attempt.reap if is_settled else None)

    def _start(self, request: AttemptRequest) -> StartedAttempt:
        return start_attempt(request)


class _Supervision:
    """One attempt under way, seen from its supervisor."""

    def __init__(
        self,
        request: AttemptRequest,
        attempt: StartedAttempt,
        *,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> None:
        self._request = request
        self._process = attempt.process
        self._line = attempt.line
        self._on_event = on_event
        self._cancel = cancel
        self._lines = _Tail(request.folder / JOURNAL_FILE)
        self._running: int | None = None
        self._finished: Event | None = None
        self._is_written = False
        self._kill_at: float | None = None
        self._timed_out = False
        self._found_full = False
        self._killed_before = machine_kills()
        self._deadline = (
            None
            if request.timeout is None
            else time.monotonic() + (request.timeout + request.grace + MARGIN).total_seconds()
        )

    def follow(self) -> bool:
        """Hand on events until the result is final or the process gone; carry out a cancellation.

        Return whether the attempt has said its last word, and only cleans up behind it.
        """
        while True:
            try:
                is_over = self._process.poll() is not None
                self._hand_on()
                if self._is_written:
                    return True
                if is_over:
                    # Asked before the reserve is given back, which makes room again.
                    self._found_full = _is_full(self._request.folder)
                    return False
                self._end_if_asked()
                self._line.wait(POLL)
            except KeyboardInterrupt:
                if self._cancel.is_set():
                    kill(self._process)
                self._cancel.set()

    def _end_if_asked(self) -> None:
        now = time.monotonic()
        if self._cancel.is_set() and self._kill_at is None:
            self._kill_at = now + (self._request.grace + MARGIN).total_seconds()
            self._process.send_signal(signal.SIGTERM)
        if self._deadline is not None and now > self._deadline:
            self._timed_out = True
            kill(self._process)
        if self._kill_at is not None and now > self._kill_at:
            kill(self._process)

    def _hand_on(self) -> None:
        for event in self._lines.read():
            if event.type is EventType.CELL_STARTED:
                self._running = _cell(event)
            elif event.type is EventType.CELL_FINISHED:
                self._running = None
            elif event.type is EventType.RUN_FINISHED:
                self._finished = event
            elif event.type is EventType.NOTEBOOK_WRITTEN:
                self._is_written = self._finished is not None
            self._on_event(event)

    def result(self, *, rest: Callable[[], None] | None) -> AttemptResult:
        """Return how the attempt ended; complete its journal and notebook if it could not."""
        self._hand_on()
        if self._finished is not None:
            result = finish(self._request.folder, finished=self._finished)
        else:
            status, reason, error = self._explain()
            result = finish(self._request.folder, status=status, reason=reason, error=error)
        return replace(result, rest=rest)

    def _explain(self) -> tuple[RunStatus, str, CellError | None]:
        """Say why an attempt that left no word of its own is gone."""
        running = self._running
        where = "" if running is None else f" while cell {running + 1} was running"
        code = self._process.returncode
        if self._cancel.is_set():
            return RunStatus.CANCELLED, f"The run was cancelled{where}.", None
        if self._timed_out:
            limit = in_words(self._request.timeout or timedelta())
            kind, reason = "TimedOut", f"The run took longer than its timeout of {limit}{where}."
        elif code == IO_ERROR:
            kind = "DiskFull" if self._found_full else "OSError"
            what = "is full" if kind == "DiskFull" else "cannot be written"
            reason = f"The disk of {self._request.folder} {what}: the run ended{where}."
        elif not getattr(self._process, "is_exit_known", True) or code is None:
            kind = "AttemptFailed"
            reason = f"The attempt process ended{where}, and so had the zygote that it came from."
            reason = f"{reason} See {self._request.folder / LOG_FILE}."
        elif code == -signal.SIGKILL and machine_kills() > self._killed_before:
            kind, reason = OUT_OF_MEMORY, machine_sentence("The attempt process", where)
        else:
            kind = "Killed" if code < 0 else "AttemptFailed"
            see = "" if code < 0 else f" See {self._request.folder / LOG_FILE}."
            reason = f"The attempt process ended ({explain_exit(code)}){where}.{see}"
        return RunStatus.FAILED, reason, CellError(type=kind, message=reason, cell=running)


def _cell(event: Event) -> int | None:
    cell = event.fields.get("cell")
    return cell if isinstance(cell, int) else None


def _is_full(folder: Path) -> bool:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < 64 * 1024 or (
        found.f_files > 0 and found.f_favail == 0
    )


class _Tail:
    """Reads whole new lines of a file that someone else appends to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0

    def read(self) -> Iterator[Event]:
        """Yield the events that were completed since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._place)
                new = file.read()
        except FileNotFoundError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._place += len(whole)
        for line in whole.split(b"\n"):
            event = parse_event(line.decode("utf-8", "replace"))
            if event is not None:
                yield event
