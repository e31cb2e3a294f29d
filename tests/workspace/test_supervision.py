"""A run's record tells the truth when what surrounds the run goes wrong."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import nbprod
from nbprod.core.errors import RunExistsError
from nbprod.core.events import Event
from nbprod.workspace import Workspace

KEEPS = """\
# %%
import nbprod, numpy

nbprod.glue("many", numpy.arange(20_000.0))
nbprod.glue("answer", 42)
"""


@pytest.fixture
def ws(workspace_folder: Path) -> Workspace:
    (workspace_folder / "templates" / "keeps.py").write_text(KEEPS)
    return nbprod.open(workspace_folder)


def test_a_callback_that_raises_is_called_no_more_and_ends_nothing(
    ws: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def watch(event: Event) -> None:
        seen.append(event.type)
        raise BrokenPipeError(32, "Broken pipe")

    run = ws.run("keeps", progress=watch)

    assert (run.status, run.reason) == ("succeeded", "Every cell finished.")
    assert run.scraps["answer"] == 42
    assert len(seen) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "progress is shown no further: BrokenPipeError: [Errno 32] Broken pipe"
    ]


def test_a_run_whose_files_cannot_be_kept_has_failed_at_once(workspace_folder: Path) -> None:
    (workspace_folder / "templates" / "keeps.py").write_text(KEEPS)
    settings = workspace_folder / "nbprod.toml"
    settings.write_text(settings.read_text() + 'artifacts = "file:///proc/nowhere"\n')

    run = nbprod.open(workspace_folder).run("keeps")

    assert (run.status, run.reason) == (
        "failed",
        "Every cell finished. The files it left could not be kept: "
        "[Errno 2] No such file or directory: '/proc/nowhere'",
    )
    assert run.error is not None
    assert (run.error.type, run.error.message) == ("FileNotFound", run.reason)
    assert run.scraps["answer"] == 42
    assert run.notebook.is_file()
    assert run.run.notebook_digest


def test_an_id_that_is_taken_is_drawn_again(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ws.run("keeps")
    monkeypatch.setattr("nbprod.workspace.workspace.new_id", lambda now: first.id)

    second = ws.run("keeps")

    assert second.status == "succeeded"
    assert second.id != first.id
    assert second.id.rpartition("-")[0] == first.id.rpartition("-")[0]
    assert second.folder != first.folder
    with pytest.raises(RunExistsError) as raised:
        ws.store.runs.insert(replace(first.run, reason=""), owner="me", lease=timedelta(seconds=1))
    assert str(raised.value) == (
        f"Run {first.id} exists already.\n"
        "A new run needs an id of its own.\n"
        f"Nothing was changed. Look at the run: nbprod runs show {first.id}"
    )
