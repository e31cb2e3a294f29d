"""Which cells and outputs of an executed notebook a reader gets to see."""

import re
from dataclasses import dataclass
from typing import Any

from nbprod.core.scraps import PROGRESS_MIME, SCRAP_MIME_PREFIX
from nbprod.reports.markup import clean

HIDE_TAG = "hide-report"  #: the whole cell stays out of the report

#: Jupyter Book's and nbconvert's words for the same wishes are honoured too.
_HIDDEN_CELL = frozenset({HIDE_TAG, "hide_report", "remove-cell", "remove_cell"})
_HIDDEN_OUTPUT = frozenset({"remove-output", "remove_output", "hide-output"})
_PLUMBING = frozenset(
    {"parameters", "injected-parameters", "papermill-error-cell-tag", "nbprod-note"}
)

#: What a page can show without running anything, best first. A picture is preferred to
#: markup: plotting libraries that send both rely on a script in their markup.
_SHOWABLE = (
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "text/html",
    "text/markdown",
    "text/latex",
    "text/plain",
)
_INTERACTIVE = (
    "application/vnd.plotly",
    "application/vnd.vega",
    "application/vnd.bokehjs",
    "application/vnd.jupyter.widget-view",
    "application/vnd.holoviews",
)
_INTERACTIVE_NOTE = "An interactive figure stands here in the notebook; this page is still."

#: `<Axes: title=...>`, `[<matplotlib.lines.Line2D at 0x7f...>]`, `Figure(640x480)`: a call's
#: value that happened to be last in its cell. It says nothing to a reader.
_OBJECT_REPR = re.compile(r"\s*(?:[\[(]*<.*>[\])]*|Text\(.*\)|Figure\(\d+x\d+\))\s*", re.DOTALL)
#: Colours of a terminal.
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicNotebook:
    """What is left for a reader."""

    notebook: Any  #: NotebookNode with the shown cells only
    title: str = ""  #: the heading that opens the notebook; it is taken out of the cells
    not_reached: tuple[str, ...] = ()  #: headings below the cell at which the run ended
    cells_not_run: int = 0  #: code cells after that one


def public(notebook: Any, *, code: str = "hidden") -> PublicNotebook:
    """Reduce an executed notebook (not changed) to what its readers should see.

    `code` is "hidden" or "shown", as in the front matter's `report`.
    """
    import nbformat

    end = _end(notebook.cells)
    reached, beyond = notebook.cells[: end + 1], notebook.cells[end + 1 :]
    title, heading = "", ""
    shown: list[Any] = []
    for cell in reached:
        tags = set(cell.metadata.get("tags", ()))
        if cell.cell_type == "raw" or tags & (_HIDDEN_CELL | _PLUMBING):
            continue
        if cell.cell_type == "markdown":
            source = cell.source
            if not title and not shown:
                title, source = _take_title(source)
            heading = (_headings(source) or [heading])[-1]
            if source.strip():
                shown.append(nbformat.v4.new_markdown_cell(source, **_attachments(cell)))
            continue
        outputs = [] if tags & _HIDDEN_OUTPUT else _outputs(cell, code=code, heading=heading)
        if outputs or (code == "shown" and cell.source.strip()):
            shown.append(
                nbformat.v4.new_code_cell(
                    cell.source, outputs=outputs, execution_count=cell.get("execution_count")
                )
            )
    _drop_bare_headings(shown)
    return PublicNotebook(
        notebook=nbformat.v4.new_notebook(
            cells=shown, metadata={"language_info": {"name": "python"}}
        ),
        title=title,
        not_reached=tuple(
            text for cell in beyond if not _is_code(cell) for text in _headings(cell.source)
        ),
        cells_not_run=sum(_is_code(cell) and bool(cell.source.strip()) for cell in beyond),
    )


def _is_code(cell: Any) -> bool:
    return bool(cell.cell_type == "code")


