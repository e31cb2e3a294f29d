"""One notebook, three ways: in a cold kernel, in one forked on demand, in a spare."""

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from textwrap import dedent
from typing import Any, Protocol

import nbformat
from jupyter_client import KernelManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from nbprod.kernels import client
from nbprod.kernels.process import ForkedProcess
from nbprod.kernels.provisioner import warm_spec
from nbprod.kernels.settings import find_settings

#: Seconds that anything here may take. Cold imports of torch take 16 on busy cores.
PATIENCE = 120
#: Seconds, twice those after which a cold kernel is terminated that stands still while it ends.
COLD_END = 20
#: How often a cold kernel is started that finds a port taken, or stands still at its end.
TRIES = 4
#: What nbclient adds to the command line of an IPython kernel, and what spares are started with.
MEMORY_HISTORY = ["--HistoryManager.hist_file=:memory:"]


class Way(StrEnum):
    COLD = "cold"
    FORKED = "forked"
    SPARE = "spare"


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """What is left of a notebook's execution, without what two cold ones would not share."""

    cells: Sequence[Sequence[Mapping[str, Any]]]  #: each cell's outputs
    counts: Sequence[int | None]  #: each cell's execution count
    widgets: Mapping[str, Any]
    died: bool  #: before its last cell was done
    code: int | None  #: the kernel's exit status, negative for a signal
    terminal: tuple[str, str]  #: what the process itself wrote, past the notebook
    files: Mapping[str, str]  #: the texts that it wrote into its folder
    seconds_to_end: float = field(compare=False)  #: from the last cell's end to the kernel's

    def text(self, cell: int, stream: str = "stdout") -> str:
        """Return what a cell wrote to one of its streams."""
        return "".join(out["text"] for out in self.cells[cell] if out.get("name") == stream)

    def facts(self, cell: int) -> Any:
        """Return what a cell printed as JSON."""
        errors = [out["evalue"] for out in self.cells[cell] if out["output_type"] == "error"]
        assert not errors, errors
        return json.loads(self.text(cell))

    def error(self, cell: int) -> tuple[str, str]:
        """Return the name and the words of what a cell raised."""
        found = [out for out in self.cells[cell] if out["output_type"] == "error"]
        return (found[0]["ename"], found[0]["evalue"]) if found else ("", "")

    def errors(self) -> list[tuple[str, str]]:
        """Return what its cells raised."""
        return [error for cell in range(len(self.cells)) if any(error := self.error(cell))]


