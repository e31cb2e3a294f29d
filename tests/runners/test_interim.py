"""A run under way can be read, and that costs little; a notebook of it never lies."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from nbprod.core.events import Event, EventType
from nbprod.notebook.rendering import Rendering
from nbprod.runners.interim import FACTOR, FIRST, FREE, LARGE, Interim
from tests.runners.conftest import Make, notebook


class Run:
    """A run seen from its rendering: time passes as the test says."""

    def __init__(self, cells: int = 3, *, has_journal: bool = True) -> None:
        self.now = 0.0
        self.written: list[bytes] = []
        self.rendering = Rendering(notebook(*["x"] * cells))
        self.interim = Interim(
            self.rendering, self.written.append, has_journal=has_journal, clock=lambda: self.now
        )

    def event(self, kind: EventType, **fields: Any) -> None:
        self.rendering.apply(Event(type=kind, t=self.now, fields=fields))

    def print(self, text: str, cell: int = 0) -> None:
        output = {"output_type": "stream", "name": "stdout", "text": text}
        self.event(EventType.OUTPUT, cell=cell, output=output)

    def notebooks(self) -> list[nbformat.NotebookNode]:
        return [nbformat.reads(content.decode(), as_version=4) for content in self.written]


def test_it_is_written_ever_more_seldom() -> None:
    run, moments = Run(), []

    for second in range(3600):
        run.now = float(second)
        run.print(f"{second}\n")
        run.interim.tick()
        if len(run.written) > len(moments):
            moments.append(second)

    assert moments == [5, 20, 65, 200, 605, 1820]


def test_it_says_when_it_wants_to_be_asked_again() -> None:
    run = Run()

    assert run.interim.tick() == FIRST
    run.now = FIRST
    run.event(EventType.CELL_STARTED, cell=0)
    assert run.interim.tick() == FIRST * FACTOR


def test_nothing_new_is_not_written_again() -> None:
    run = Run()
    run.event(EventType.CELL_STARTED, cell=0)
    run.now = 10
    run.interim.tick()
    run.event(EventType.PROGRESS, cell=0, progress={"step": 1})

    run.now = 1000

    assert run.interim.tick() is None
    assert len(run.written) == 1


def test_a_notebook_under_way_says_what_is_so() -> None:
    run = Run()
    run.event(EventType.CELL_STARTED, cell=0)
    run.print("one\n")
    run.event(EventType.CELL_FINISHED, cell=0, status="ok", execution_count=1)
    run.event(EventType.CELL_STARTED, cell=1)
    run.print("two\n", cell=1)
    run.now = 10

    run.interim.tick()

    (shown,) = run.notebooks()
    nbformat.validate(shown)
    assert shown.metadata.nbprod == {"status": "running", "reason": ""}
    assert shown.metadata.papermill.exception is None
    assert [
        (cell.metadata.nbprod.status, cell.metadata.papermill.status) for cell in shown.cells
    ] == [
        ("ok", "completed"),
        ("running", "running"),
        ("not_run", "pending"),
    ]
    assert [[output.text for output in cell.outputs] for cell in shown.cells] == [
        ["one\n"],
        ["two\n"],
        [],
    ]


@pytest.mark.parametrize("megabytes", [1, 20])
@pytest.mark.parametrize("has_journal", [True, False])
def test_all_of_them_together_are_not_much(megabytes: int, *, has_journal: bool) -> None:
    run = Run(cells=100, has_journal=has_journal)

    for cell in range(100):
        run.event(EventType.CELL_STARTED, cell=cell)
        run.print("x" * megabytes * 10_000, cell=cell)
        run.event(EventType.CELL_FINISHED, cell=cell, status="ok")
        run.now += 60
        run.interim.tick()

    final = len(json.dumps(run.rendering.notebook()))
    assert len(run.written) >= 6
    assert sum(map(len, run.written)) <= (FREE if has_journal else max(FREE, 2 * final))


def test_what_is_large_is_left_out_where_the_journal_has_it() -> None:
    run = Run()
    run.print("x" * FREE)
    run.print("small\n", cell=1)
    run.now = 10

    run.interim.tick()

    (shown,) = run.notebooks()
    assert shown.cells[0].outputs[0].data["text/plain"] == (
        "An output of about 8.4 MB is shown here when the run has ended."
    )
    assert shown.cells[1].outputs[0].text == "small\n"
    assert len(run.written[0]) < LARGE


def test_without_a_journal_everything_is_there() -> None:
    run = Run(has_journal=False)
    run.print("x" * FREE)
    run.now = 10

    run.interim.tick()

    assert len(run.notebooks()[0].cells[0].outputs[0].text) == FREE


class CloudError(Exception):
    """What a client of somebody's storage raises is no OSError."""


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), CloudError("no bucket")])
def test_a_place_that_cannot_be_written_ends_no_run(error: Exception) -> None:
    run = Run()

    def fail(content: bytes) -> None:
        raise error

    interim = Interim(run.rendering, fail, has_journal=True, clock=lambda: run.now)
    run.event(EventType.CELL_STARTED, cell=0)
    run.now = 10

    assert interim.tick() is None
    run.now = 1000
    assert interim.tick() is None


def test_a_long_silent_cell_can_be_read_while_it_runs(attempt: Make) -> None:
    """Killed after that, the run's notebook is the journal's, not the one from meanwhile."""
    import os
    import signal
    import threading
    import time

    made = attempt("print('first')", "import time; print('second', flush=True); time.sleep(600)")
    path = made.request.folder / "executed.ipynb"
    seen: list[dict[str, Any]] = []

    def read_and_kill() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if path.exists():
                seen[:] = [json.loads(path.read_text())]
                if seen[0]["cells"][1]["outputs"]:
                    break
            time.sleep(0.05)  # another process writes it, and tells nobody
        os.kill(made.seen(EventType.RUN_STARTED)[0]["pid"], signal.SIGKILL)

    reader = threading.Thread(target=read_and_kill)
    reader.start()
    result = made.execute()
    reader.join()

    assert seen[0]["metadata"]["nbprod"]["status"] == "running"
    assert [cell["metadata"]["nbprod"]["status"] for cell in seen[0]["cells"]] == ["ok", "running"]
    assert seen[0]["cells"][1]["outputs"][0]["text"] == ["second\n"]
    assert result.notebook == path
    assert json.loads(path.read_text())["metadata"]["nbprod"]["status"] == "failed"
    assert [status for status, _ in made.statuses()] == ["ok", "interrupted"]
    assert Path(path).stat().st_mode & 0o777 == 0o444
