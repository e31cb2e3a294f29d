"""What papermill's users expect of an engine's result, beside what is true of ours."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from nbprod.core.runs import CellError
from nbprod.notebook.rendering import MARKER_TAG, as_bytes
from nbprod.runners.outcome import Outcome

if TYPE_CHECKING:
    from nbformat import NotebookNode

#: Errors of ours that end the run from outside a cell's code.
CELL_TIMED_OUT = "CellTimedOut"


def for_papermill(outcome: Outcome, *, write: Callable[[bytes], None] | None) -> "NotebookNode":
    """Return the executed notebook, to which papermill adds an error banner of its own.

    Raises:
        PapermillException: the run ended outside of any cell.
        CellTimeoutError: a cell ran for too long; nbclient's, as with papermill's own engine.
    """
    assert outcome.rendering is not None
    notebook = outcome.rendering.notebook()
    error = outcome.error
    if error is not None and (error.cell is None or error.type == CELL_TIMED_OUT):
        # papermill writes nothing any more once an engine has raised.
        if write is not None:
            write(as_bytes(notebook))
        _raise(error)
    notebook.cells = [
        cell for cell in notebook.cells if MARKER_TAG not in cell.metadata.get("tags", [])
    ]
    _mark_text(notebook)
    if any(cell.metadata.papermill["exception"] for cell in notebook.cells):
        notebook.metadata.papermill["exception"] = True  # sys.exit(0) is one too, though no failure
    return notebook


def _raise(error: CellError) -> NoReturn:
    from nbclient.exceptions import CellTimeoutError
    from papermill.exceptions import PapermillException

    if error.type == CELL_TIMED_OUT:
        raise CellTimeoutError(error.message)
    raise PapermillException(error.message)


def _mark_text(notebook: "NotebookNode") -> None:
    """Give cells of text the state that papermill gives them: completed as far as the run came."""
    last = max(
        (
            index
            for index, cell in enumerate(notebook.cells)
            if cell.metadata.get("nbprod", {}).get("status", "not_run") != "not_run"
        ),
        default=-1,
    )
    if notebook.metadata.nbprod.status == "succeeded" and not _is_cut_short(notebook):
        last = len(notebook.cells)
    moment = notebook.metadata.papermill.get("start_time")
    for index, cell in enumerate(notebook.cells):
        known = cell.metadata.papermill
        if cell.cell_type == "code":
            moment = known.get("end_time") or moment
            continue
        is_done = index < last
        cell.metadata["papermill"] = {
            "exception": False if is_done else None,
            "start_time": moment if is_done else None,
            "end_time": moment if is_done else None,
            "duration": 0.0 if is_done else None,
            "status": "completed" if is_done else "pending",
        }


def _is_cut_short(notebook: "NotebookNode") -> bool:
    return any(
        cell.metadata.nbprod.status == "not_run"
        for cell in notebook.cells
        if cell.cell_type == "code"
    )
