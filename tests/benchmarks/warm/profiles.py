"""Where the time of one run went, from what it wrote down: for figures that do not hold."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: The journal's moments, each with what was done until then.
PARTS = (
    ("run_started", "bind, record, start the attempt, read the notebook"),
    ("metadata", "have a kernel that answers"),
    ("cell_started", "prepare it"),
    ("cell_finished", "the cells"),
    ("run_finished", "close the journal's cells, check scraps"),
)
RETURNED = "write the notebook, commit, return"


def phases(answer: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds of each part of a run that an open workspace answered with."""
    moments: dict[str, float] = {}
    journal = Path(answer["output"]).with_name("events.jsonl")
    for line in journal.read_text().splitlines():
        event = json.loads(line)
        kind = event["type"]
        # The first of each counts, but of the cells' ends the last.
        if kind == "cell_finished":
            moments[kind] = event["t"]
        else:
            moments.setdefault(kind, event["t"])
    found: dict[str, float] = {}
    before = answer["called"]
    for kind, what in PARTS:
        if kind in moments:
            found[what] = moments[kind] - before
            before = moments[kind]
    found[RETURNED] = answer["returned"] - before
    return found


def text_of(answer: Mapping[str, Any]) -> str:
    """Return the parts of a run as lines, and the profile of its own thread if there is one."""
    found = phases(answer)
    width = max(map(len, found))
    lines = [f"  {what.ljust(width)}  {seconds * 1000:7.1f} ms" for what, seconds in found.items()]
    return "\n".join(lines) + ("\n" + answer["profile"] if "profile" in answer else "")


def shutdown(notebook: Path) -> Mapping[str, Any] | None:
    """Return the journal's KERNEL_ENDED of the run that left `notebook`; None where it has none."""
    for line in reversed(notebook.with_name("events.jsonl").read_text().splitlines()):
        event: Mapping[str, Any] = json.loads(line)
        if event["type"] == "kernel_ended":
            return event
    return None
