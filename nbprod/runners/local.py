"""Executes an attempt as a subprocess of this machine, and says in truth how it ended."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from nbprod.core.events import Event, EventType, parse_event
from nbprod.core.runner import (
    JOURNAL_FILE,
    LOG_FILE,
    REQUEST_FILE,
    SCRAPS_FOLDER,
    AttemptRequest,
    AttemptResult,
)
from nbprod.core.runs import CellError, RunStatus
from nbprod.runners.attempt import IO_ERROR, SUPERVISOR_VARIABLE
from nbprod.runners.finish import finish
from nbprod.runners.processes import end_all, explain_exit
from nbprod.runners.reserve import release, reserve
from nbprod.runners.watch import in_words

logger = logging.getLogger(__name__)

#: Seconds between two looks at the journal.
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
        try:
            process = self._start(request)
        except OSError as error:
            reason = f"The attempt could not be started: {error}."
            return AttemptResult(
                status=RunStatus.FAILED,
                reason=reason,
                error=CellError(type=type(error).__name__, message=reason),
            )
        supervision = _Supervision(request, process, on_event=on_event, cancel=cancel)
        try:
            supervision.follow()
        finally:
            _kill(process)
            end_all(request.folder)
            release(request.folder)
        return supervision.result()

    def _start(self, request: AttemptRequest) -> "subprocess.Popen[bytes]":
        folder = request.folder
        (folder / SCRAPS_FOLDER).mkdir(parents=True, exist_ok=True)
        path = folder / REQUEST_FILE
        path.write_text(json.dumps(request.to_json(), indent=1), encoding="utf-8")
        # Enough for the last events and a notebook without outputs.
        reserve(folder, 256 * 1024 + 2 * request.notebook.stat().st_size)
        with (folder / LOG_FILE).open("ab") as log:
            return subprocess.Popen(
                # -P: a json.py in the current folder must not stand in for the library's.
                [sys.executable, "-P", "-m", "nbprod.runners.attempt", str(path)],
                env={**os.environ, **request.environment, SUPERVISOR_VARIABLE: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


class _Supervision:
    """One attempt under way, seen from its supervisor."""

    def __init__(
        self,
        request: AttemptRequest,
        process: "subprocess.Popen[bytes]",
        *,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> None:
        self._request = request
        self._process = process
        self._on_event = on_event
        self._cancel = cancel
        self._lines = _Tail(request.folder / JOURNAL_FILE)
        self._running: int | None = None
        self._finished: Event | None = None
        self._kill_at: float | None = None
        self._timed_out = False
        self._found_full = False
        self._deadline = (
            None
            if request.timeout is None
            else time.monotonic() + (request.timeout + request.grace + MARGIN).total_seconds()
        )

    def follow(self) -> None:
        """Hand on events until the process is gone; carry out a cancellation."""
        while True:
            try:
                is_over = self._process.poll() is not None
                self._hand_on()
                if is_over:
                    # Asked before the reserve is given back, which makes room again.
                    self._found_full = _is_full(self._request.folder)
                    return
                self._end_if_asked()
                # Waiting on the flag and not on the process makes a cancellation quick.
                if self._kill_at is None:
                    self._cancel.wait(POLL)
                else:
                    time.sleep(POLL)
            except KeyboardInterrupt:
                if self._cancel.is_set():
                    _kill(self._process)
                self._cancel.set()

    def _end_if_asked(self) -> None:
        now = time.monotonic()
        if self._cancel.is_set() and self._kill_at is None:
            self._kill_at = now + (self._request.grace + MARGIN).total_seconds()
            self._process.send_signal(signal.SIGTERM)
        if self._deadline is not None and now > self._deadline:
            self._timed_out = True
            _kill(self._process)
        if self._kill_at is not None and now > self._kill_at:
            _kill(self._process)

    def _hand_on(self) -> None:
        for event in self._lines.read():
            if event.type is EventType.CELL_STARTED:
                self._running = _cell(event)
            elif event.type is EventType.CELL_FINISHED:
                self._running = None
            elif event.type is EventType.RUN_FINISHED:
                self._finished = event
            self._on_event(event)

    def result(self) -> AttemptResult:
        """Return how the attempt ended; complete its journal and notebook if it could not."""
        self._hand_on()
        if self._finished is not None:
            return finish(self._request.folder, finished=self._finished)
        status, reason, error = self._explain()
        return finish(self._request.folder, status=status, reason=reason, error=error)

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


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


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
