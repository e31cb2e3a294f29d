"""Notebooks that ask for other kernels than Python's, or for one that is not there."""

import json
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

import nbprod
from nbprod.core.errors import (
    ForeignParametersError,
    JobFileError,
    KernelNotInstalledError,
    UnknownParameterError,
)
from nbprod.jobs import find_job, run_job
from nbprod.workspace import Workspace

#: A real kernel of another language in a few lines: ipykernel's base, and a shell.
BASH = """\
import subprocess
from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel

class Bash(Kernel):
    implementation = banner = "bash"
    implementation_version = "1"
    language_info = {"name": "bash", "mimetype": "text/x-sh", "file_extension": ".sh"}
    said = ""

    def do_execute(self, code, silent, store_history=True, user_expressions=None, **_):
        self.said += code + "\\n"
        done = subprocess.run(["bash", "-c", self.said], capture_output=True, text=True)
        if not silent:
            content = {"name": "stdout", "text": done.stdout}
            self.send_response(self.iopub_socket, "stream", content)
        return {"status": "ok", "execution_count": self.execution_count,
                "payload": [], "user_expressions": {}}

IPKernelApp.launch_instance(kernel_class=Bash)
"""


@pytest.fixture
def ws(workspace_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    spec = tmp_path / "share" / "kernels" / "shell"
    spec.mkdir(parents=True)
    (spec / "shell.py").write_text(BASH)
    argv = [sys.executable, str(spec / "shell.py"), "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "Shell", "language": "bash"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    return nbprod.open(workspace_folder)


def write(path: Path, *cells: str, kernel: str, language: str) -> None:
    made: list[Any] = [nbformat.v4.new_code_cell(cell) for cell in cells]
    made[0].metadata["tags"] = ["parameters"]
    spec = {"kernelspec": {"name": kernel, "display_name": kernel, "language": language}}
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=spec), path)


def test_a_notebook_in_another_language_gets_its_parameters(ws: Workspace) -> None:
    path = ws.root / "notebooks" / "hello.ipynb"
    write(path, "who=nobody", 'echo "hello $who"', kernel="shell", language="bash")

    run = ws.run(path, parameters={"who": "wörld wide"})

    assert (run.status, run.reason) == ("succeeded", "Every cell finished.")
    executed = nbformat.read(run.notebook, as_version=4)
    assert executed.cells[1].source == "# Parameters\nwho='wörld wide'\n"
    assert executed.cells[2].outputs[0].text == "hello wörld wide\n"
    assert run.parameters == {"who": "wörld wide"}


@pytest.mark.parametrize(
    ("kernel", "language", "source"),
    [
        ("ir", "R", "# Parameters\nrows = 3\nfast = TRUE\n"),
        ("julia-1.10", "julia", "# Parameters\nrows = 3\nfast = true\n"),
    ],
)
def test_papermill_writes_what_it_can(
    ws: Workspace, kernel: str, language: str, source: str
) -> None:
    from nbprod.notebook.binding import Mode

    path = ws.root / "notebooks" / "other.ipynb"
    write(path, "rows <- 1", "rows", kernel=kernel, language=language)

    bound = ws.template(path).bind({"rows": "3", "fast": "true"}, mode=Mode.TEXT)

    assert bound.source == source
    assert bound.values == {"rows": 3, "fast": True}


def test_a_language_that_papermill_cannot_write(ws: Workspace) -> None:
    from nbprod.notebook.binding import Mode

    path = ws.root / "notebooks" / "other.ipynb"
    write(path, "(def rows 1)", kernel="lein", language="clojure")
    template = ws.template(path)

    assert template.bind({}, mode=Mode.STRICT).source == ""
    with pytest.raises(ForeignParametersError) as raised:
        template.bind({"rows": 3}, mode=Mode.STRICT)
    assert str(raised.value) == (
        f"{template.name} is in clojure, and parameters were given: rows.\n"
        "papermill, which would write them into it, does not know that language.\n"
        f"Run it with the values it holds: nbprod run {template.name}"
    )


def test_a_kernel_that_is_not_installed_starts_nothing(ws: Workspace) -> None:
    ghost, shiny = (ws.root / "notebooks" / name for name in ("ghost.ipynb", "shiny.ipynb"))
    write(ghost, "n = 1", "print(n)", kernel="conda-env-laptop-py", language="python")
    write(shiny, "n <- 1", kernel="ir", language="R")

    with pytest.raises(KernelNotInstalledError) as raised:
        ws.run(ghost)
    assert str(raised.value) == (
        f"{ghost} asks for the kernel 'conda-env-laptop-py', which is not installed here.\n"
        "Installed: python3, python3-warm, shell.\n"
        f"Run it in another of its language: nbprod run {ghost} --kernel python3"
    )
    with pytest.raises(KernelNotInstalledError) as raised:
        ws.run(shiny)
    assert str(raised.value) == (
        f"{shiny} asks for the kernel 'ir', which is not installed here.\n"
        "Installed: python3, python3-warm, shell.\n"
        "Install it, then look: jupyter kernelspec list"
    )
    assert len(ws.runs()) == 0

    run = ws.run(ghost, parameters={"n": 2}, kernel="python3")

    assert run.status == "succeeded"
    with pytest.raises(UnknownParameterError):
        ws.run(ghost, parameters={"m": 2}, kernel="python3")


def test_a_job_with_such_a_notebook_is_refused_before_its_first_step(ws: Workspace) -> None:
    write(ws.root / "templates" / "ghost.ipynb", "n = 1", kernel="laptop", language="python")
    (ws.root / "scheduler" / "nightly.yaml").write_text(
        "job: nightly\nsteps:\n  - {id: one, run: ghost}\n"
    )

    with pytest.raises(JobFileError) as raised:
        run_job(ws, find_job(ws.jobs_folder, "nightly"))

    assert str(raised.value) == (
        f"{ws.root}/scheduler/nightly.yaml, line 3: step 'one': "
        "ghost asks for the kernel 'laptop', which is not installed here.\n"
        "Installed: python3, python3-warm, shell.\n"
        "Correct it, then check it without running it: nbprod jobs run nightly --dry-run"
    )


def test_a_notebook_goes_by_one_name_wherever_it_is_run_from(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(ws.root / "notebooks" / "one.ipynb", "n = 1", kernel="python3", language="python")

    monkeypatch.chdir(ws.root / "notebooks")
    ws.run("one.ipynb")
    monkeypatch.chdir(ws.root)
    ws.run("notebooks/../notebooks/one.ipynb")

    assert [run.template for run in ws.runs()] == ["notebooks/one.ipynb"] * 2
