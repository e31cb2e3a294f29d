"""The vital signs of a run's kernel: what it uses, and whether that is too much."""

import signal
import time
from pathlib import Path

from nbprod.core.usage import Usage
from nbprod.runners.gpu_memory import GpuMemory
from nbprod.runners.memory import MemoryLimit, machine_kills, machine_sentence
from nbprod.runners.usage import Meter

#: Seconds between two measurements in a cell, which take about a millisecond.
SAMPLE_EVERY = 0.2


class Vitals:
    """Measures one run's kernel, and the next where the first died as it started.

    Without a kernel on this machine, and where there is no /proc, nothing is measured.
    """

    def __init__(
        self,
        *,
        limit: MemoryLimit | None = None,
        folder: Path | None = None,
        gpus: GpuMemory | None = None,
    ) -> None:
        """Hold the kernel to `limit`; its processes may carry `folder` as their mark."""
        self.limit = limit
        self._folder = folder
        self._gpus = gpus
        self._meter: Meter | None = None
        self._sample_at = 0.0
        self._killed_before = 0

    def begin(self, kernel: int) -> None:
        """Measure the kernel of that pid from here on."""
        self._killed_before = machine_kills()
        if self.limit is not None:
            self.limit.hold(kernel)
        self._meter = Meter(kernel, folder=self._folder, gpus=self._gpus)

    def look(self) -> bool:
        """Measure, if it is time to; say whether the kernel and its children hold too much."""
        meter = self._meter
        if meter is None:
            return False
        if (now := time.monotonic()) >= self._sample_at:
            self._sample_at = now + SAMPLE_EVERY
            meter.sample()
        if self.limit is None or not self.limit.exceeded(meter.members):
            return False
        meter.saw(self.limit.peak_bytes)
        return True

    def kill(self) -> None:
        """End the kernel and all that it started, now."""
        if self._meter is not None:
            self._meter.kill()

    def cell_started(self) -> None:
        """Begin a cell."""
        if self._meter is not None:
            self._meter.cell_started()

    def cell_finished(self) -> Usage | None:
        """Return what the cell used; None where nothing was measured."""
        return None if self._meter is None else self._meter.cell_finished()

    def total(self) -> Usage | None:
        """Return what the run has used so far; None where nothing was measured."""
        return None if self._meter is None else self._meter.total()

    def explain(self, code: int | None, where: str) -> str | None:
        """Return why the kernel died, where it was for want of the machine's memory."""
        if code != -signal.SIGKILL or machine_kills() <= self._killed_before:
            return None
        used = self.total()
        held = 0 if used is None else used.peak_rss_bytes
        return machine_sentence("The kernel", where, held_bytes=held)

    def release(self) -> None:
        """Give back what `begin` took; the kernel and its children must be gone."""
        if self.limit is not None:
            self.limit.release()
