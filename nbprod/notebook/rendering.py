"""From a template and the journal to the executed notebook: the one place where it is made.

The engine applies each event as it happens, and whoever finds a dead attempt applies the same
events out of the journal: both get the same notebook.
"""

import copy
import html
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbprod.core.events import Event, EventType
from nbprod.core.scraps import SCRAP_METADATA
from nbprod.notebook.injection import inject
from nbprod.notebook.notes import cut_mark, is_scrap, note, without_bulk
from nbprod.notebook.streams import write

if TYPE_CHECKING:
    from nbformat import NotebookNode

#: papermill's own tag for the cells it adds on an error; it removes them before a new run.
MARKER_TAG = "papermill-error-cell-tag"
ANCHOR = "papermill-error-cell"
_STYLE = (
    'style="color:red; font-family:Helvetica Neue, Helvetica, Arial, sans-serif; font-size:2em;"'
)
#: They come after the run's end, tell nothing of its cells, and do not lengthen it.
_AFTERWARDS = frozenset({EventType.NOTEBOOK_WRITTEN, EventType.KERNEL_ENDED})
#: papermill's word for each of ours.
_PAPERMILL = {
    "ok": "completed",
    "skipped": "completed",
    "error": "failed",
    "interrupted": "failed",
    "running": "running",
    "not_run": "pending",
}


def render(template: "NotebookNode", events: Iterable[Event]) -> "NotebookNode":
    """Return the executed notebook that the events tell of, truthful about every cell.

    `metadata.nbprod.status` of each code cell is ok, error, skipped, interrupted or not_run; a
    cell that was never run says so visibly. Without a RUN_FINISHED event the run is shown as one
    that ended without a word. `template` is the notebook before parameters went in.
    """
    rendering = Rendering(template)
    for event in events:
        rendering.apply(event)
    return rendering.notebook()


