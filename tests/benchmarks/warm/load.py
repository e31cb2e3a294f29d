"""Sustained load: runs that import torch, transformers and pandas, one after another, for minutes.

Each glues scraps that are read back from the store. Beside them, every second, what the zygotes and
the open workspaces hold is looked at: nothing may grow with the number of runs.
"""

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from figures import Figure

from warm.cases import HEAVY, notebook_of
from warm.contenders import ContenderError, Worker
from warm.processes import MIB, descriptors, memory, tree, zombies
from warm.profiles import shutdown
from warm.workspaces import OpenWorkspace

#: Netflix's notebook jobs a day in 2018.
NETFLIX_2018 = 150_000
DAY = 86_400
GOAL = 4.0  #: runs a second
#: Seconds between two looks. A look takes some ms of one core.
EVERY = 1.0
#: A shutdown that takes longer is a stall: an undisturbed one takes 0.03 s.
STALL_SECONDS = 1.0
#: What memory may grow by from the second fifth of the time to the last: noise of pages.
MAY_GROW = 0.02
MAY_GROW_BYTES = 8 * MIB

PARAMETERS = "number = 0"
WORK = """\
import nbprod
frame = pd.DataFrame({"x": torch.arange(number, number + 100).numpy()})
nbprod.glue("echo", number)
nbprod.glue("mean", float(frame.x.mean()))
nbprod.glue("trainer", Trainer.__name__)
"""
LIGHT = "import pandas as pd"
LIGHT_WORK = """\
import nbprod
frame = pd.DataFrame({"x": range(number, number + 100)})
nbprod.glue("echo", number)
nbprod.glue("mean", float(frame.x.mean()))
nbprod.glue("trainer", "Trainer")
"""


def write(folder: Path, *, is_heavy: bool) -> Path:
    """Write the notebook of the load and return it."""
    cells = [PARAMETERS, HEAVY, WORK] if is_heavy else [PARAMETERS, LIGHT, LIGHT_WORK]
    notebook = notebook_of(cells)
    notebook["cells"][0]["metadata"]["tags"] = ["parameters"]
    path = folder / "load.ipynb"
    path.write_text(json.dumps(notebook))
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was held at one moment. Kernels come and go; these stay."""

    at: float  #: seconds since the load began
    runs: int  #: finished so far
    zygotes_bytes: int  #: resident memory of the zygotes
    workspaces_bytes: int  #: resident memory of the processes with an open workspace
    zygotes_descriptors: int
    workspaces_descriptors: int
    processes: int
    zombies: int
    sockets: int


@dataclass(slots=True, kw_only=True)
class Load:
    """What a load was and left."""

    imports: str = ""  #: what each run imports
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    shutdowns: list[float] = field(default_factory=list)
    stalls: list[str] = field(default_factory=list)
    recorded: int = 0  #: runs of the store that succeeded, with their scraps
    starts: dict[str, int] = field(default_factory=dict)  #: kernels by how they were started
    left: list[int] = field(default_factory=list)  #: processes after everything was stopped
    sockets_left: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Return runs a second."""
        return len(self.latencies) / self.seconds


def sustain(
    workspace: OpenWorkspace,
    *,
    seconds: float,
    is_heavy: bool,
    say: Callable[[str], None],
) -> Load:
    """Run the load's notebook in every process of `workspace` for `seconds`, then stop it all."""
    notebook = write(workspace.folder, is_heavy=is_heavy)
    found = Load(imports="torch, transformers, pandas" if is_heavy else "pandas")
    numbers = iter(range(10**9))
    lock = threading.Lock()
    outputs: list[Path] = []
    for number, worker in enumerate(workspace.workers, start=1):
        # What a process does in its first run only is no load: imports, the first look at packages.
        first = _run(worker, notebook, -number)
        if isinstance(first, str):
            raise ContenderError(first)
    workspace.settle()
    zygotes = workspace.zygotes()
    found.looks.append(_look(workspace, zygotes, at=0.0, runs=0))
    begin = time.perf_counter()
    end = begin + seconds

    def submit(worker: Worker) -> None:
        while time.perf_counter() < end:
            with lock:
                number = next(numbers)
            answer = _run(worker, notebook, number)
            with lock:
                if isinstance(answer, str):
                    found.wrong.append(answer)
                    return
                found.latencies.append(answer["seconds"])
                outputs.append(Path(answer["output"]))

    threads = [threading.Thread(target=submit, args=(worker,)) for worker in workspace.workers]
    for thread in threads:
        thread.start()
    said = begin
    while any(thread.is_alive() for thread in threads):
        now = time.perf_counter()
        found.looks.append(_look(workspace, zygotes, at=now - begin, runs=len(found.latencies)))
        if now - said > 30:
            said = now
            say(f"load: {len(found.latencies)} runs in {now - begin:.0f} s")
        threads[0].join(EVERY)
    for thread in threads:
        thread.join()
    found.seconds = time.perf_counter() - begin
    workspace.settle()
    found.looks.append(
        _look(workspace, zygotes, at=time.perf_counter() - begin, runs=len(found.latencies))
    )
    counted = workspace.worker.ask("count", template=notebook.name)
    found.recorded = counted["recorded"] - len(workspace.workers)
    found.starts = counted["starts"]
    for output in outputs:
        _note_shutdown(output, found)
    found.left = workspace.stop()
    found.sockets_left = [path.name for path in workspace.runtime.glob("*.sock")]
    return found


