"""The papermill engine: executes cells, journals what happens, and is truthful about the end.

`papermill x.ipynb y.ipynb --engine nbprod` works too: then there is no run folder, nothing is
journaled to disk, and papermill writes the notebook that is rendered here.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbprod.core.events import Event, EventType
from nbprod.core.outputs import OutputCaps
from nbprod.core.runs import CellError, RunStatus
from nbprod.core.scraps import ScrapDeclaration
from nbprod.notebook.rendering import Rendering
from nbprod.notebook.scraps import check_contract, read_scraps
from nbprod.runners.finish import run_finished
from nbprod.runners.kernel import KernelEnd
from nbprod.runners.kernel_run import KernelRun
from nbprod.runners.overflow import Overflow
from nbprod.runners.watch import Watch

if TYPE_CHECKING:
    from nbformat import NotebookNode

logger = logging.getLogger(__name__)

Record = Callable[[Event], None]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How an execution ended. The attempt hands an empty one in and reads it afterwards."""

    status: RunStatus = RunStatus.RUNNING
    reason: str = ""
    error: CellError | None = None
    rendering: Rendering | None = None
    #: Ends the kernel, which outlives the run by its `atexit` handlers; its result is KERNEL_ENDED.
    end_kernel: Callable[[], KernelEnd | None] = lambda: None


class NbprodEngine:
    """Executes a notebook with one rewrite at its end instead of two per cell.

    It quacks like papermill's Engine and does not inherit it: papermill loads this module while
    its own is only half imported.
    """

    @staticmethod
    def nb_kernel_name(nb: "NotebookNode", name: str | None = None) -> str:
        """Return the kernel's name, given or the notebook's own."""
        from papermill.utils import nb_kernel_name

        return str(nb_kernel_name(nb, name))

    @staticmethod
    def nb_language(nb: "NotebookNode", language: str | None = None) -> str:
        """Return the language, given or the notebook's own."""
        from papermill.utils import nb_language

        return str(nb_language(nb, language))

    @classmethod
    def execute_notebook(
        cls,
        nb: "NotebookNode",
        kernel_name: str,
        *,
        output_path: str | None = None,
        progress_bar: bool | Mapping[str, Any] = True,
        log_output: bool = False,
        start_timeout: int = 60,
        record: Record | None = None,
        started: Mapping[str, Any] | None = None,
        watch: Watch | None = None,
        outcome: Outcome | None = None,
        contract: Sequence[ScrapDeclaration] = (),
        caps: OutputCaps | None = None,
        overflow: Overflow | None = None,
        **_: Any,
    ) -> "NotebookNode":
        """Execute every cell and return the executed notebook, a copy.

        `record` gets each event (the journal's `write`), `started` the fields of RUN_STARTED,
        `watch` the pid of the kernel. Who passes `record` calls `outcome.end_kernel()` afterwards.
        `output_path` is papermill's; papermill writes to it.
        """
        from papermill.engines import NotebookExecutionManager

        outcome = Outcome() if outcome is None else outcome
        watch = watch or Watch()
        rendering = outcome.rendering = outcome.rendering or Rendering(nb)
        # Only for its progress bar: without a path its two saves per cell do nothing.
        bar = NotebookExecutionManager(
            nb, output_path=None, log_output=log_output, progress_bar=progress_bar
        )

        def note(event: Event) -> None:
            rendering.apply(event)
            if record is not None:
                record(event)
            if event.type is EventType.CELL_FINISHED and bar.pbar:
                bar.pbar.update(1)
            if log_output and event.type is EventType.OUTPUT:
                _log_output(event)

        run = KernelRun(
            nb,
            kernel_name=kernel_name,
            note=note,
            watch=watch,
            start_timeout=start_timeout,
            started=started or {},
            caps=caps,
            overflow=overflow,
        )
        outcome.end_kernel = run.end_kernel
        try:
            outcome.status, outcome.reason, outcome.error = run.execute()
            _hold_to_contract(outcome, rendering, contract)
            watch.settle()
            note(
                run_finished(
                    outcome.status,
                    outcome.reason,
                    outcome.error,
                    stopped=rendering.stopped,
                    usage=watch.vitals.total(),
                )
            )
        except BaseException:
            run.end_kernel(patience=0)
            raise
        finally:
            bar.cleanup_pbar()
        if record is not None:
            return nb
        run.end_kernel()
        return _for_papermill(rendering.notebook(), outcome)


def _hold_to_contract(
    outcome: Outcome, rendering: Rendering, contract: Sequence[ScrapDeclaration]
) -> None:
    """Fail a run whose cells all finished but whose scraps are not those its template promises."""
    if outcome.status is not RunStatus.SUCCEEDED or not contract:
        return
    breaches = check_contract(
        contract,
        read_scraps(rendering.notebook()),
        is_stopped=rendering.stopped is not None,
    )
    fatal = [breach.message for breach in breaches if breach.is_fatal]
    if fatal:
        outcome.status, outcome.reason = RunStatus.FAILED, " ".join(fatal)
        outcome.error = CellError(type="ContractBreach", message=outcome.reason)


def _log_output(event: Event) -> None:
    output: Any = event.fields.get("output")
    text = output.get("text") or (output.get("data") or {}).get("text/plain")
    if text:
        logger.info("%s", text)


def _for_papermill(notebook: "NotebookNode", outcome: Outcome) -> "NotebookNode":
    """Leave the error banner to papermill, which adds its own and then raises."""
    from nbprod.notebook.rendering import MARKER_TAG

    notebook.cells = [
        cell for cell in notebook.cells if MARKER_TAG not in cell.metadata.get("tags", [])
    ]
    if outcome.error is not None and outcome.error.cell is None:
        from papermill.exceptions import PapermillException

        raise PapermillException(outcome.reason)
    return notebook