def _end(cells: Any) -> int:
    """Return the index of the last cell that was reached; prose below it talks of nothing."""
    states = [
        cell.metadata.get("nbprod", {}).get("status", "") if _is_code(cell) else ""
        for cell in cells
    ]
    for index, cell in enumerate(cells):
        if states[index] == "error" or (
            _is_code(cell) and any(o.output_type == "error" for o in cell.outputs)
        ):
            return index
    last_run = max((i for i, state in enumerate(states) if state == "ok"), default=None)
    pending = [i for i, state in enumerate(states) if state in ("not_run", "interrupted")]
    if not pending or (last_run is not None and pending[-1] < last_run):
        return len(cells) - 1
    return pending[0] if states[pending[0]] == "interrupted" else pending[0] - 1


def _take_title(source: str) -> tuple[str, str]:
    first, _, rest = source.strip().partition("\n")
    if first.startswith("# "):
        return first[2:].strip(), rest.lstrip("\n")
    return "", source


def _headings(source: str) -> list[str]:
    found, in_code = [], False
    for line in source.splitlines():
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and (match := re.fullmatch(r"#{1,6}\s+(.*?)\s*#*", line)):
            found.append(match[1])
    return found


def _drop_bare_headings(cells: list[Any]) -> None:
    """Remove headings with nothing below them: their code showed nothing."""

    def is_bare(cell: Any) -> bool:
        lines = cell.source.strip().splitlines()
        return cell.cell_type == "markdown" and len(lines) == 1 and lines[0].startswith("#")

    def depth(cell: Any) -> int:
        text = cell.source.strip()
        return len(text) - len(text.lstrip("#"))

    for index in range(len(cells) - 1, -1, -1):
        if not is_bare(cells[index]):
            continue
        after = cells[index + 1] if index + 1 < len(cells) else None
        if after is None or (
            after.cell_type == "markdown"
            and after.source.strip().startswith("#")
            and depth(after) <= depth(cells[index])
        ):
            del cells[index]


def _attachments(cell: Any) -> dict[str, Any]:
    return {"attachments": cell.attachments} if cell.get("attachments") else {}


def _outputs(cell: Any, *, code: str, heading: str) -> list[Any]:
    import nbformat

    shown: list[Any] = []
    for output in cell.outputs:
        match output.output_type:
            case "stream" if output.name == "stdout":
                text = settled(output.text)
                if shown and shown[-1].output_type == "stream":
                    shown[-1].text += text
                elif text.strip():
                    shown.append(nbformat.v4.new_output("stream", name="stdout", text=text))
            case "display_data" | "execute_result":
                if data := _data(output, code=code):
                    alt = {"alt": f"Figure: {heading}" if heading else "Figure"}
                    mime = next(iter(data))
                    metadata = dict(output.metadata.get(mime, {}))
                    metadata = {mime: alt | metadata} if mime.startswith("image/") else {}
                    shown.append(nbformat.v4.new_output("display_data", data, metadata=metadata))
            case _:  # stderr is for engineers; an error is told on top of the page
                pass
    return shown


def _data(output: Any, *, code: str) -> dict[str, Any]:
    data = output.data
    if PROGRESS_MIME in data:
        return {}
    found = next((mime for mime in _SHOWABLE if mime in data), None)
    is_interactive = any(mime.startswith(_INTERACTIVE) for mime in data)
    is_scripted = found == "text/html" and "<script" in _text(data["text/html"]).lower()
    if is_interactive and (found in (None, "text/plain") or is_scripted):
        return {"text/markdown": f"*{_INTERACTIVE_NOTE}*"}
    if found is None:
        return {}
    if found == "text/plain":
        text = _text(data[found])
        if any(mime.startswith(SCRAP_MIME_PREFIX) for mime in data) or not text.strip():
            return {}
        if "application/javascript" in data or (code == "hidden" and _OBJECT_REPR.fullmatch(text)):
            return {}
    if found == "text/html":
        return {found: clean(_text(data[found]))}
    return {found: data[found]}


def _text(value: Any) -> str:
    return "".join(value) if isinstance(value, list) else str(value)


def settled(text: str) -> str:
    """Return what a terminal would show in the end: carriage returns resolved, no colours."""
    lines = []
    for line in _ANSI.sub("", text).split("\n"):
        parts = [part for part in line.split("\r") if part]
        lines.append(parts[-1] if parts else "")
    return "\n".join(lines)
