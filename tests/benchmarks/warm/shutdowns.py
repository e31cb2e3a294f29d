"""Kernels that end: every atexit handler runs, and none keeps anyone waiting.

Half of the runs have a spare, half a kernel forked on demand; 20 cells each, for it was there that
shutdowns once stalled.
"""

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from figures import Figure

from warm.cases import notebook_of
from warm.load import STALL_SECONDS
from warm.profiles import shutdown
from warm.workspaces import OpenWorkspace

HANDLER = """\
import atexit, pathlib
atexit.register(lambda: pathlib.Path(mark).touch(exist_ok=False))
"""
CELLS = 20


@dataclass(slots=True, kw_only=True)
class Shutdowns:
    """How kernels ended."""

    runs: int = 0
    handled: int = 0  #: whose atexit handler left its mark
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def end_many(
    workspaces: Sequence[OpenWorkspace], *, runs: int, say: Callable[[str], None]
) -> Shutdowns:
    """Do `runs` runs, the workspaces in turn, and look at how each kernel ended."""
    found = Shutdowns()
    outputs: list[Path] = []
    marks: list[Path] = []
    for workspace in workspaces:
        notebook = notebook_of(['mark = ""', HANDLER, *(f"print({n})" for n in range(CELLS))])
        notebook["cells"][0]["metadata"]["tags"] = ["parameters"]
        (workspace.folder / "ends.ipynb").write_text(json.dumps(notebook))
    for number in range(runs):
        workspace = workspaces[number % len(workspaces)]
        mark = workspace.folder / f"mark-{number}"
        answer = workspace.worker.ask(
            "run", notebook=str(workspace.folder / "ends.ipynb"), parameters={"mark": str(mark)}
        )
        found.runs += 1
        if answer["status"] != "succeeded":
            found.wrong.append(f"run {number}: {answer['status']}, {answer['reason']}")
            continue
        outputs.append(Path(answer["output"]))
        marks.append(mark)
        if number % 50 == 49:
            say(f"shutdowns: {number + 1} of {runs}")
    for workspace in workspaces:
        workspace.settle()
    found.handled = sum(mark.exists() for mark in marks)
    for output in outputs:
        ended = shutdown(output)
        if ended is None:
            found.wrong.append(f"{output.parent}: no kernel_ended")
            continue
        found.seconds.append(ended["seconds"])
        if ended["how"] != "graceful" or ended["seconds"] > STALL_SECONDS:
            found.wrong.append(f"{output.parent}: {ended['how']}, {ended['seconds']:.2f} s")
    return found


def figures(found: Shutdowns) -> Iterator[Figure]:
    """Yield how they ended."""
    seconds = found.seconds or [0.0]
    yield Figure(
        name=f"shutdowns of {found.runs:,} kernels, half of them spares",
        measured=f"{len(found.wrong)} stalls; median {statistics.median(seconds) * 1000:.0f} ms, "
        f"longest {max(seconds) * 1000:.0f} ms",
        goal="0 stalls",
        holds=not found.wrong and len(found.seconds) == found.runs,
    )
    yield Figure(
        name="their users' atexit handlers",
        measured=f"{found.handled:,} of {found.runs:,} ran",
        goal="all",
        holds=found.handled == found.runs,
    )
