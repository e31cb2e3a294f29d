"""The attempt process: papermill with our engine, for one request.

`python -P -m nbprod.runners.attempt request.json`, started by a runner on this machine or another.
What it found is in its folder: the journal, and the executed notebook.
"""

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbprod.core.events import Event, EventType
from nbprod.core.imports import SCHEMA_FORMATS, leave_out
from nbprod.core.runner import JOURNAL_FILE, NOTEBOOK_FILE, OUTPUTS_FOLDER, AttemptRequest
from nbprod.core.runs import RunStatus
from nbprod.notebook.journal import Journal
from nbprod.notebook.kernel import RUN_FOLDER_VARIABLE, RUN_VARIABLE, WORKSPACE_VARIABLE
from nbprod.runners.gpu_memory import GpuMemory
from nbprod.runners.gpus import VISIBLE
from nbprod.runners.line import AttemptLine
from nbprod.runners.memory import MemoryLimit
from nbprod.runners.overflow import Overflow
from nbprod.runners.processes import die_with_parent, end_all
from nbprod.runners.vitals import Vitals
from nbprod.runners.watch import Ending, Watch

if TYPE_CHECKING:
    from nbprod.runners.outcome import Outcome

#: Exit statuses; the numbers of sysexits.h where it has one.
DONE, UNSUCCESSFUL, IO_ERROR, ORPHANED = 0, 1, 74, 75
#: pid of the process that must live for the attempt to go on.
SUPERVISOR_VARIABLE = "NBPROD_SUPERVISOR"
#: What the supervisor is woken for; the rest it finds when it looks.
_RINGING = frozenset({EventType.RUN_STARTED, EventType.RUN_FINISHED, EventType.NOTEBOOK_WRITTEN})
#: Characters of one output that the log gets.
LOGGED = 10_000
#: papermill's HDFS handler loads pyarrow and NumPy for this, 0.1 s; an attempt's files are local.
HDFS = "pyarrow.fs"


def main(argv: list[str]) -> int:
    """Execute the request in the file `argv[0]`; return the exit status."""
    leave_out(*SCHEMA_FORMATS, HDFS)
    request = AttemptRequest.from_json(json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s: %(message)s"
    )
    # papermill's own two lines and traitlets' errors repeat what the journal says better.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    os.environ.update(request.environment)
    os.environ[RUN_VARIABLE] = request.run
    os.environ[RUN_FOLDER_VARIABLE] = str(request.folder)
    os.environ[WORKSPACE_VARIABLE] = str(request.workspace)
    line = AttemptLine.take() if SUPERVISOR_VARIABLE in os.environ else None
    watch = _start_watch(request, line)
    try:
        with Journal(request.folder / JOURNAL_FILE, after=_waker(line)) as journal:
            if line is not None:
                _leave_with_supervisor(line, journal, request)
            outcome = execute(request, journal, watch)
            _write_notebook(request, outcome, journal)
            _end_kernel(outcome, journal)
    except OSError as error:
        # The journal says no more from here on; the supervisor completes it from the exit status.
        _complain(error)
        return IO_ERROR
    finally:
        watch.finish()
        end_all(request.folder)
        watch.vitals.release()
    return DONE if outcome.status is RunStatus.SUCCEEDED else UNSUCCESSFUL


def execute(request: AttemptRequest, journal: Journal, watch: Watch) -> "Outcome":
    """Run the notebook under papermill and return how it ended; RUN_FINISHED is journaled."""
    import nbformat
    import papermill
    import psutil
    from papermill.engines import papermill_engines
    from papermill.exceptions import PapermillExecutionError

    from nbprod.notebook.injection import inject
    from nbprod.notebook.rendering import Rendering, replace_file
    from nbprod.runners.engine import Attempt, NbprodEngine
    from nbprod.runners.outcome import Outcome

    # The entry point does the same; a checkout that was not installed anew may lack it.
    papermill_engines.register("nbprod", NbprodEngine)
    template = nbformat.read(request.notebook, as_version=4)
    parameters = dict(request.parameters)
    notebook = inject(template, source=request.injected, parameters=parameters)
    # Of the template itself and not of papermill's copy: whoever renders from the journal has no
    # other, and both must come out alike.
    outcome = Outcome(rendering=Rendering(template))
    path = request.folder / NOTEBOOK_FILE

    def record(event: Event) -> None:
        journal.write(event)
        _log(event)

    attempt = Attempt(
        record=record,
        watch=watch,
        outcome=outcome,
        contract=request.contract,
        caps=request.caps,
        overflow=Overflow(request.folder / OUTPUTS_FOLDER),
        write=lambda content: replace_file(path, content),
        started={
            "pid": os.getpid(),
            "pid_started": psutil.Process().create_time(),
            "parameters": parameters,
            "injected": request.injected,
            "input_path": str(request.notebook),
            "output_path": str(path),
        },
    )
    # papermill finds the error output and raises; the outcome says it with more truth.
    with contextlib.suppress(PapermillExecutionError):
        papermill.execute_notebook(
            notebook,
            None,
            engine_name="nbprod",
            kernel_name=request.kernel or _default_kernel(notebook),
            cwd=request.cwd,
            progress_bar=False,
            request_save_on_cell_execute=False,
            attempt=attempt,
        )
    return outcome


