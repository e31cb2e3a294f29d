"""The ledger of starts: which process came from where, and why one was cold.

One JSON line a start in the runtime folder, so that `nbprod kernels` can say it afterwards; the
first time in a process a reason also goes to the log, and so to the log of a run.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

logger = logging.getLogger("nbprod.kernels")

FILE = "starts.jsonl"
#: The file is put aside when it has grown to this; one older file is kept.
LONGEST_BYTES = 2**20


class StartKind(StrEnum):
    """Where a process came from."""

    SPARE = "spare"  #: forked ahead of need, lent
    FORKED = "forked"  #: forked on demand
    COLD = "cold"  #: started as if there were no zygote
    ZYGOTE = "zygote"  #: a zygote itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start."""

    t: float  #: seconds since 1970
    role: str  #: "kernel" or "command"
    key: str  #: of the zygote; "" where it was never looked for
    kind: StartKind
    reason: str = ""  #: why it was cold, or no spare
    seconds: float = 0.0  #: from the request to the process
    owner: str = ""  #: the program that asked, and its pid


def record(folder: Path, start: Start) -> None:
    """Append a start to the ledger in `folder`. A full disk loses the line, not the start."""
    path = folder / FILE
    line = json.dumps(asdict(start), ensure_ascii=False) + "\n"
    try:
        with path.open("a", encoding="utf-8") as ledger:
            ledger.write(line)
            is_long = ledger.tell() > LONGEST_BYTES
        if is_long:
            path.replace(path.with_suffix(".old.jsonl"))
    except OSError as error:
        logger.debug("a start could not be recorded: %s", error)


def starts(folder: Path) -> Iterator[Start]:
    """Yield the starts on record, oldest first."""
    path = folder / FILE
    for part in (path.with_suffix(".old.jsonl"), path):
        try:
            lines = part.read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        for line in lines:
            try:
                fields = json.loads(line)
                yield Start(**fields | {"kind": StartKind(fields["kind"])})
            except (ValueError, KeyError, TypeError):
                continue  # torn by a full disk, or of another version


def owner() -> str:
    """Return who we are, for the ledger: "papermill 4711"."""
    return f"{Path(sys.argv[0] or 'python').name} {os.getpid()}"


def now() -> float:
    """Return the time as the ledger has it."""
    return time.time()


_said: set[str] = set()


def say_once(reason: str) -> None:
    """Log why a process is cold, the first time this process hears it."""
    if reason not in _said:
        _said.add(reason)
        logger.warning("A cold kernel is used: %s", reason)
