"""Where the time of one run went, from what it wrote down: for figures that do not hold.

    python profiles.py REQUEST FOLDER

does an attempt over again in `FOLDER`, alone and under a profile.
"""

import cProfile
import io
import json
import os
import pstats
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Functions that a profile shows.
SHOWN = 25

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
    """Return the parts of a run as lines."""
    found = phases(answer)
    width = max(map(len, found))
    lines = (f"  {what.ljust(width)}  {took * 1000:7.1f} ms" for what, took in found.items())
    return "\n".join(lines)


def of_attempt(answer: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Return the profile of the attempt that an open workspace answered with, done over again."""
    folder = Path(answer["output"]).parent
    again = folder.with_name("again")
    done = subprocess.run(
        [sys.executable, __file__, folder / "request.json", again],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout or done.stderr[-2000:]


def top(profile: cProfile.Profile, *, by: str) -> str:
    """Return the functions that took most, by "tottime" or "cumulative"."""
    text = io.StringIO()
    pstats.Stats(profile, stream=text).strip_dirs().sort_stats(by).print_stats(SHOWN)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines() if line.strip())


def main(argv: list[str]) -> None:
    """Do an attempt over again, with all imports done as in a fork of the zygote."""
    from nbprod.kernels.preload import COMMAND, preload
    from nbprod.runners import attempt

    preload(COMMAND, None)
    folder = Path(argv[1])
    (folder / "scraps").mkdir(parents=True)
    request = json.loads(Path(argv[0]).read_text())
    again = folder / "request.json"
    again.write_text(json.dumps({**request, "folder": str(folder)}))
    profile = cProfile.Profile()
    profile.runcall(attempt.main, [str(again)])
    print(top(profile, by="tottime"))


def shutdown(notebook: Path) -> Mapping[str, Any] | None:
    """Return the journal's KERNEL_ENDED of the run that left `notebook`; None where it has none."""
    for line in reversed(notebook.with_name("events.jsonl").read_text().splitlines()):
        event: Mapping[str, Any] = json.loads(line)
        if event["type"] == "kernel_ended":
            return event
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
