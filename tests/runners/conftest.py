"""Notebooks made of a few lines, and a runner that executes them for real."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest

from nbprod.core.events import Event, EventType
from nbprod.core.outputs import OutputCaps
from nbprod.core.runner import AttemptRequest, AttemptResult
from nbprod.core.scraps import ScrapDeclaration
from nbprod.runners.local import LocalRunner


@dataclass
class Attempt:
    """One attempt: its request, what happened, and how it ended."""

    request: AttemptRequest
    events: list[Event] = field(default_factory=list)
    result: AttemptResult | None = None

    def execute(
        self,
        cancel: threading.Event | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> AttemptResult:
        def listen(event: Event) -> None:
            self.events.append(event)
            on_event(event)

        self.result = LocalRunner().execute(
            self.request, on_event=listen, cancel=cancel or threading.Event()
        )
        return self.result

    def seen(self, kind: EventType) -> list[dict[str, Any]]:
        return [event.fields for event in self.events if event.type is kind]

    def cells(self) -> list[dict[str, Any]]:
        """The cells of the executed notebook that were cells of the template."""
        return [cell for cell in read(self.request.folder) if "nbprod" in cell["metadata"]]

    def statuses(self) -> list[tuple[str, str]]:
        """Of each code cell: our status, and papermill's."""
        return [
            (cell["metadata"]["nbprod"]["status"], cell["metadata"]["papermill"]["status"])
            for cell in self.cells()
        ]

    def text(self, cell: int) -> str:
        """What a reader sees below a cell."""
        return "".join(map(_shown, self.cells()[cell]["outputs"]))


def read(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "executed.ipynb").read_text())["cells"]


def _shown(output: dict[str, Any]) -> str:
    match output["output_type"]:
        case "stream":
            return "".join(output["text"])
        case "error":
            return "".join(output["traceback"])
        case _:
            return "".join(output["data"].get("text/plain", ""))


def notebook(*cells: str | tuple[str, str]) -> nbformat.NotebookNode:
    """A notebook of code cells; a pair is a cell and its tag; "#" starts a markdown cell."""
    made = nbformat.v4.new_notebook()
    for source in cells:
        tag = ""
        if isinstance(source, tuple):
            source, tag = source
        if source.startswith("# "):
            made.cells.append(nbformat.v4.new_markdown_cell(source))
        else:
            made.cells.append(nbformat.v4.new_code_cell(source))
        if tag:
            made.cells[-1].metadata["tags"] = [tag]
    return made


Make = Callable[..., Attempt]


@pytest.fixture
def attempt(tmp_path: Path) -> Make:
    def make(
        *cells: str | tuple[str, str],
        timeout: timedelta | None = None,
        memory_bytes: int | None = None,
        grace: timedelta = timedelta(seconds=5),
        injected: str = "",
        parameters: dict[str, Any] | None = None,
        contract: tuple[ScrapDeclaration, ...] = (),
        environment: dict[str, str] | None = None,
        kernel: str = "",
        folder: Path | None = None,
        caps: OutputCaps | None = None,
    ) -> Attempt:
        folder = folder or tmp_path / "run" / "1"
        folder.mkdir(parents=True)
        nbformat.write(notebook(*cells), folder / "template.ipynb")
        home = tmp_path / "workspace"
        home.mkdir(exist_ok=True)
        return Attempt(
            AttemptRequest(
                run="20261121-000000-abcdef",
                template="t",
                fence=1,
                folder=folder,
                notebook=folder / "template.ipynb",
                parameters=parameters or {},
                injected=injected,
                cwd=home,
                workspace=home,
                kernel=kernel,
                timeout=timeout,
                memory_bytes=memory_bytes,
                grace=grace,
                contract=contract,
                environment=environment or {},
                caps=caps or OutputCaps(),
            )
        )

    return make
