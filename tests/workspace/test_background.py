"""A run has its result before its kernel has ended; nothing of it is left behind all the same."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest

import nbprod
from nbprod.runners.processes import members
from nbprod.workspace import Workspace, background
from nbprod.workspace.background import go_on, is_idle, wait

#: Its kernel ends when it is let, and notes that its handler ran to the end.
LINGERS = """\
import atexit, os, time
import nbprod
def last():
    while not nbprod.path("go").exists():
        time.sleep(0.01)
    nbprod.path("ended").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "unset"))
atexit.register(last)
"""
GPU = json.dumps([{"uuid": "GPU-aaaa", "name": "NVIDIA H100", "memory_bytes": 85 * 10**9}])


@pytest.fixture
def ws(workspace_folder: Path) -> Workspace:
    notebook = nbformat.v4.new_notebook()
    notebook.cells.append(nbformat.v4.new_code_cell(LINGERS))
    nbformat.write(notebook, workspace_folder / "templates" / "lingers.ipynb")
    return nbprod.open(workspace_folder)


def test_a_run_is_over_before_its_kernel_is(ws: Workspace) -> None:
    run = ws.run("lingers")

    before = (run.status, (ws.root / "ended").exists(), bool(members(run.folder)), is_idle())
    (ws.root / "go").touch()
    ws.close()

    assert before == ("succeeded", False, True, False)
    assert (ws.root / "ended").exists()
    assert members(run.folder) == []
    assert is_idle()
    last = json.loads((run.folder / "events.jsonl").read_text().splitlines()[-1])
    assert (last["type"], last["how"]) == ("kernel_ended", "graceful")


def test_a_gpu_is_lent_again_when_the_kernel_before_has_ended(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBPROD_GPU_INVENTORY", GPU)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    first = ws.run("lingers")
    threading.Timer(0.5, (ws.root / "go").touch).start()

    second = ws.run("lingers")
    ws.close()

    devices = ("NVIDIA H100 (GPU-aaaa)",)
    assert ws.record(first.id).lineage.devices == devices
    assert ws.record(second.id).lineage.devices == devices
    with ws.store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM gpu_leases").scalar() == 0


def test_a_run_that_waits_for_a_gpu_keeps_its_lease(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBPROD_GPU_INVENTORY", GPU)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    settings = ws.root / "nbprod.toml"
    settings.write_text(settings.read_text() + "[runs]\nlease_seconds = 2\n")
    ws = nbprod.open(ws.root)
    ws.run("lingers")
    threading.Timer(4, (ws.root / "go").touch).start()

    second = ws.run("lingers")
    ws.close()

    assert (second.status, second.reason) == ("succeeded", "Every cell finished.")
    assert ws.record(second.id).lineage.devices == ("NVIDIA H100 (GPU-aaaa)",)


def test_an_interpreter_does_not_exit_before_kernels_have_ended(ws: Workspace) -> None:
    code = "import nbprod, sys; print(nbprod.open(sys.argv[1]).run('lingers').folder, flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(ws.root)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)

    (ws.root / "go").touch()

    assert process.wait(timeout=60) == 0
    process.stdout.close()
    assert (ws.root / "ended").read_text() == ""
    assert members(folder) == []


def test_a_supervisor_killed_meanwhile_leaves_no_process_and_a_run_that_succeeded(
    ws: Workspace,
) -> None:
    code = "import nbprod, sys; print(nbprod.open(sys.argv[1]).run('lingers').id, flush=True)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(ws.root)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    run = ws.record(process.stdout.readline().strip())

    process.kill()
    process.communicate(timeout=60)

    deadline = threading.Event()
    for _ in range(600):
        if not members(run.folder):
            break
        deadline.wait(0.05)
    assert members(run.folder) == []
    assert ws.record(run.id).status == "succeeded"
    assert not (ws.root / "ended").exists()


def test_what_fails_in_the_background_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    go_on("the end of run 7", fail)
    wait()

    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["the end of run 7: OSError: [Errno 28] No space left on device"]
    assert is_idle()


def test_nobody_waits_for_a_thread_that_has_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    is_about_to, has_waited, errors = threading.Event(), threading.Event(), []

    class Slow(threading.Thread):
        def start(self) -> None:
            is_about_to.set()
            has_waited.wait(0.5)
            super().start()

    def watch() -> None:
        is_about_to.wait()
        try:
            wait()
        except RuntimeError as error:
            errors.append(error)
        has_waited.set()

    waiting = threading.Thread(target=watch)
    waiting.start()
    monkeypatch.setattr(background.threading, "Thread", Slow)

    go_on("the end of run 7", lambda: None)
    waiting.join()

    assert errors == []
    wait()
    assert is_idle()