def _default_kernel(notebook: Any) -> str | None:
    """Return python3 for a notebook that names no kernel; papermill refuses those."""
    return None if notebook.metadata.get("kernelspec", {}).get("name") else "python3"


def _waker(line: AttemptLine | None) -> Callable[[Event], None]:
    """Return what to do after each event that is in the journal."""

    def wake(event: Event) -> None:
        if line is not None and event.type in _RINGING:
            line.ring()

    return wake


def _leave_with_supervisor(line: AttemptLine, journal: Journal, request: AttemptRequest) -> None:
    def leave() -> None:
        # What is ended now would be told as if the notebook had done it.
        journal.silence()
        end_all(request.folder)
        os._exit(ORPHANED)

    line.when_over(leave, supervisor=int(os.environ[SUPERVISOR_VARIABLE]))


def _start_watch(request: AttemptRequest, line: AttemptLine | None) -> Watch:
    supervisor = int(os.environ.get(SUPERVISOR_VARIABLE, "0")) or None

    def leave() -> None:
        end_all(request.folder)
        os._exit(ORPHANED)

    watch = Watch(
        timeout=request.timeout,
        grace=request.grace,
        supervisor=supervisor if line is None else None,
        on_orphaned=leave,
        vitals=_vitals(request),
    )
    for signum in (signal.SIGTERM, signal.SIGINT):
        # A function, not SIG_IGN: the kernel would inherit that and could not be interrupted.
        signal.signal(signum, lambda *_: watch.request(Ending.CANCELLED))
    if line is None and supervisor is not None:
        # Sooner than the watch's next look; what it must not do is kill us before we have
        # ended what we started.
        die_with_parent(supervisor, signal.SIGTERM)
    watch.start()
    return watch


def _vitals(request: AttemptRequest) -> Vitals:
    limit, name = request.memory_bytes, f"{request.run}-{request.fence}"
    leased = [uuid for uuid in request.environment.get(VISIBLE, "").split(",") if uuid]
    return Vitals(
        limit=None if limit is None else MemoryLimit(limit, name=name),
        folder=request.folder,
        gpus=GpuMemory(leased) if leased else None,
    )


def _write_notebook(request: AttemptRequest, outcome: "Outcome", journal: Journal) -> None:
    from nbprod.notebook.rendering import write_notebook

    if outcome.rendering is None:
        return
    path = request.folder / NOTEBOOK_FILE
    try:
        digest = write_notebook(outcome.rendering.notebook(), path, is_final=True)
    except OSError:
        outcome.end_kernel()
        raise
    size = path.stat().st_size
    journal.append(EventType.NOTEBOOK_WRITTEN, digest=digest, size_bytes=size)


def _end_kernel(outcome: "Outcome", journal: Journal) -> None:
    """End the kernel, for which nobody waits any more, and journal how that went."""
    ended = outcome.end_kernel()
    if ended is not None:
        journal.append(EventType.KERNEL_ENDED, **asdict(ended))


def _log(event: Event) -> None:
    """Write to the log what someone who reads it wants: cells, and what they printed."""
    logger = logging.getLogger("nbprod.run")
    fields: Any = event.fields
    match event.type:
        case EventType.CELL_STARTED:
            logger.info("cell %d started", fields["cell"] + 1)
        case EventType.CELL_FINISHED:
            logger.info("cell %d: %s", fields["cell"] + 1, fields["status"])
        case EventType.RUN_FINISHED:
            logger.info("%s: %s", fields["status"], fields["reason"])
        case EventType.OUTPUT if fields["output"].get("output_type") == "stream":
            _write_log(_shortened(str(fields["output"]["text"])))
        case _:
            return


def _shortened(text: str) -> str:
    """Return what of a text the log gets: it is no third place for megabytes of output."""
    if len(text) <= LOGGED:
        return text
    return f"{text[:LOGGED]}... ({len(text) - LOGGED:,} characters more are in {JOURNAL_FILE})\n"


def _write_log(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, UnicodeError):
        # A log that cannot be written ends no run; the journal has the same text.
        return


def _complain(error: OSError) -> None:
    logging.raiseExceptions = False
    _write_log(f"The attempt's folder cannot be written: {error}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
