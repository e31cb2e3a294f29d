"""Measures what a kernel and its children use: at each cell's ends, and now and then between."""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nbprod.core.usage import Usage
from nbprod.runners.family import PROC, Family, Process

if TYPE_CHECKING:
    from nbprod.runners.gpu_memory import GpuMemory

#: Reading what processes share walks their page tables, 2 ms a GB, and stops them while it does:
#: of the time, this much at most may go to it.
_SHARE = 0.02
#: What was seen so many seconds ago still holds: between two cells nothing happens.
_FRESH = 0.02
_ROUNDING = 0.03  #: seconds


class Meter:
    """What one kernel and its children have used. Safe to ask from several threads.

    A peak is the highest of what was seen, and what was seen is never too much: a page that
    several processes share counts once at most. Of the kernel alone a new peak is exact, as Linux
    kept it; of children that lived for less than a look, it is not.
    """

    def __init__(
        self, kernel: int, *, folder: Path | None = None, gpus: "GpuMemory | None" = None
    ) -> None:
        """Measure the kernel of that pid, whose processes may carry `folder` as their mark."""
        self.family = Family(kernel, folder=folder)
        self._gpus = gpus
        self._lock = threading.Lock()
        self._looked = self._next_pss = 0.0
        self._cpu = _Cpu()
        self._cell_cpu = 0.0  # the run's, where the cell began
        self._high_water = 0  # of the kernel, by Linux's own count
        self._members = 1
        self._held = self._peak = self._cell_peak = 0
        self._gpu_held = self._gpu_peak = self._cell_gpu_peak = 0

    def sample(self) -> None:
        """Look at all the processes once, and at the GPUs, which may take milliseconds."""
        with self._lock:
            self._look(is_full=True)

    def cell_started(self) -> None:
        """Begin a cell: what is used from here on is its."""
        with self._lock:
            if time.monotonic() - self._looked > _FRESH:
                self._look(is_full=self._members > 1)
            self._cell_cpu = self._cpu.seconds
            self._cell_peak, self._cell_gpu_peak = self._held, self._gpu_held

    def cell_finished(self) -> Usage | None:
        """Return what the cell used; None where nothing can be measured."""
        with self._lock:
            # Children that nobody saw yet ended within the cell and were waited for, or will be
            # seen in the next: a look at the kernel is what most cells need.
            self._look(is_full=self._members > 1 or self._has_gpus())
            return self._usage(
                self._cpu.seconds - self._cell_cpu, self._cell_peak, self._cell_gpu_peak
            )

    def total(self) -> Usage | None:
        """Return what was used since the kernel began; None where nothing can be measured."""
        with self._lock:
            return self._usage(self._cpu.seconds, self._peak, self._gpu_peak)

    def members(self) -> list[Process]:
        """Return the processes there are."""
        with self._lock:
            return self.family.members()

    def kill(self) -> None:
        """End them all."""
        with self._lock:
            self.family.kill()

    def saw(self, held_bytes: int) -> None:
        """Take in what somebody else measured: a control group, or the limit's watch."""
        with self._lock:
            self._note(held_bytes)

    def _usage(self, cpu: float, peak: int, gpu: int) -> Usage | None:
        if not self._peak:
            return None
        return Usage(
            cpu_seconds=cpu,
            peak_rss_bytes=peak,
            peak_gpu_bytes=gpu if self._has_gpus() else None,
        )

    def _has_gpus(self) -> bool:
        return self._gpus is not None and self._gpus.is_measured

    def _look(self, *, is_full: bool) -> None:
        members = self.family.members() if is_full else self.family.alone()
        self._looked = time.monotonic()
        if not members:
            return
        self._members = len(members)
        self._cpu.look(members)
        self._held = self._together(members)
        self._note(self._held)
        high_water = _high_water(self.family.head)
        if high_water > self._high_water:
            # Reached since the last look, and so in this cell: exact, however short it was.
            self._high_water = high_water
            self._note(high_water)
        if self._gpus is not None and is_full:
            self._gpu_held = self._gpus.held(process.pid for process in members)
            self._gpu_peak = max(self._gpu_peak, self._gpu_held)
            self._cell_gpu_peak = max(self._cell_gpu_peak, self._gpu_held)

    def _note(self, held: int) -> None:
        self._peak = max(self._peak, held)
        self._cell_peak = max(self._cell_peak, held)

    def _together(self, members: list[Process]) -> int:
        """Return the memory they hold together, never too much.

        The whole memory of the largest, and the sum of everybody's share, are each less than what
        they hold together; the greater of the two is close to it.
        """
        largest = max(process.rss_bytes for process in members)
        began = time.monotonic()
        if len(members) == 1 or began < self._next_pss:
            return largest
        shares = sum(process.pss_bytes() for process in members)
        self._next_pss = began + (time.monotonic() - began) / _SHARE
        return max(largest, shares)


class _Cpu:
    """Adds up CPU time over processes that come and go.

    What a child used is its parent's once it was waited for. Some are never waited for, or by
    someone else: what they had used when they were last seen is kept.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lost = 0.0
        self._last: dict[tuple[int, int], tuple[float, float]] = {}  # own, of children reaped

    def look(self, members: list[Process]) -> None:
        now = {process.key: (process.cpu_seconds(), process.reaped_seconds) for process in members}
        gone = sum(sum(self._last[key]) for key in self._last.keys() - now.keys())
        if gone:
            reaped = sum(now[key][1] - self._last[key][1] for key in now.keys() & self._last.keys())
            # Linux says the latter in hundredths: less than a few of them is no difference.
            self._lost += gone - reaped if gone - reaped > _ROUNDING else 0.0
        self._last = now
        self.seconds = max(self.seconds, sum(map(sum, now.values())) + self._lost)


def _high_water(pid: int) -> int:
    """Return the most memory that the process ever had; 0 where that is not said."""
    try:
        text = (PROC / f"{pid}/status").read_bytes()
    except OSError:
        return 0
    place = text.find(b"VmHWM:")
    return int(text[place + 6 : text.index(b"kB", place)]) * 1024 if place >= 0 else 0
