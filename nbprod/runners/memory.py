"""Holds a kernel and its children to `resources.memory`, and explains who ran out of memory.

A control group of their own does it where one can be made: Linux itself then counts and kills.
Elsewhere the processes are watched: what counts is each page once (PSS), since children and warm
kernels share most of theirs.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from nbprod.core.words import bytes_size
from nbprod.runners.cgroups import MemoryGroup
from nbprod.runners.family import PROC, Process

#: Name of the error of a run that used more memory than it may, or than there was.
OUT_OF_MEMORY = "OutOfMemory"
#: Of the time, how much may go to reading what processes share, while it cannot matter yet.
_SHARE = 0.1


class MemoryLimit:
    """The limit of one attempt: `hold` a kernel to it, then ask `exceeded` again and again."""

    def __init__(self, limit_bytes: int, *, name: str) -> None:
        """Allow so many bytes to the attempt of that name."""
        self.limit_bytes = limit_bytes
        self.peak_bytes = 0  #: the most that was seen when it was too much
        self._name = name
        self._group: MemoryGroup | None = None
        self._shared = 0  # bytes counted twice in the processes' own sizes, when last looked at
        self._next_look = 0.0

    def hold(self, kernel: int) -> None:
        """Put the kernel into a control group of its own, where that can be done."""
        self.release()
        self._group = MemoryGroup.make(f"{self._name}-{kernel}", limit_bytes=self.limit_bytes)
        if self._group is not None and not self._group.add(kernel):
            self.release()

    def release(self) -> None:
        """Take the control group away; its processes must be gone."""
        if self._group is not None:
            self._group.remove()
            self._group = None

    def exceeded(self, members: Callable[[], Sequence[Process]]) -> bool:
        """Say whether those whom `members` returns hold too much, or were killed for it."""
        group = self._group  # which another thread may take away meanwhile
        if group is not None:
            if group.kills():
                self.peak_bytes = max(self.peak_bytes, group.peak(), self.limit_bytes)
                return True
            return False
        return self._is_too_much(members())

    def sentence(self, where: str) -> str:
        """Say that it was too much, how much, and where in the run."""
        held = ""
        if self.peak_bytes > self.limit_bytes:
            held = f" (it held {bytes_size(self.peak_bytes)})"
        return (
            f"The run used more memory than its limit of {bytes_size(self.limit_bytes)}{held}; "
            f"it ended {where}."
        )

    def _is_too_much(self, members: Sequence[Process]) -> bool:
        sizes = sum(process.rss_bytes for process in members)
        if sizes <= self.limit_bytes:
            return False  # with shared pages counted again and again it is still little enough
        now = time.monotonic()
        if sizes - self._shared <= self.limit_bytes and now < self._next_look:
            return False
        held = sum(process.pss_bytes() for process in members)
        self._shared = sizes - held
        self._next_look = now + (time.monotonic() - now) / _SHARE
        if held <= self.limit_bytes:
            return False
        self.peak_bytes = max(self.peak_bytes, held)
        return True


def machine_kills() -> int:
    """Return how many processes Linux has killed here since it booted, for want of memory.

    Of the whole machine and of every control group; who they were is not said.
    """
    with suppress(OSError, ValueError):
        for line in (PROC / "vmstat").read_bytes().splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return 0


def machine_sentence(who: str, where: str, *, held_bytes: int = 0) -> str:
    """Say that Linux killed `who` because the machine, or its container, had no memory left."""
    held = f"; it held {bytes_size(held_bytes)}" if held_bytes else ""
    return f"{who} was killed{where} because the machine ran out of memory{held}."