class Same(Protocol):
    """Run cells cold and warm, compare all that is left of both, and return it."""

    def __call__(
        self, cells: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Executed: ...


@dataclass(frozen=True, slots=True)
class Kernels:
    """Runs notebooks in kernels with these variables, each in a new folder of the same name."""

    environment: Mapping[str, str]
    folder: Path
    python: str = sys.executable

    def manager(self, way: Way, kind: Any = KernelManager) -> Any:
        """Return a manager whose kernel will come that way, of a class of jupyter_client's."""
        manager = kind(kernel_name="python3")
        manager.kernel_spec.argv[0] = self.python
        if way is not Way.COLD:
            manager._kernel_spec = warm_spec(manager.kernel_spec)
        if way is Way.FORKED:
            manager.stdin_port = 1  # whoever wants certain ports gets no spare
        return manager

    def settle(self, way: Way, more: Mapping[str, str] | None = None) -> None:
        """Wait until there can be a kernel of that way."""
        if way is Way.COLD:
            return
        variables = {**self.environment, **(more or {})}
        settings = find_settings(self.folder.parent, variables)
        deadline = time.monotonic() + PATIENCE
        while True:
            facts = client.warm_up(
                role="kernel", settings=settings, environment=variables, python=self.python
            )
            if way is Way.FORKED or facts["spares"]["count"]:
                return
            assert time.monotonic() < deadline, facts
            time.sleep(0.05)  # a zygote says that a spare is ready to nobody who does not ask

    def execute(
        self, cells: Sequence[str], way: Way | None, more: Mapping[str, str] | None = None
    ) -> Executed:
        """Run cells through nbclient and return what is left; None: in whatever kernel comes."""
        if way is not None:
            self.settle(way, more)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        variables = {**self.environment, **(more or {})}
        nb = notebook(cells)
        runner = Client(nb, self, way)
        died = False
        logs = [self.folder.with_suffix(name) for name in (".out", ".err")]
        with logs[0].open("wb") as out, logs[1].open("wb") as err:
            try:
                runner.execute(cwd=str(self.folder), env=variables, stdout=out, stderr=err)
            except DeadKernelError:
                died = True
        code = runner.process.wait(timeout=PATIENCE)
        ended = time.monotonic()
        plain = Plain(pid=runner.process.pid)
        return Executed(
            cells=[
                [plain(out, source=cell.source) for out in merged(cell.outputs)]
                for cell in nb.cells
            ],
            counts=[cell.execution_count for cell in nb.cells],
            widgets=plain(nb.metadata.get("widgets", {})),
            died=died,
            code=code,
            terminal=(plain(logs[0].read_text()), plain(logs[1].read_text())),
            files={path.name: path.read_text() for path in sorted(self.folder.glob("*.txt"))},
            seconds_to_end=ended - runner.last_cell,
        )


class Client(NotebookClient):
    """nbclient itself, but for the way its kernel comes."""

    def __init__(self, nb: Any, kernels: Kernels, way: Way | None) -> None:
        super().__init__(
            nb,
            kernel_name="python3",
            kernel_manager_class=AsyncKernelManager,
            allow_errors=True,
            timeout=PATIENCE,
            startup_timeout=PATIENCE,
            record_timing=False,
        )
        self.process: Any = None
        self.last_cell = 0.0
        self.on_notebook_complete = self._note_end
        self._kernels = kernels
        self._way = way

    def create_kernel_manager(self) -> Any:
        self.km = self._kernels.manager(self._way or Way.SPARE, AsyncKernelManager)
        return self.km

    async def async_start_new_kernel(self, **options: Any) -> None:
        await super().async_start_new_kernel(**options)
        manager: Any = self.km
        self.process = manager.provisioner.process
        assert self._way in (None, way_of(manager)), manager.provisioner.why_cold
        # Ending takes its time on busy cores; how long is not what is compared here.
        manager.shutdown_wait_time = COLD_END if self._way is Way.COLD else PATIENCE

    def _note_end(self, **_: Any) -> None:
        self.last_cell = time.monotonic()


def way_of(manager: Any) -> Way:
    """Return where a manager's kernel came from."""
    process = manager.provisioner.process
    if not isinstance(process, ForkedProcess):
        return Way.COLD
    return Way.SPARE if process.is_spare else Way.FORKED


def reference(kernels: Kernels, cells: Sequence[str], more: Mapping[str, str] | None) -> Executed:
    """Return what a cold kernel leaves that starts and ends as it should.

    Of cold ones one in 30 stands still when it is asked to end, and is terminated; few abort then,
    or close a socket that their heartbeat still uses; and one that finds one of its ports taken
    dies as it starts.
    """
    for _ in range(TRIES):
        with suppress(RuntimeError):
            executed = kernels.execute(cells, Way.COLD, more)
            is_ended = executed.code not in (-signal.SIGTERM, -signal.SIGABRT)
            is_quiet = "Exception in thread Heartbeat" not in executed.terminal[1]
            if executed.died or (is_ended and is_quiet):
                return executed
    raise AssertionError("No cold kernel started and ended as it should.")


def notebook(cells: Sequence[str]) -> Any:
    """Return a notebook of these code cells."""
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(dedent(cell).strip("\n")) for cell in cells]
    )


def differences(cold: Executed, warm: Executed, cell: int) -> dict[Any, Any]:
    """Return what a cell left in a cold kernel and not in a warm one, and the other way round."""
    expected, found = cold.cells[cell], warm.cells[cell]
    if expected == found:
        return {}
    try:
        expected, found = cold.facts(cell), warm.facts(cell)
        names = [name for name in {*expected, *found} if expected.get(name) != found.get(name)]
        return {name: (expected.get(name), found.get(name)) for name in names}
    except (AssertionError, AttributeError, ValueError):
        return {"cold": expected, "warm": found}


