"""The papermill engine: executes cells, journals what happens, and is truthful about the end.

`papermill x.ipynb y.ipynb --engine nbprod` works too: then there is no run folder and nothing is
journaled to disk; papermill writes the notebook that is rendered here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from nbprod.core.events import Event
from nbprod.core.outputs import OutputCaps
from nbprod.core.runs import CellError, RunStatus
from nbprod.core.scraps import ScrapDeclaration
from nbprod.notebook.rendering import Rendering, as_bytes
from nbprod.notebook.scraps import check_contract, read_scraps
from nbprod.runners.drop_in import for_papermill
from nbprod.runners.echo import Echo, shown_progress
from nbprod.runners.finish import run_finished
from nbprod.runners.interim import Interim
from nbprod.runners.kernel import Kernel
from nbprod.runners.kernel_run import KernelRun
from nbprod.runners.outcome import Outcome
from nbprod.runners.outputs import Outputs
from nbprod.runners.overflow import Overflow
from nbprod.runners.plain import Plain, read_plain
from nbprod.runners.watch import Watch

if TYPE_CHECKING:
    from nbformat import NotebookNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What an attempt brings along. It calls `outcome.end_kernel` when the rest is done."""

    record: Callable[[Event], None] = lambda event: None  #: gets each event: the journal's `write`
    started: Mapping[str, Any] = field(default_factory=dict)  #: fields of RUN_STARTED
    watch: Watch = field(default_factory=Watch)  #: learns the kernel's pid, and ends it
    contract: Sequence[ScrapDeclaration] = ()
    caps: OutputCaps = field(default_factory=OutputCaps)
    overflow: Overflow | None = None  #: where what the caps cut is kept
    write: Callable[[bytes], None] | None = None  #: puts the notebook somewhere, meanwhile
    is_plain: bool = False  #: no journal keeps everything, and `sys.exit(0)` is a good end
    outcome: Outcome = field(default_factory=Outcome)  #: read it afterwards
    kernel: Callable[[str], Kernel] = Kernel  #: makes one of that name; a rehearsal, its own


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
        stdout_file: TextIO | None = None,
        stderr_file: TextIO | None = None,
        start_timeout: float = 60,
        execution_timeout: float | None = None,
        run_timeout: float | str | timedelta | None = None,
        outputs: Mapping[str, Any] | None = None,
        attempt: Attempt | None = None,
        **others: Any,
    ) -> "NotebookNode":
        """Execute every cell and return the executed notebook, a copy.

        Args:
            nb: the notebook, parameters injected.
            kernel_name: of its kernelspec.
            output_path: where papermill will write it; until then this writes there, ever more
                seldom, how far it has come.
            progress_bar: papermill's, and so are the next five.
            log_output: what cells print is logged.
            stdout_file: gets what cells print, as does `stderr_file`.
            stderr_file: see `stdout_file`.
            start_timeout: seconds the kernel may take until it answers.
            execution_timeout: seconds each cell may take; `timeout` is another name for it.
            run_timeout: seconds, or a duration such as "2h", that the whole run may take; without
                it the front matter's `resources.timeout` holds.
            outputs: caps as in the front matter, `{"max_bytes": "1MB", "max_count": 1000}`.
            attempt: nbprod's own; papermill alone gives none.
            others: arguments of other engines, not used here.

        Raises:
            PapermillException: the kernel could not be used.
        """
        echo = Echo(log_output=log_output, stdout=stdout_file, stderr=stderr_file)
        cell_timeout = execution_timeout or others.get("timeout")
        with shown_progress(nb, wanted=progress_bar) as show:
            execution = partial(
                _execute,
                nb,
                kernel_name=kernel_name,
                show=show,
                heard=echo.hear if echo.is_wanted else None,
                start_timeout=start_timeout,
                cell_timeout=float(cell_timeout) if cell_timeout and cell_timeout > 0 else None,
            )
            if attempt is not None:
                execution(attempt)
                return nb
            plain = read_plain(
                nb, output_path=output_path, run_timeout=run_timeout, outputs=outputs
            )
            return _execute_plainly(nb, plain, execution)


def _execute(
    notebook: "NotebookNode",
    attempt: Attempt,
    *,
    kernel_name: str,
    show: Callable[[Event], None],
    heard: Callable[[Mapping[str, Any]], None] | None,
    start_timeout: float,
    cell_timeout: float | None,
) -> None:
    outcome = attempt.outcome
    rendering = outcome.rendering = outcome.rendering or Rendering(notebook)
    interim = None
    if attempt.write is not None:
        interim = Interim(rendering, attempt.write, has_journal=not attempt.is_plain)

    def note(event: Event) -> None:
        rendering.apply(event)
        attempt.record(event)
        show(event)

    run = KernelRun(
        notebook,
        kernel_name=kernel_name,
        note=note,
        watch=attempt.watch,
        start_timeout=start_timeout,
        cell_timeout=cell_timeout,
        started=attempt.started,
        tick=lambda: None if interim is None else interim.tick(),
        may_exit=attempt.is_plain,
        outputs=partial(Outputs, caps=attempt.caps, overflow=attempt.overflow),
        heard=heard,
        kernel=attempt.kernel,
    )
    outcome.end_kernel = run.end_kernel
    try:
        outcome.status, outcome.reason, outcome.error = run.execute()
        _hold_to_contract(outcome, rendering, attempt.contract)
        attempt.watch.settle()
        note(
            run_finished(
                outcome.status,
                outcome.reason,
                outcome.error,
                stopped=rendering.stopped,
                usage=attempt.watch.vitals.total(),
            )
        )
    except BaseException:
        run.end_kernel(patience=0)
        raise


def _execute_plainly(
    notebook: "NotebookNode", plain: Plain, execution: Callable[[Attempt], None]
) -> "NotebookNode":
    """Execute under papermill alone, which gets the notebook back when the kernel has ended."""
    attempt = Attempt(
        watch=Watch(timeout=plain.timeout, vitals=plain.vitals()),
        caps=plain.caps,
        overflow=plain.overflow,
        write=plain.write,
        is_plain=True,
    )
    outcome = attempt.outcome
    attempt.watch.start()
    try:
        execution(attempt)
    except KeyboardInterrupt:
        _keep_interrupted(attempt)
        raise
    finally:
        attempt.watch.finish()
        outcome.end_kernel()
        attempt.watch.vitals.release()
    assert outcome.rendering is not None
    return for_papermill(outcome, write=attempt.write)


def _keep_interrupted(attempt: Attempt) -> None:
    """Write what there is after Ctrl-C: papermill writes nothing more then."""
    rendering = attempt.outcome.rendering
    if rendering is None or attempt.write is None:
        return
    running = rendering.running
    where = "" if running is None else f" while cell {running + 1} was running"
    rendering.apply(run_finished(RunStatus.CANCELLED, f"The run was interrupted{where}.", None))
    attempt.write(as_bytes(rendering.notebook()))


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
