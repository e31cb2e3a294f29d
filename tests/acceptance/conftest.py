"""The real command, in processes of its own, in fresh workspaces."""

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

NBPROD = Path(sys.executable).with_name("nbprod")
PATIENCE = 60.0


#: What tests have started, until their end.
_started: "list[subprocess.Popen[str]]" = []


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Cli:
    """Runs `nbprod` in a folder."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: object, before: tuple[str, ...] = ()) -> Done:
        command = [*before, str(NBPROD), *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: object) -> str:
        """Return what a command that has to work printed on stdout."""
        done = self(*arguments)
        assert done.code == 0, f"{arguments}: {done.code}\n{done.out}{done.err}"
        return done.out

    def json(self, *arguments: object) -> Any:
        """Return what a command that has to work printed with `--json`."""
        return json.loads(self.ok(*arguments, "--json"))

    def start(self, *arguments: object, before: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
        """Start a command and return while it runs; the end of the test ends it."""
        process = subprocess.Popen(
            [*before, str(NBPROD), *map(str, arguments)],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _started.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NBPROD_")}
        kept.pop("MLFLOW_TRACKING_URI", None)
        return {**kept, "NO_COLOR": "1", "NBPROD_WARM": "off", **self.environment}


def make_workspace(folder: Path, *, settings: str = "", lease: float = 30.0) -> Cli:
    """Make a workspace as `nbprod init` does, without the process that init takes."""
    for name in ("templates", "notebooks", "scheduler"):
        (folder / name).mkdir(parents=True)
    text = f'[workspace]\nname = "team"\n\n[runs]\nlease_seconds = {lease}\n{settings}'
    (folder / "nbprod.toml").write_text(text, encoding="utf-8")
    return Cli(folder)


@pytest.fixture(autouse=True)
def _nothing_started_lives_on() -> Iterator[None]:
    """End what a test that failed has left running."""
    yield
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def team(tmp_path: Path) -> Cli:
    """The command in a fresh workspace."""
    return make_workspace(tmp_path / "team")


def write_notebook(path: Path, *cells: str, parameters: str = "", front_matter: str = "") -> Path:
    """Write a notebook of code cells, with a parameters cell and front matter if given."""
    made: list[Any] = []
    if front_matter:
        made.append(nbformat.v4.new_raw_cell(f"---\n{_clean(front_matter)}\n---"))
    if parameters:
        tags = {"tags": ["parameters"]}
        made.append(nbformat.v4.new_code_cell(_clean(parameters), metadata=tags))
    made += [nbformat.v4.new_code_cell(_clean(cell)) for cell in cells]
    for index, cell in enumerate(made):
        cell["id"] = f"cell-{index}"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=kernel), path)
    return path


def _clean(text: str) -> str:
    return textwrap.dedent(text).strip()


def wait_for(look: Callable[[], Any], what: str, *, seconds: float = PATIENCE) -> Any:
    """Return what `look` finds, as soon as it finds anything."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)  # what is waited for happens in another process, which cannot tell us
    raise AssertionError(f"waited {seconds:g} s in vain: {what}")


def processes_of(folder: Path) -> list[int]:
    """Return the processes that work below `folder`, by their command lines and environments."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
            is_over = process.status() == psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):
            continue
        is_ours = any(str(folder) in word for word in words)
        if is_ours and process.pid != os.getpid() and not is_over:
            found.append(process.pid)
    return found


def journal(workspace: Path) -> list[dict[str, Any]]:
    """Return the events of the newest run."""
    files = sorted(workspace.glob(".nbprod/runs/*/*/events.jsonl"))
    text = files[-1].read_text() if files else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def cells_started(workspace: Path) -> int:
    """Return how many cells of the newest run have begun."""
    return sum(event["type"] == "cell_started" for event in journal(workspace))
