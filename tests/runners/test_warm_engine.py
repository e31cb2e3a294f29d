"""The engine takes forked kernels where it can, and nothing else changes."""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
import pytest

from nbprod.core.events import EventType
from nbprod.core.runner import JOURNAL_FILE
from nbprod.core.runs import RunStatus
from nbprod.kernels import client
from nbprod.notebook.journal import read_events
from nbprod.runners import kernel_run
from nbprod.runners.kernel import Kernel
from nbprod.runners.watch import Watch
from tests.runners.conftest import Attempt, Make, notebook


@pytest.fixture(scope="module")
def runtime() -> Iterator[Path]:
    """A folder of zygotes of these tests' own, that are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="nbprod-"))  # a socket's path has 107 bytes at most
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBPROD_RUNTIME_DIR", str(folder))
        patch.setenv("NBPROD_PRELOAD", "")
        patch.setenv("NBPROD_WARM", "wait")
        first = Kernel("python3")
        first.launch()  # and with it the zygote, which takes its time
        first.end(patience=5)
        patch.setenv("NBPROD_WARM", "off")
        yield folder
        client.stop()
    shutil.rmtree(folder, ignore_errors=True)  # zygotes clean up in it, too


@pytest.fixture
def warm(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBPROD_WARM", "wait")
    return runtime


def kernels(runtime: Path, kind: str = "kernel") -> list[dict[str, Any]]:
    lines = (runtime / "starts.jsonl").read_text().splitlines()
    return [start for start in map(json.loads, lines) if start["role"] == kind]


def kernel_end(made: Attempt) -> dict[str, Any]:
    *_, last = read_events(made.request.folder / JOURNAL_FILE)
    assert last.type is EventType.KERNEL_ENDED
    return last.fields


def test_an_attempts_kernel_is_forked_and_ends_gracefully(attempt: Make, warm: Path) -> None:
    left = warm / "left"
    made = attempt(f"import atexit; atexit.register(open, {str(left)!r}, 'w')\nprint('hello')")

    result = made.execute()

    assert result.status is RunStatus.SUCCEEDED
    assert made.text(0) == "hello\n"
    assert kernels(warm)[-1]["kind"] in ("spare", "forked")
    assert left.exists()
    end = kernel_end(made)
    assert (end["how"], end["code"]) == ("graceful", 0)


@pytest.mark.parametrize(
    ("code", "how", "status"),
    [
        ("import os; os._exit(3)", "exit status 3", 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV", -11),
    ],
)
@pytest.mark.usefixtures("warm")
def test_the_death_of_a_forked_kernel_is_explained(
    attempt: Make, code: str, how: str, status: int
) -> None:
    made = attempt("print('in')", code, "3")

    result = made.execute()

    assert result.reason == f"The kernel died ({how}) while cell 2 was running."
    assert [ours for ours, _ in made.statuses()] == ["ok", "error", "not_run"]
    assert kernel_end(made)["code"] == status


@pytest.mark.usefixtures("warm")
def test_a_forked_kernel_is_interrupted_at_the_runs_timeout(attempt: Make) -> None:
    made = attempt("import time; time.sleep(600)", "2", timeout=timedelta(seconds=10))

    result = made.execute()

    assert result.error is not None
    assert result.error.type == "TimedOut"
    assert "KeyboardInterrupt" in made.text(0)
    assert [ours for ours, _ in made.statuses()] == ["interrupted", "not_run"]


def test_plain_papermill_gets_a_forked_kernel_too(warm: Path, tmp_path: Path) -> None:
    source = notebook("import os; print(os.getcwd())")
    source.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(source, tmp_path / "in.ipynb")
    (tmp_path / "there").mkdir()
    before = len(kernels(warm))

    executed = papermill.execute_notebook(
        tmp_path / "in.ipynb",
        tmp_path / "out.ipynb",
        engine_name="nbprod",
        progress_bar=False,
        cwd=tmp_path / "there",
    )

    assert executed.cells[0].outputs[0].text == f"{tmp_path / 'there'}\n"
    new = kernels(warm)[before:]
    assert [start["owner"].split()[-1] for start in new] == [str(os.getpid())]
    assert new[0]["kind"] in ("spare", "forked")


def test_switched_off_the_kernel_is_a_cold_one(
    attempt: Make, warm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(kernels(warm))
    monkeypatch.setenv("NBPROD_WARM", "off")

    result = attempt("1").execute()

    assert result.status is RunStatus.SUCCEEDED
    assert len(kernels(warm)) == before


class Frozen(Kernel):
    """A kernel whose process stands still from its start on, if it is the first."""

    made = 0

    def launch(self) -> None:
        super().launch()
        Frozen.made += 1
        if Frozen.made == 1:
            assert self.pid is not None
            os.kill(self.pid, signal.SIGSTOP)


@pytest.mark.usefixtures("warm")
def test_a_forked_kernel_that_does_not_answer_is_given_up_for_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernel_run, "WARM_START", 2.0)
    monkeypatch.setattr(Frozen, "made", 0)
    pids: list[int] = []

    class Noted(Watch):
        @property
        def kernel(self) -> int | None:
            return pids[-1] if pids else None

        @kernel.setter
        def kernel(self, pid: int | None) -> None:
            pids.extend([] if pid is None else [pid])

    run = kernel_run.KernelRun(
        notebook("print('hello')"),
        kernel_name="python3",
        note=lambda event: None,
        watch=Noted(),
        start_timeout=60,
        started={},
        kernel=Frozen,
    )

    with caplog.at_level("WARNING", logger="nbprod.runners.kernel_run"):
        status, reason, _ = run.execute()
    run.end_kernel()

    assert (status, reason) == (RunStatus.SUCCEEDED, "Every cell finished.")
    assert caplog.messages == ["the forked kernel did not answer; another one is started"]
    assert len(pids) == 2
    with suppress(psutil.NoSuchProcess):
        assert psutil.Process(pids[0]).status() == psutil.STATUS_ZOMBIE
