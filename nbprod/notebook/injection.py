"""Put the injected-parameters cell where papermill puts it."""

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nbprod.core.json import JSON

if TYPE_CHECKING:
    from nbformat import NotebookNode

PARAMETERS_TAG = "parameters"
INJECTED_TAG = "injected-parameters"
CELL_ID = "nbprod-injected-parameters"


def inject(
    notebook: "NotebookNode", *, source: str, parameters: Mapping[str, JSON]
) -> "NotebookNode":
    """Return a copy of `notebook` with the cell that sets its parameters.

    It replaces an older injected cell, else follows the parameters cell, else stands first (after
    front matter, which must stay the first cell). With an empty `source` nothing is injected.
    `metadata.papermill.parameters` gets the JSON values, for every tool that reads them there.
    """
    import nbformat

    notebook = copy.deepcopy(notebook)
    upgraded = nbformat.v4.upgrade(notebook)
    notebook = notebook if upgraded is None else upgraded
    papermill = notebook.metadata.setdefault("papermill", nbformat.NotebookNode())
    papermill["parameters"] = dict(parameters)
    if not source:
        return notebook
    cell = nbformat.v4.new_code_cell(source=source, id=CELL_ID)
    cell.metadata["tags"] = [INJECTED_TAG]
    former = _first(notebook, INJECTED_TAG)
    if former is not None:
        notebook.cells[former] = cell
        return notebook
    tagged = _first(notebook, PARAMETERS_TAG)
    if tagged is not None:
        place = tagged + 1
    else:
        place = int(bool(notebook.cells) and notebook.cells[0].cell_type == "raw")
    notebook.cells.insert(place, cell)
    return notebook


def _first(notebook: "NotebookNode", tag: str) -> int | None:
    for index, cell in enumerate(notebook.cells):
        if tag in cell.get("metadata", {}).get("tags", []):
            return index
    return None