def merged(outputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join each stream's pieces between two other outputs, stderr first.

    Where they are cut and which stream is sent first is a matter of time: each has a timer.
    """
    found: list[dict[str, Any]] = []
    streams: dict[str, dict[str, Any]] = {}
    for output in outputs:
        copy = json.loads(json.dumps(output))
        if "name" not in copy:
            found += [streams[name] for name in sorted(streams)]
            streams.clear()
            found.append(copy)
        elif copy["name"] in streams:
            streams[copy["name"]]["text"] += copy["text"]
        else:
            streams[copy["name"]] = copy
    return found + [streams[name] for name in sorted(streams)]


class Plain:
    """Take away what differs between two cold kernels: pids, addresses, names of widgets, times."""

    def __init__(self, *, pid: int) -> None:
        self._pid = pid
        self._models: dict[str, str] = {}

    def __call__(self, value: Any, *, source: str = "") -> Any:
        text = json.dumps(value)
        text = text.replace(f"ipykernel_{self._pid}/", "ipykernel_PID/")
        text = re.sub(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", self._model, text)
        text = re.sub(r"0x[0-9a-f]{6,}", "ADDRESS", text)
        if "%" in source and "time" in source:
            text = re.sub(
                r"[0-9.]+(?:e[+-]?[0-9]+)? (ns|\\u00b5s|\\u03bcs|us|ms|s)\b", "TIME", text
            )
        # What a kernel says to whoever started it; a spare said it before, in its zygote's log.
        said = r"\[IPKernelApp\] WARNING \| Kernel is running over TCP[^\n]*?\\n"
        text = re.sub(said, "", text)
        # speeds and times of progress bars: tqdm's, also as its widget shows them, and Trainer's
        text = re.sub(r"[0-9:]+(<|&lt;)[0-9:?]+,( |\\u2007)+[0-9.?]+(it/s|s/it)", "SPEED", text)
        text = re.sub(r"\[[0-9]+/[0-9]+ [0-9:]+(?= < |,)", "STEPS", text)
        return json.loads(text)

    def _model(self, found: re.Match[str]) -> str:
        return self._models.setdefault(found[0], f"MODEL{len(self._models)}")


@contextmanager
def started(
    kernels: Kernels,
    way: Way,
    more: Mapping[str, str] | None = None,
    *,
    may_be_spare: bool = False,
) -> Iterator[Any]:
    """Start a kernel and a client of it, for a test to interrupt, restart or kill; end both.

    Yields the manager and the client.
    """
    kernels.settle(way, more)
    kernels.folder.mkdir(parents=True, exist_ok=True)
    manager = kernels.manager(Way.SPARE if may_be_spare else way)
    manager.start_kernel(
        env={**kernels.environment, **(more or {})},
        cwd=str(kernels.folder),
        extra_arguments=MEMORY_HISTORY,
    )
    kernel = manager.client()
    try:
        assert way_of(manager) is way, manager.provisioner.why_cold
        kernel.start_channels()
        kernel.wait_for_ready(timeout=PATIENCE)
        yield manager, kernel
    finally:
        kernel.stop_channels()
        if manager.has_kernel:
            manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def run(kernel: Any, code: str) -> str:
    """Run code and return what it printed, or the name of what it raised."""
    printed: list[str] = []
    while True:
        reply = kernel.execute_interactive(
            dedent(code),
            timeout=PATIENCE,
            allow_stdin=False,
            output_hook=lambda message: printed.append(message["content"].get("text", "")),
        )
        if reply["content"]["status"] != "aborted":  # it still clears up after an error
            break
    return reply["content"].get("ename") or "".join(printed)


def is_alive(pid: int) -> bool:
    """Say whether a process exists that is not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def seconds_until_gone(pid: int, *, limit: float) -> float:
    """Wait for a process to end; return how long that took.

    Raises:
        TimeoutError: it is still there after `limit` seconds.
    """
    import select

    began = time.monotonic()
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0.0
    try:
        if not select.select([handle], [], [], limit)[0]:
            raise TimeoutError(f"process {pid} is still there after {limit} s")
    finally:
        os.close(handle)
    return time.monotonic() - began
