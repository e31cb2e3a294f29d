"""Bring an ended attempt's folder to its final state: journal closed, notebook read-only.

Used by the runner, and by whoever finds a run whose supervisor vanished.
"""

import json
import logging
import stat
from pathlib import Path
from typing import Any

from nbprod.core.digest import digest_file
from nbprod.core.events import Event, EventType
from nbprod.core.runner import (
    JOURNAL_FILE,
    NOTEBOOK_FILE,
    REQUEST_FILE,
    AttemptRequest,
    AttemptResult,
)
from nbprod.core.runs import CellError, RunStatus
from nbprod.core.usage import Usage
from nbprod.notebook.journal import Journal, read_events
from nbprod.notebook.rendering import Rendering, write_notebook
from nbprod.runners.reserve import release

logger = logging.getLogger(__name__)


def finish(
    folder: Path,
    *,
    finished: Event | None = None,
    status: RunStatus = RunStatus.LOST,
    reason: str = "",
    error: CellError | None = None,
) -> AttemptResult:
    """Return the final result of the attempt in `folder`, whose notebook nobody writes any more.

    `finished` is its RUN_FINISHED event where one is known; else the journal is searched, and one
    that lacks it is completed with `status` and `reason`. The executed notebook is rendered where
    the attempt left none or one from while it ran, and made read-only. Calling it again changes
    nothing.
    """
    if finished is None:
        finished = _last_word(folder) or _complete(folder, status, reason, error)
    status = RunStatus(str(finished.fields["status"]))
    reason = str(finished.fields.get("reason", ""))
    error = _error_of(finished)
    usage = Usage.from_json(finished.fields.get("usage"))
    path = folder / NOTEBOOK_FILE
    if not _is_final(path):
        problem = _render(folder, finished)
        if problem:
            reason = f"{reason} The executed notebook could not be written: {problem}."
            return AttemptResult(status=status, reason=reason, error=error, usage=usage)
    return AttemptResult(
        status=status,
        reason=reason,
        error=error,
        notebook=path,
        notebook_digest=digest_file(path),
        stopped=_stopped(finished),
        usage=usage,
    )


def _is_final(path: Path) -> bool:
    """Say whether the attempt wrote its last word there, and not only how far it had come."""
    try:
        return not path.stat().st_mode & stat.S_IWUSR
    except FileNotFoundError:
        return False


def _last_word(folder: Path) -> Event | None:
    last = None
    for event in read_events(folder / JOURNAL_FILE):
        if event.type is EventType.RUN_FINISHED:
            last = event
    return last


def _complete(folder: Path, status: RunStatus, reason: str, error: CellError | None) -> Event:
    """Write the journal's last events in place of the attempt that could not."""
    running: int | None = None
    used: list[Usage] = []
    for event in read_events(folder / JOURNAL_FILE):
        if event.type is EventType.CELL_STARTED:
            running = int(str(event.fields.get("cell")))
        elif event.type is EventType.CELL_FINISHED:
            running = None
            if usage := Usage.from_json(event.fields.get("usage")):
                used.append(usage)
    if not reason:
        where = "" if running is None else f" while cell {running + 1} was running"
        reason = f"The process that watched this run vanished{where}."
    closing = run_finished(status, reason, error, usage=Usage.in_all(used))
    events = [*_interruption(running, reason, error), closing]
    try:
        with Journal(folder / JOURNAL_FILE) as journal:
            release(folder)
            for event in events:
                journal.write(event)
    except OSError as problem:
        # The result is returned all the same, and the store keeps it.
        logger.warning("the journal in %s could not be completed: %s", folder, problem)
    return events[-1]


def _interruption(running: int | None, reason: str, error: CellError | None) -> list[Event]:
    if running is None:
        return []
    shown = {
        "output_type": "error",
        "ename": "Interrupted" if error is None else error.type,
        "evalue": reason,
        "traceback": [reason],
    }
    return [
        _event(EventType.OUTPUT, cell=running, output=shown),
        _event(EventType.CELL_FINISHED, cell=running, status="interrupted"),
    ]


def run_finished(
    status: RunStatus,
    reason: str,
    error: CellError | None,
    *,
    stopped: str | None = None,
    usage: Usage | None = None,
) -> Event:
    """Return the event that closes a journal."""
    fields: dict[str, Any] = {"status": status.value, "reason": reason}
    if usage is not None:
        fields["usage"] = usage.to_json()
    if stopped is not None:
        fields["stopped"] = stopped
    if error is not None:
        fields["error"] = {
            "type": error.type,
            "message": error.message,
            "cell": error.cell,
            "traceback": error.traceback,
        }
    return _event(EventType.RUN_FINISHED, **fields)


def _event(kind: EventType, **fields: Any) -> Event:
    import time

    return Event(type=kind, t=time.time(), fields=fields)


def _error_of(finished: Event) -> CellError | None:
    fields: Any = finished.fields.get("error")
    return None if not fields else CellError(**fields)


def _stopped(finished: Event) -> str | None:
    reason = finished.fields.get("stopped")
    return None if reason is None else str(reason)


def _render(folder: Path, finished: Event) -> str:
    """Write the executed notebook from the journal; return what prevented it, or nothing.

    On a full disk it is written without outputs, into the space that was kept back for it.
    """
    import nbformat

    template = _template(folder)
    for torn in folder.glob(f".{NOTEBOOK_FILE}.*"):
        torn.unlink(missing_ok=True)  # whoever wrote it was killed before it was whole
    problem = ""
    for keeps_outputs in (True, False):
        try:
            notebook = nbformat.read(template, as_version=4)
            rendering = Rendering(notebook)
            events = [
                event
                for event in read_events(folder / JOURNAL_FILE)
                if event.type is not EventType.RUN_FINISHED
            ]
            for event in (*events, finished):
                if keeps_outputs or not _is_heavy(event):
                    rendering.apply(event)
            write_notebook(rendering.notebook(), folder / NOTEBOOK_FILE, is_final=True)
        except OSError as error:
            problem = str(error)
            release(folder)
            # One from while it ran takes space, and would say for ever that it runs.
            (folder / NOTEBOOK_FILE).unlink(missing_ok=True)
        else:
            return ""
    return problem


def _is_heavy(event: Event) -> bool:
    output: Any = event.fields.get("output")
    return event.type in (EventType.OUTPUT, EventType.SCRAP, EventType.OUTPUT_UPDATED) and (
        not isinstance(output, dict) or output.get("output_type") != "error"
    )


def _template(folder: Path) -> Path:
    """Return the snapshot of the template that the attempt was given."""
    try:
        fields = json.loads((folder / REQUEST_FILE).read_text(encoding="utf-8"))
        return AttemptRequest.from_json(fields).notebook
    except (OSError, ValueError, KeyError):
        return folder / "template.ipynb"
