"""Who is measured: each executes a notebook its own way and says how long that took."""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from warm.cases import Case, difference, printed_in

ROOT = Path(__file__).parents[3]
BINARIES = Path(sys.executable).parent
PLOOMBER = ROOT / ".venv-ploomber" / "bin" / "ploomber-engine"
WORKER = Path(__file__).with_name("worker.py")
#: Seconds that one execution may take. The slowest one takes half a minute on two quiet cores.
PATIENCE = 600


class ContenderError(Exception):
    """A contender could not execute a notebook, or did not put out what the notebook prints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution of one notebook by one contender."""

    seconds: float
    written: int | None  #: bytes given to write(); None where whoever wrote is gone
    size: int  #: bytes of the executed notebook; 0 where there is none
    answer: Mapping[str, Any] = field(default_factory=dict)  #: of an in-process contender


class Contender(Protocol):
    """Executes notebooks."""

    name: str
    label: str  #: as the table and the chart have it

    def run(self, case: Case, folder: Path) -> Execution:
        """Execute `case`, written into `folder` beforehand; raise ContenderError if it cannot."""

    def close(self) -> None:
        """End what was started."""


class Command:
    """A contender that is a command, a new process each time."""

    def __init__(
        self,
        name: str,
        label: str,
        *words: str | Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.label = name, label
        self._words = words
        self._environment = {**os.environ, **(environment or {})}

    def run(self, case: Case, folder: Path) -> Execution:
        output = folder / f"{case.name}.{self.name}.ipynb"
        places = {
            "{notebook}": folder / f"{case.name}.ipynb",
            "{script}": folder / f"{case.name}.py",
            "{output}": output,
        }
        command = [str(places.get(str(word), word)) for word in self._words]
        printed = folder / f"{case.name}.{self.name}.txt"
        writing = Writing(self._watched())
        with printed.open("wb") as stdout, printed.with_suffix(".log").open("wb") as stderr:
            begin = time.perf_counter()
            done = subprocess.run(
                command,
                cwd=folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                timeout=PATIENCE,
                check=False,
            )
            seconds = time.perf_counter() - begin
        self._settle()
        written = writing.since()
        if done.returncode:
            log = printed.with_suffix(".log").read_text()[-2000:]
            raise ContenderError(f"{' '.join(command)} ended with {done.returncode}:\n{log}")
        return Execution(
            seconds=seconds, written=written, size=self._size(case, output=output, printed=printed)
        )

    def _watched(self) -> Sequence[int]:
        """Return the processes whose writing is counted: here what we start and reap."""
        return [os.getpid()]

    def _settle(self) -> None:
        """Wait for what the command left to do behind it: nothing."""

    def _size(self, case: Case, *, output: Path, printed: Path) -> int:
        """Check what was executed, and return the size of the notebook; 0 where there is none."""
        check(case, output, by=self.label)
        size = output.stat().st_size
        output.unlink()
        return size

    def close(self) -> None:
        """Leave nothing: there is nothing."""


class Script(Command):
    """The floor: the notebook's code as a script, which leaves no notebook."""

    def _size(self, case: Case, *, output: Path, printed: Path) -> int:
        if printed.read_text() != "".join(case.printed):
            raise ContenderError(f"{self.label}, {case.title}: it printed something else")
        return 0


class Worker:
    """A process of this folder's `worker.py`, spoken to in JSON lines."""

    def __init__(self, *arguments: str | Path, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, WORKER, *arguments],
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self.pid = self._process.pid
        try:
            self._read(60)
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **asked: object) -> Mapping[str, Any]:
        """Have something done and return the answer.

        Raises:
            ContenderError: it raised, it died, or it took longer than PATIENCE.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **asked}).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._read(PATIENCE)
        if "raised" in answer:
            raise ContenderError(f"{answer['raised']}\n{self._said()}")
        return answer

    def _read(self, seconds: float) -> Mapping[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            # One line is asked for at a time, so nothing of it waits in a buffer of ours.
            selector.register(stdout, selectors.EVENT_READ)
            line = stdout.readline() if selector.select(seconds) else None
        if not line:
            how = "took too long" if line is None else "is gone"
            raise ContenderError(f"The worker {self.pid} {how}.\n{self._said()}")
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    def _said(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def close(self) -> None:
        """End the process as its end of input does, or by force."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


class InProcess:
    """A contender that is a call in a process that stays open."""

    def __init__(
        self,
        name: str,
        label: str,
        worker: Worker,
        *,
        kernel: str = "python3",
        cwd: Path | None = None,
    ) -> None:
        self.name, self.label = name, label
        self.worker = worker
        self._kernel = kernel
        self._cwd = cwd

    def run(self, case: Case, folder: Path) -> Execution:
        output = folder / f"{case.name}.{self.name}.ipynb"
        writing = Writing([self.worker.pid])
        answer = self.worker.ask(
            "run",
            notebook=str(folder / f"{case.name}.ipynb"),
            output=str(output),
            cwd=str(self._cwd or folder),
            kernel=self._kernel,
        )
        written = writing.since()
        check(case, output, by=self.label)
        size = output.stat().st_size
        output.unlink()
        return Execution(seconds=answer["seconds"], written=written, size=size, answer=answer)

    def close(self) -> None:
        self.worker.close()


def check(case: Case, notebook: Path, *, by: str) -> None:
    """Raise ContenderError where an executed notebook does not hold what its cells print."""
    try:
        found = difference(case, printed_in(notebook))
    except (OSError, ValueError) as error:
        found = str(error)
    if found:
        raise ContenderError(f"{by}, {case.title}: {found}")


class Writing:
    """Counts the bytes that processes, and their children once reaped, give to write().

    Sockets are written to in other ways and do not count; what reaches the disk is less or more
    as the file system likes.
    """

    def __init__(self, processes: Sequence[int]) -> None:
        self._before = {pid: _written(pid) for pid in processes}

    def since(self) -> int | None:
        """Return how many it were; None where one of the processes is gone."""
        now = {pid: _written(pid) for pid in self._before}
        if None in self._before.values() or None in now.values():
            return None
        return sum(it for it in now.values() if it) - sum(it for it in self._before.values() if it)


def _written(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return None
    return int(dict(line.split(": ") for line in lines)["wchar"])


def peers(folder: Path) -> Iterator[Contender]:
    """Yield everyone but nbprod; workers keep their logs in `folder`."""
    files = ("{notebook}", "{output}")
    yield Script("script", "python script.py", sys.executable, "{script}")
    yield Command("papermill", "papermill (command)", BINARIES / "papermill", *files)
    for name, label in (("papermill", "papermill-in-process"), ("nbclient", "nbclient")):
        worker = Worker(name, environment={}, log=folder / f"{name}.log")
        yield InProcess(label, f"{name} (in-process)", worker)
    yield Command(
        "nbconvert",
        "jupyter nbconvert --execute",
        *(BINARIES / "jupyter", "nbconvert", "--to", "notebook", "--execute"),
        *("{notebook}", "--output", "{output}"),
    )
    if PLOOMBER.exists():
        # Its telemetry would ask the network; nothing here may.
        quiet = {"PLOOMBER_STATS_ENABLED": "false", "PLOOMBER_VERSION_CHECK_DISABLED": "true"}
        yield Command("ploomber", "ploomber-engine", PLOOMBER, *files, environment=quiet)
