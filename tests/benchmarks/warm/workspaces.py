"""nbprod as a contender: open workspaces, each with zygotes and a runtime folder of its own."""

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from warm.cases import Case
from warm.contenders import (
    BINARIES,
    Command,
    ContenderError,
    Execution,
    Worker,
    Writing,
    check,
)
from warm.processes import started_with, tree, zombies

#: Caps off, as for every contender: nobody else has any.
SETTINGS = """\
[workspace]
name = "bench"

[runs]
outputs = {{max_bytes = "none", max_count = "none"}}

[kernels]
spares = {spares}
{preload}
"""
#: Seconds that zygotes may take to import, and spares to be there again.
PATIENCE = 120


class OpenWorkspace:
    """A workspace in a folder of its own, open in one process or several."""

    def __init__(
        self, folder: Path, *, spares: int, preload: Sequence[str] | None = None, workers: int = 1
    ) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "templates").mkdir()
        imports = "" if preload is None else f"preload = {json.dumps(list(preload))}"
        settings = SETTINGS.format(spares=spares, preload=imports)
        (folder / "nbprod.toml").write_text(settings)
        # A socket's path has 107 bytes at most, so it is not in a folder of the benchmark's.
        self.runtime = Path(tempfile.mkdtemp(prefix="nbprod-bench-"))
        self.environment = {"NBPROD_RUNTIME_DIR": str(self.runtime), "NBPROD_WARM": "on"}
        log = folder / "worker.log"
        self.workers: list[Worker] = []
        try:
            for _ in range(workers):
                self.workers.append(
                    Worker("workspace", folder, environment=self.environment, log=log)
                )
        except BaseException:
            self.close()
            raise

    @property
    def worker(self) -> Worker:
        """Return the process it is open in; the first of several."""
        return self.workers[0]

    def warm_up(self) -> None:
        """Have both zygotes imported, and the spares forked."""
        self.worker.ask("warm")
        self.settle()

    def states(self) -> Sequence[Mapping[str, Any]]:
        """Return what each zygote says of itself."""
        return self.worker.ask("states")["states"]  # type: ignore[no-any-return]

    def zygotes(self) -> dict[str, int]:
        """Return the pids of the zygotes by role."""
        return {facts["role"]: facts["pid"] for facts in self.states() if "pid" in facts}

    def settle(self, seconds: float = PATIENCE) -> None:
        """Wait until the runs before are cleaned up behind and the spares are there again.

        What one contender leaves to do in the background would be measured as another's time. A
        zygote that left, for somebody edits nbprod meanwhile, is replaced.

        Raises:
            ContenderError: it takes longer than `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            states = self.states()
            if {facts.get("role") for facts in states} != {"kernel", "command"}:
                self.worker.ask("warm")
            elif all(map(_is_settled, states)) and not zombies(tree(_pids(states))):
                return
            if time.monotonic() > deadline:
                raise ContenderError(f"Not settled after {seconds:.0f} s: {states}")
            time.sleep(0.02)

    def stop(self) -> list[int]:
        """Stop zygotes and workers; return the pids of what is still there after a second."""
        self.worker.ask("stop")
        for worker in self.workers:
            worker.close()
        deadline = time.monotonic() + 1
        while (left := started_with(self.runtime.name)) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left

    def close(self) -> None:
        """Leave nothing running and no runtime folder."""
        for worker in self.workers:
            worker.close()
        for pid in started_with(self.runtime.name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.runtime, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def _pids(states: Sequence[Mapping[str, Any]]) -> list[int]:
    return [facts["pid"] for facts in states if "pid" in facts]


def _is_settled(facts: Mapping[str, Any]) -> bool:
    spares = facts.get("spares") or {}
    return not facts.get("kernels") and spares.get("count", 0) >= spares.get("wanted", 0)


class InWorkspace:
    """`ws.run` of an open workspace."""

    def __init__(self, name: str, label: str, workspace: OpenWorkspace) -> None:
        self.name, self.label = name, label
        self.workspace = workspace

    def run(self, case: Case, folder: Path, *, profile: bool = False) -> Execution:
        workspace = self.workspace
        notebook = case.write(workspace.folder)
        writing = Writing([workspace.worker.pid, *workspace.zygotes().values()])
        answer = workspace.worker.ask("run", notebook=str(notebook), profile=profile)
        # What is written behind the run's back is written as well.
        workspace.settle()
        written = writing.since()
        if answer["status"] != "succeeded":
            raise ContenderError(f"{self.label}, {case.title}: {answer['reason']}")
        output = Path(answer["output"])
        check(case, output, by=self.label)
        size = output.stat().st_size
        return Execution(seconds=answer["seconds"], written=written, size=size, answer=answer)

    def close(self) -> None:
        """Leave the workspace to whoever opened it."""


class RunCommand(Command):
    """`nbprod run`, a new process each time, its zygotes there."""

    def __init__(self, name: str, label: str, workspace: OpenWorkspace) -> None:
        words = (BINARIES / "nbprod", "run", "{notebook}")
        super().__init__(name, label, *words, environment=workspace.environment)
        self._workspace = workspace

    def run(self, case: Case, folder: Path) -> Execution:
        case.write(self._workspace.folder)
        return super().run(case, self._workspace.folder)

    def _watched(self) -> Sequence[int]:
        return [os.getpid(), *self._workspace.zygotes().values()]

    def _settle(self) -> None:
        self._workspace.settle()

    def _size(self, case: Case, *, output: Path, printed: Path) -> int:
        run = printed.read_text().split()[0]
        (notebook,) = (self._workspace.folder / ".nbprod" / "runs" / run).glob("*/executed.ipynb")
        check(case, notebook, by=self.label)
        return notebook.stat().st_size
