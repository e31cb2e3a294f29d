"""What the kernel says of processes: who is there, what they hold, who was left behind."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A process's memory, in bytes."""

    rss: int
    pss: int  #: shared pages divided among those who share them
    private: int  #: pages that nobody else has


def memory(pid: int) -> Memory | None:
    """Return the memory of a process; None when it is gone."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    except (OSError, ProcessLookupError):
        return None
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    private = kib["Private_Clean"] + kib["Private_Dirty"]
    return Memory(rss=kib["Rss"] * 1024, pss=kib["Pss"] * 1024, private=private * 1024)


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open; 0 when it is gone."""
    try:
        return sum(1 for _ in (PROC / str(pid) / "fd").iterdir())
    except OSError:
        return 0


def state(pid: int) -> tuple[str, int] | None:
    """Return the state's letter ("Z": ended, not reaped) and the parent; None when it is gone."""
    try:
        # The name, in brackets, may hold anything.
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1])


def tree(roots: Iterable[int]) -> list[int]:
    """Return the pids of `roots` and everything below them, zombies included."""
    children: dict[int, list[int]] = {}
    for pid in all_pids():
        if (found := state(pid)) is not None:
            children.setdefault(found[1], []).append(pid)
    todo, seen = deque(roots), list[int]()
    while todo:
        pid = todo.popleft()
        seen.append(pid)
        todo.extend(children.get(pid, []))
    return seen


def zombies(pids: Iterable[int]) -> list[int]:
    """Return those that ended and were not reaped."""
    return [pid for pid in pids if (found := state(pid)) is not None and found[0] == "Z"]


def all_pids() -> Iterator[int]:
    """Yield every process's id."""
    for path in PROC.iterdir():
        if path.name.isdigit():
            yield int(path.name)


def started_with(word: str) -> list[int]:
    """Return the processes that were started with `word` in their environment, and their forks.

    A private folder's name, say: then they are ours, wherever they were handed on to.
    """
    found = []
    for pid in all_pids():
        if pid == os.getpid():
            continue
        try:
            environment = (PROC / str(pid) / "environ").read_bytes()
        except OSError:
            continue
        if word.encode() in environment:
            found.append(pid)
    return found


def busy_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time of processes and of their reaped children, so far."""
    ticks = 0
    for pid in pids:
        try:
            fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