class Rendering:
    """The state of a notebook under execution, moved by events alone."""

    def __init__(self, template: "NotebookNode") -> None:
        self._template = template
        self._cells = [_Cell() for _ in template.cells]
        self._displays: dict[str, list[dict[str, Any]]] = {}
        self._metadata: dict[str, Any] = {}
        self._started: float | None = None
        self._ended: float | None = None
        self._finish: Mapping[str, Any] | None = None
        self._stopped: tuple[int, str] | None = None
        self.changes = 0  #: events that changed what the notebook shows

    @property
    def running(self) -> int | None:
        """Return the index of the cell that started and has not finished."""
        for index, cell in enumerate(self._cells):
            if cell.status == "running":
                return index
        return None

    @property
    def stopped(self) -> str | None:
        """Return the reason given to `nbprod.stop`; None when it was not called."""
        return None if self._stopped is None else self._stopped[1]

    def status(self, index: int) -> str:
        """Return a cell's status as the notebook will say it."""
        return self._cells[index].status

    def apply(self, event: Event) -> None:
        """Take in one event. A cell number out of range, from a damaged journal, is ignored."""
        if event.type in _AFTERWARDS:
            return
        if event.type is not EventType.PROGRESS:
            self.changes += 1
        fields: Mapping[str, Any] = event.fields
        if event.type is EventType.RUN_STARTED:
            self._start(event)
        elif event.type is EventType.METADATA:
            self._metadata.update(fields.get("metadata", {}))
        elif event.type is EventType.OUTPUT_UPDATED:
            for output in self._displays.get(str(fields.get("display_id")), []):
                output["data"] = fields.get("data", {})
                output["metadata"] = fields.get("metadata", {})
        elif event.type is EventType.RUN_FINISHED:
            self._finish, self._ended = fields, event.t
        elif event.type is not EventType.PROGRESS:
            index = fields.get("cell")
            if isinstance(index, int) and 0 <= index < len(self._cells):
                self._apply_to_cell(event, self._cells[index], index)
        self._ended = max(self._ended or event.t, event.t)

    def _start(self, event: Event) -> None:
        source = str(event.fields.get("injected") or "")
        parameters = event.fields.get("parameters")
        if isinstance(parameters, dict):
            self._template = inject(self._template, source=source, parameters=parameters)
            for key in ("input_path", "output_path"):
                self._template.metadata.papermill[key] = event.fields.get(key)
        self._started = event.t
        self._cells = [_Cell() for _ in self._template.cells]

    def _apply_to_cell(self, event: Event, cell: "_Cell", index: int) -> None:
        fields: Mapping[str, Any] = event.fields
        match event.type:
            case EventType.CELL_STARTED:
                cell.status, cell.started = "running", event.t
            case EventType.OUTPUT:
                output = cell.append(dict(fields["output"]))
                if display_id := fields.get("display_id"):
                    self._displays.setdefault(display_id, []).append(output)
            case EventType.OUTPUT_CLEARED:
                cell.outputs = [output for output in cell.outputs if is_scrap(output)]
            case EventType.OUTPUT_CUT:
                cell.mark_cut(fields)
            case EventType.SCRAP:
                cell.append_scrap(dict(fields["output"]), str(fields.get("name")))
            case EventType.STOPPED:
                self._stopped = (index, str(fields.get("reason", "")))
                cell.append(note(f"Stopped here: {fields.get('reason') or 'no reason given'}"))
            case EventType.CELL_FINISHED:
                cell.status, cell.finished = str(fields.get("status")), event.t
                cell.execution_count = fields.get("execution_count")
                cell.usage = fields.get("usage")
            case _:
                pass

    def notebook(self, *, is_final: bool = True, largest: int | None = None) -> "NotebookNode":
        """Return the notebook as it stands, unfinished cells marked; a copy of its own.

        While the run goes on it is not final: nothing has ended yet that did not say so. Outputs
        of more than `largest` bytes are left out then, and said to be.
        """
        import nbformat

        notebook = nbformat.NotebookNode(self._template)
        notebook["metadata"] = copy.deepcopy(self._template.metadata)
        notebook.metadata.update(nbformat.from_dict(self._metadata))
        why = self._why_not_run()
        failing: int | None = None
        cells = []
        for index, (source, state) in enumerate(
            zip(self._template.cells, self._cells, strict=True)
        ):
            cell = copy.deepcopy(source)
            cells.append(cell)
            cell.metadata.setdefault("papermill", {})
            if cell.cell_type != "code":
                continue
            status = state.status
            if status == "running" and is_final:
                status = "interrupted"
            if status in ("error", "interrupted"):
                failing = index
            outputs = state.finished_outputs()
            if largest is not None:
                outputs = [without_bulk(output, largest) for output in outputs]
            if status == "not_run" and is_final and str(cell.source).strip():
                outputs = [note(f"Not run: {why}")]
            cell["outputs"] = [nbformat.from_dict(output) for output in outputs]
            cell["execution_count"] = state.execution_count
            cell.metadata["nbprod"] = {"status": status, "cell": index}
            if state.usage is not None:
                cell.metadata["nbprod"]["usage"] = state.usage
            cell.metadata["papermill"] = state.papermill(status)
            if state.started is not None:
                cell.metadata["execution"] = state.execution()
        notebook["cells"] = cells
        self._describe_run(notebook, failing=failing, is_final=is_final)
        return notebook

    def _describe_run(
        self, notebook: "NotebookNode", *, failing: int | None, is_final: bool
    ) -> None:
        is_running = self._finish is None and not is_final
        status, reason = ("running", "") if is_running else self._outcome()
        is_bad = status not in ("succeeded", "running")
        papermill = notebook.metadata.setdefault("papermill", {})
        papermill["start_time"] = _iso(self._started)
        papermill["end_time"] = _iso(self._ended)
        papermill["duration"] = (
            None if self._started is None or self._ended is None else self._ended - self._started
        )
        papermill["exception"] = True if is_bad else None
        notebook.metadata["nbprod"] = {"status": status, "reason": reason}
        if self._stopped is not None:
            notebook.metadata["nbprod"]["stopped"] = self._stopped[1]
        if self._finish is not None and self._finish.get("usage") is not None:
            notebook.metadata["nbprod"]["usage"] = self._finish["usage"]
        if is_bad:
            _add_banner(notebook, status=status, reason=reason, failing=failing)

    def _outcome(self) -> tuple[str, str]:
        if self._finish is not None:
            return str(self._finish.get("status")), str(self._finish.get("reason", ""))
        running = self.running
        where = "" if running is None else f" while cell {running + 1} was running"
        return "lost", f"The run ended without a word{where}."

    def _why_not_run(self) -> str:
        if self._stopped is not None and (self._finish or {}).get("status") == "succeeded":
            index, reason = self._stopped
            return f"nbprod.stop ended the run in cell {index + 1}" + (
                f" ({reason})." if reason else "."
            )
        return self._outcome()[1]


