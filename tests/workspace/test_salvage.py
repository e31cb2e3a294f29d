"""What a lost run had done is saved once, whoever finds it."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import nbformat
import pytest

import nbprod
from nbprod.core.events import Event, EventType
from nbprod.core.ids import redrawn
from nbprod.core.runner import JOURNAL_FILE, NOTEBOOK_FILE
from nbprod.notebook.journal import read_events
from nbprod.runners import finish
from nbprod.workspace import RunRecord
from nbprod.workspace.background import wait

KEEPS = """\
# %%
import nbprod

print("shown")
nbprod.glue("answer", 42)
"""


@pytest.fixture
def lost(workspace_folder: Path) -> str:
    """The id of a run whose supervisor vanished after its first cell's outputs; nobody looked."""
    (workspace_folder / "templates" / "keeps.py").write_text(KEEPS)
    with nbprod.open(workspace_folder) as ws:
        whole = ws.run("keeps")
        wait()  # its journal is closed then
        name = redrawn(whole.id)
        run = replace(whole.run, id=name, folder=f".nbprod/runs/{name}/1")
        folder = shutil.copytree(whole.folder, ws.root / run.folder)
        (folder / NOTEBOOK_FILE).unlink()
        journal = folder / JOURNAL_FILE
        lines = journal.read_text().splitlines(keepends=True)
        (finished,) = (number for number, line in enumerate(lines) if "cell_finished" in line)
        journal.write_text("".join(lines[:finished]))
        ws.store.runs.insert(run, owner="me", lease=timedelta(seconds=-1))
        assert [lost.id for lost in ws.store.runs.expire()] == [name]
    return name


def test_two_who_find_it_at_once_save_it_once(
    workspace_folder: Path,
    lost: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    start, meeting = threading.Barrier(2), threading.Barrier(2)
    last_word = finish._last_word

    def seldom_alone(folder: Path) -> Event | None:
        found = last_word(folder)
        with suppress(threading.BrokenBarrierError):
            meeting.wait(1)
        return found

    def look(_: int) -> RunRecord:
        with nbprod.open(workspace_folder) as ws:
            assert ws.store.runs.get(lost).notebook_digest == ""
            start.wait(60)
            return ws.record(lost)

    monkeypatch.setattr(finish, "_last_word", seldom_alone)
    with ThreadPoolExecutor(2) as pool:
        records = list(pool.map(look, range(2)))

    run = nbprod.open(workspace_folder).record(lost)
    events = [event.type for event in read_events(run.folder / JOURNAL_FILE)]
    cells = nbformat.read(run.notebook, as_version=4).cells
    assert [record.run for record in records] == [run.run] * 2
    assert caplog.messages == []
    assert (run.status, run.scraps["answer"]) == ("lost", 42)
    assert events.count(EventType.RUN_FINISHED) == 1
    assert sha256(run.notebook.read_bytes()).hexdigest() == run.run.notebook_digest
    assert [cell.outputs[0].text for cell in cells if cell.cell_type == "code"] == ["shown\n"]
