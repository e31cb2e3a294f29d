"""What an execution leaves to whoever asked for it."""

from collections.abc import Callable
from dataclasses import dataclass

from nbprod.core.runs import CellError, RunStatus
from nbprod.notebook.rendering import Rendering
from nbprod.runners.kernel import KernelEnd


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How an execution ended."""

    status: RunStatus = RunStatus.RUNNING
    reason: str = ""
    error: CellError | None = None
    rendering: Rendering | None = None
    #: Ends the kernel, which outlives the run by its `atexit` handlers; its result is KERNEL_ENDED.
    end_kernel: Callable[[], KernelEnd | None] = lambda: None
