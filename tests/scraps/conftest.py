"""A kernel that stays up for a whole module: cells in, the executed notebook out."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from nbprod.notebook.rendering import Rendering
from nbprod.runners.engine import Attempt, NbprodEngine

if TYPE_CHECKING:
    from nbprod.core.events import Event

Cells = Callable[..., nbformat.NotebookNode]


@pytest.fixture
def run_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cells:
    """Execute cells in one new kernel under our engine, inside an attempt's folder."""
    monkeypatch.setenv("NBPROD_RUN_FOLDER", str(tmp_path / "run"))
    monkeypatch.setenv("NBPROD_WORKSPACE", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(*sources: str) -> nbformat.NotebookNode:
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
        notebook.metadata["papermill"] = {}
        events: list[Event] = []
        attempt = Attempt(record=events.append)
        NbprodEngine.execute_notebook(notebook, "python3", progress_bar=False, attempt=attempt)
        attempt.outcome.end_kernel()
        rendering = Rendering(notebook)
        for event in events:
            rendering.apply(event)
        return rendering.notebook()

    return run