class _Cell:
    """What is known of one cell while events come in."""

    def __init__(self) -> None:
        self.status = "not_run"
        self.outputs: list[dict[str, Any]] = []
        self.execution_count: int | None = None
        self.usage: dict[str, Any] | None = None
        self.started: float | None = None
        self.finished: float | None = None

    def append(self, output: dict[str, Any]) -> dict[str, Any]:
        if output.get("output_type") != "stream":
            self.outputs.append(output)
            return output
        text = str(output.get("text", ""))
        last = self.outputs[-1] if self.outputs else None
        if last is None or last["output_type"] != "stream" or last["name"] != output["name"]:
            last = {"output_type": "stream", "name": output["name"], "text": [""]}
            self.outputs.append(last)
        write(last["text"], text)
        return last

    def mark_cut(self, fields: Mapping[str, Any]) -> None:
        """Say what was cut; the last word on a file is put where the first one stood."""
        mark = cut_mark(fields)
        for place, former in enumerate(self.outputs):
            cut = former.get("metadata", {}).get("nbprod", {}).get("cut", {})
            if cut and cut["file"] == fields.get("file"):
                self.outputs[place] = mark
                return
        self.outputs.append(mark)

    def append_scrap(self, output: dict[str, Any], name: str) -> None:
        """Append a scrap; one that a loop glues again and again is kept once."""
        if (output.get("metadata") or {}).get(SCRAP_METADATA, {}).get("data"):
            self.outputs = [
                former
                for former in self.outputs
                if not (
                    (glued := (former.get("metadata") or {}).get(SCRAP_METADATA, {})).get("data")
                    and glued.get("name") == name
                )
            ]
        self.outputs.append(output)

    def finished_outputs(self) -> list[dict[str, Any]]:
        return [
            {**output, "text": "".join(output["text"])}
            if output["output_type"] == "stream"
            else _valid(output)
            for output in self.outputs
        ]

    def papermill(self, status: str) -> dict[str, Any]:
        ended = self.finished if self.finished is not None else None
        return {
            "exception": None if self.started is None else _PAPERMILL[status] == "failed",
            "start_time": _iso(self.started),
            "end_time": _iso(ended),
            "duration": None if ended is None or self.started is None else ended - self.started,
            "status": _PAPERMILL[status],
        }

    def execution(self) -> dict[str, Any]:
        """Return Jupyter's own record of a cell's timing, which JupyterLab shows."""
        times = {"iopub.execute_input": _iso(self.started)}
        if self.finished is not None:
            times["shell.execute_reply"] = _iso(self.finished)
        return times


def _valid(output: dict[str, Any]) -> dict[str, Any]:
    """Return the output as nbformat accepts it.

    Altair's "mimetype" renderer puts a mapping under a mime type that does not end in +json;
    nbformat refuses the whole notebook for it.
    """
    data = output.get("data")
    if not isinstance(data, dict):
        return output
    fixed = {
        mime: json.dumps(value)
        if not isinstance(value, (str, list))
        and mime != "application/json"
        and not mime.endswith("+json")
        else value
        for mime, value in data.items()
    }
    return {**output, "data": fixed}


def _add_banner(notebook: "NotebookNode", *, status: str, reason: str, failing: int | None) -> None:
    """Say at the top that the run went wrong, with a link to the cell, as papermill does."""
    import nbformat

    how = "failed" if status == "failed" else f"was {status}"
    words = f"This run {how}. {html.escape(reason, quote=False)}"
    if failing is not None:
        anchor = nbformat.v4.new_markdown_cell(
            f'<span id="{ANCHOR}" {_STYLE}>The run ended in the next cell:</span>',
            id="nbprod-error-cell",
        )
        anchor.metadata["tags"] = [MARKER_TAG]
        notebook.cells.insert(failing, anchor)
        words += f' <a href="#{ANCHOR}">Go to the cell.</a>'
    banner = nbformat.v4.new_markdown_cell(
        f"<span {_STYLE}>{words}</span>", id="nbprod-error-banner"
    )
    banner.metadata["tags"] = [MARKER_TAG]
    # Front matter must stay the first cell, else it is none.
    first = int(bool(notebook.cells) and notebook.cells[0].cell_type == "raw")
    notebook.cells.insert(first, banner)


def _iso(t: float | None) -> str | None:
    return None if t is None else datetime.fromtimestamp(t, UTC).isoformat()


def as_bytes(notebook: "NotebookNode") -> bytes:
    """Return a notebook as its file has it.

    The text is nbformat's own, without its validation, which takes seconds on a large notebook
    and only logs what it finds.
    """
    import nbformat

    text: str = nbformat.v4.writes(notebook)
    return (text + "\n").encode("utf-8", "backslashreplace")


def write_notebook(notebook: "NotebookNode", path: Path, *, is_final: bool = False) -> str:
    """Write a notebook whole or not at all, and return the sha256 of its bytes.

    A final one is read-only from the moment it is there, which tells it from one under way.
    """
    import hashlib

    content = as_bytes(notebook)
    replace_file(path, content, is_final=is_final)
    return hashlib.sha256(content).hexdigest()


def replace_file(path: Path, content: bytes, *, is_final: bool = False) -> None:
    """Write a file whole or not at all."""
    import os

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if is_final:
                os.fchmod(file.fileno(), 0o444)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