def _run(worker: Worker, notebook: Path, number: int) -> dict[str, Any] | str:
    """Return the answer, or what is wrong with it."""
    try:
        answer = dict(
            worker.ask("run", notebook=str(notebook), parameters={"number": number}, scraps=True)
        )
    except ContenderError as error:
        return str(error)
    expected = {"echo": number, "mean": number + 49.5, "trainer": "Trainer"}
    if answer["status"] != "succeeded" or answer["scraps"] != expected:
        return f"Run {answer['run']}: {answer['status']}, {answer['scraps']}. {answer['reason']}"
    return answer


def _look(workspace: OpenWorkspace, zygotes: dict[str, int], *, at: float, runs: int) -> Look:
    workers = [worker.pid for worker in workspace.workers]
    everyone = tree([*workers, *zygotes.values()])
    of_zygotes = [found for pid in zygotes.values() if (found := memory(pid))]
    of_workers = [found for pid in workers if (found := memory(pid))]
    return Look(
        at=round(at, 3),
        runs=runs,
        zygotes_bytes=sum(found.rss for found in of_zygotes),
        workspaces_bytes=sum(found.rss for found in of_workers),
        zygotes_descriptors=sum(map(descriptors, zygotes.values())),
        workspaces_descriptors=sum(map(descriptors, workers)),
        processes=len(everyone),
        zombies=len(zombies(everyone)),
        sockets=len(list(workspace.runtime.glob("*.sock"))),
    )


def _note_shutdown(output: Path, found: Load) -> None:
    ended = shutdown(output)
    if ended is None:
        found.stalls.append(f"{output.parent}: no kernel_ended")
        return
    found.shutdowns.append(ended["seconds"])
    if ended["how"] != "graceful" or ended["seconds"] > STALL_SECONDS:
        found.stalls.append(f"{output.parent}: {ended['how']}, {ended['seconds']:.2f} s")


def growth(values: Sequence[float]) -> float:
    """Return by how much the median of the last fifth exceeds that of the second fifth."""
    fifth = max(len(values) // 5, 1)
    early, late = values[fifth : 2 * fifth] or values, values[-fifth:]
    return statistics.median(late) - statistics.median(early)


def _is_flat(values: Sequence[int]) -> bool:
    return growth(values) <= max(MAY_GROW * statistics.median(values), MAY_GROW_BYTES)


def figures(load: Load) -> Iterator[Figure]:
    """Yield what was measured under load."""
    per_day = load.rate * DAY
    yield Figure(
        name=f"sustained, {in_words(load.seconds)} of runs that import {load.imports}",
        ratio=f"{per_day / NETFLIX_2018:.1f} x Netflix's {NETFLIX_2018:,} a day",
        measured=f"{load.rate:.2f} runs/s ({per_day:,.0f} a day), "
        f"median {statistics.median(load.latencies or [0]) * 1000:.0f} ms",
        goal="at least 4 runs/s on two cores",
        holds=load.rate >= GOAL,
    )
    runs = len(load.latencies)
    yield Figure(
        name="its runs, with their scraps in the store",
        measured=f"{load.recorded:,} of {runs:,} succeeded as they should; "
        + ", ".join(f"{count:,} {kind}" for kind, count in sorted(load.starts.items())),
        goal="all",
        holds=not load.wrong and load.recorded == runs > 0,
    )
    zygotes = [look.zygotes_bytes for look in load.looks]
    workspaces = [look.workspaces_bytes for look in load.looks]
    yield Figure(
        name="memory under load, from the second fifth of the time to the last",
        measured=f"zygotes {growth(zygotes) / MIB:+.1f} MiB, "
        f"open workspaces {growth(workspaces) / MIB:+.1f} MiB "
        f"of {statistics.median(workspaces) / MIB:.0f}",
        goal="flat",
        holds=_is_flat(zygotes) and _is_flat(workspaces),
    )
    first, last = load.looks[0], load.looks[-1]
    held = (
        last.zygotes_descriptors - first.zygotes_descriptors,
        last.workspaces_descriptors - first.workspaces_descriptors,
    )
    yield Figure(
        name="descriptors, zombies; processes and sockets after `nbprod kernels stop`",
        measured=f"{held[0]:+d} and {held[1]:+d}, {last.zombies}; "
        f"{len(load.left)}, {len(load.sockets_left)}",
        goal="none leaked",
        holds=max(held) <= 0 and not (last.zombies or load.left or load.sockets_left),
    )
    yield Figure(
        name="its kernels' shutdowns",
        measured=_shutdowns(load),
        goal="0 stalls",
        holds=not load.stalls and bool(load.shutdowns),
    )


def _shutdowns(load: Load) -> str:
    if not load.shutdowns:
        return "none recorded"
    return (
        f"{len(load.stalls)} stalls of {len(load.shutdowns):,}, median "
        f"{statistics.median(load.shutdowns) * 1000:.0f} ms, "
        f"longest {max(load.shutdowns) * 1000:.0f} ms"
    )


def in_words(seconds: float) -> str:
    """Return "10 min" or "3 s"."""
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def as_json(load: Load) -> dict[str, Any]:
    """Return all of it."""
    return asdict(load) | {"runs_per_second": load.rate}
