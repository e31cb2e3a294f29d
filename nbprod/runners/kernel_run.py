"""One notebook in one kernel: sends the cells and decides how it ended."""

import logging
import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from nbprod.core.events import Event, EventType
from nbprod.core.runs import CellError, RunStatus
from nbprod.core.scraps import SCRAP_METADATA, SCRAP_MIME_PREFIX
from nbprod.runners.client import CellTimedOutError, JournalingClient
from nbprod.runners.kernel import Kernel, KernelEnd, KernelGoneError, KernelSilentError
from nbprod.runners.memory import OUT_OF_MEMORY
from nbprod.runners.outputs import Outputs
from nbprod.runners.processes import explain_exit
from nbprod.runners.watch import Ending, Watch, in_words

if TYPE_CHECKING:
    from nbformat import NotebookNode

logger = logging.getLogger(__name__)

#: How it ended: the status, a sentence, the error if any.
End: TypeAlias = tuple[RunStatus, str, CellError | None]

#: Cells with one of these tags are not executed; the second is nbclient's.
SKIP_TAGS = frozenset({"skip", "skip-execution"})
#: Sent once to a Python kernel; nothing of it stays in the notebook's names.
#: scrapbook's glue goes through IPython's display publisher, which %%capture replaces: scraps are
#: let through to the real one, and captured as well. And ZeroMQ drops what exceeds 1,000 waiting
#: messages without a word (of 20,000 displays in a loop 17,000 arrived): that limit goes. And one
#: kernel in 30 took its whole patience to end, because ipykernel ends the thread that sends output
#: before the ones that wait for what they sent: these are ended first, after the user's handlers.
PREPARE_KERNEL = f"""
def _nbprod_prepare():
    from IPython import get_ipython
    from IPython.core.displaypub import CapturingDisplayPublisher
    real, capture = get_ipython().display_pub, CapturingDisplayPublisher.publish
    def publish(self, data, metadata=None, *args, **kwargs):
        if {SCRAP_METADATA!r} in (metadata or {{}}) or any(
            str(mime).startswith({SCRAP_MIME_PREFIX!r}) for mime in data
        ):
            real.publish(data, metadata)
        return capture(self, data, metadata, *args, **kwargs)
    CapturingDisplayPublisher.publish = publish
    import zmq
    thread = get_ipython().kernel.iopub_thread
    thread.schedule(lambda: thread.socket.setsockopt(zmq.SNDHWM, 0))
    import atexit
    app = get_ipython().kernel.parent
    def end_threads():
        for thread in (app.control_thread, app.shell_channel_thread):
            if thread is not None and thread.is_alive():
                thread.stop()
                thread.join(10)
    atexit.register(end_threads)
try:
    _nbprod_prepare()
except Exception:
    pass
del _nbprod_prepare
"""


#: How often a kernel is started that dies before it answers: whoever starts a kernel picks free TCP
#: ports and the kernel takes them a second later; of many that start on one machine, one may find
#: its port taken, and dies of it.
KERNEL_STARTS = 3
#: Seconds after which a forked kernel that does not answer is given up for another. One answers in
#: 0.1, on busy cores in 2; one whose port was for a moment another program's never does, because
#: ZeroMQ gives up a connection for good where a socket of another kind answers.
WARM_START = 15.0
#: Seconds a kernel gets for its `atexit` handlers before it is ended with force.
PATIENCE = 5.0


class KernelRun:
    """Executes one notebook in one kernel. Used once: `execute`, then `end_kernel`."""

    def __init__(
        self,
        notebook: "NotebookNode",
        *,
        kernel_name: str,
        note: Callable[[Event], None],
        watch: Watch,
        start_timeout: float,
        started: Mapping[str, Any],
        cell_timeout: float | None = None,
        tick: Callable[[], float | None] = lambda: None,
        may_exit: bool = False,
        outputs: Callable[[Callable[..., None]], Outputs] = Outputs,
        heard: Callable[[Mapping[str, Any]], None] | None = None,
        kernel: Callable[[str], Kernel] = Kernel,
    ) -> None:
        self._notebook = notebook
        self._kernel_name = kernel_name
        self._note = note
        self._watch = watch
        self._start_timeout = start_timeout
        self._started = started
        self._cell_timeout = cell_timeout
        self._may_exit = may_exit  #: `sys.exit(0)` is a good end, as papermill has it
        self._client = JournalingClient(
            notebook, note=self._event, outputs=outputs(self._event), heard=heard, tick=tick
        )
        self._new_kernel = kernel
        self._kernel: Kernel | None = None
        self._has_run = False  #: a cell did

    def execute(self) -> End:
        """Run every cell and say how it ended: the status, a sentence, the error if any.

        The kernel lives on: whoever waits for the result need not wait for its end.

        Raises:
            OSError: when the journal could not be written.
        """
        self._event(
            EventType.RUN_STARTED,
            cells=len(self._notebook.cells),
            kernel=self._kernel_name,
            **self._started,
        )
        failure = "could not be started"
        try:
            kernel = self._start_kernel()
            failure = "could no longer be listened to"
            self._client.use(kernel)
            ending = self._run_cells()
            if ending[2] is None:
                self._keep_metadata()
            return ending
        except OSError:
            raise
        except Exception as error:
            if self._watch.ending is not None:
                return self._ended_early(None)
            logger.exception("the kernel could not be used")
            reason = f"The kernel {self._kernel_name or 'python3'!r} {failure}: {error}"
            return RunStatus.FAILED, reason, CellError(type=type(error).__name__, message=reason)

    def end_kernel(self, *, patience: float = PATIENCE) -> KernelEnd | None:
        """End the kernel so that its `atexit` handlers run; None where there is none to end."""
        kernel, self._kernel = self._kernel, None
        if kernel is None:
            return None
        try:
            return kernel.end(patience=patience)
        finally:
            self._watch.kernel = None

    def _start_kernel(self) -> Kernel:
        for left in reversed(range(KERNEL_STARTS)):
            kernel = self._kernel = self._new_kernel(self._kernel_name)
            try:
                self._launch(kernel)
                is_prepared = kernel.language == "python"
                is_pressed = kernel.is_warm and left > 0
                description = kernel.wait_until_heard(
                    min(self._start_timeout, WARM_START) if is_pressed else self._start_timeout,
                    then=PREPARE_KERNEL if is_prepared else "",
                )
                break
            except KernelSilentError:
                if not is_pressed or self._watch.ending is not None:
                    raise
                logger.warning("the forked kernel did not answer; another one is started")
                kernel.end(patience=0)
            except KernelGoneError as error:
                kernel.end(patience=0)
                if not left or self._watch.ending is not None:
                    raise RuntimeError("Kernel died before replying to kernel_info") from error
                logger.warning("the kernel died as it started; it is started again")
        language = description.get("language_info") or {}
        if language:
            self._event(EventType.METADATA, metadata={"language_info": language})
        if language.get("name") == "python" and not is_prepared:
            kernel.prepare(PREPARE_KERNEL)
        return kernel

    def _launch(self, kernel: Kernel) -> None:
        try:
            kernel.launch()
        except OSError as error:
            # Not one of the journal's, which would end the run in another way.
            raise RuntimeError(str(error)) from error
        self._watch.kernel = kernel.pid  # from here on it can be cancelled

    def _event(self, kind: EventType, **fields: Any) -> None:
        self._note(Event(type=kind, t=time.time(), fields=fields))

    def _run_cells(self) -> End:
        for index, cell in enumerate(self._notebook.cells):
            if cell.cell_type != "code":
                continue
            if self._watch.ending is not None:
                return self._ended_early(None)
            self._watch.vitals.cell_started()
            self._event(EventType.CELL_STARTED, cell=index)
            if SKIP_TAGS & set(cell.metadata.get("tags", [])):
                self._event(EventType.CELL_FINISHED, cell=index, status="skipped")
                continue
            end = self._run_cell(cell, index)
            if end is not None:
                return end
        return RunStatus.SUCCEEDED, "Every cell finished.", None

    def _run_cell(self, cell: "NotebookNode", index: int) -> End | None:
        """Run one cell; None when the next one may start."""
        if not cell.source.strip():
            self._client.reply = {}
            self._finish_cell(index, "ok")
            return None
        self._has_run = True
        keeps_going = "raises-exception" in cell.metadata.get("tags", [])
        try:
            reply = self._client.run_cell(
                cell.source, index, keeps_going=keeps_going, timeout=self._cell_timeout
            )
        except KernelGoneError:
            return self._kernel_died(index)
        except CellTimedOutError:
            return self._cell_timed_out(index)
        if reply.get("status") == "error" and not keeps_going:
            return self._cell_raised(index)
        if any(item.get("source") == "ask_exit" for item in reply.get("payload") or []):
            return self._exited(index, "exit()")
        self._finish_cell(index, "ok")
        return None

    def _cell_raised(self, index: int) -> End:
        reply = self._client.reply
        name, value = str(reply.get("ename", "")), str(reply.get("evalue", ""))
        reason = self._client.stop_reason
        if reason is not None and name == "SystemExit" and not value:
            self._event(EventType.STOPPED, cell=index, reason=reason)
            self._finish_cell(index, "ok")
            words = f": {reason}" if reason else "."
            return (
                RunStatus.SUCCEEDED,
                f"nbprod.stop ended the run in cell {index + 1}{words}",
                None,
            )
        if self._watch.ending is not None:
            self._finish_cell(index, "interrupted")
            return self._ended_early(index)
        if name == "SystemExit" and not self._may_exit:
            return self._exited(index, f"sys.exit({value})")
        self._finish_cell(index, "error")
        if name == "SystemExit" and value in ("", "0"):
            reason = f"Cell {index + 1} called sys.exit({value}); the cells below it were not run."
            return RunStatus.SUCCEEDED, reason, None
        error = CellError(
            type=name,
            message=value,
            cell=index,
            traceback=_plain("\n".join(reply.get("traceback") or [])),
        )
        first = value.strip().split("\n", 1)[0]
        return (
            RunStatus.FAILED,
            f"Cell {index + 1} raised {name}: {first}"
            if first
            else f"Cell {index + 1} raised {name}.",
            error,
        )

    def _exited(self, index: int, call: str) -> End:
        reason = (
            f"Cell {index + 1} called {call}, so the cells below it were not run. "
            "To end a run early on purpose, call nbprod.stop(reason)."
        )
        return self._failed(index, "SystemExit", reason)

    def _kernel_died(self, index: int) -> End:
        self._watch.look()  # where Linux counts the memory, it kills sooner than the watch looks
        if self._watch.ending is not None:
            ending = self._ended_early(index)
            if self._watch.ending is Ending.OUT_OF_MEMORY:
                self._show_error(index, OUT_OF_MEMORY, ending[1])
            self._finish_cell(index, "interrupted")
            return ending
        code = None if self._kernel is None else self._kernel.exit_code()
        if reason := self._watch.vitals.explain(code, f" while cell {index + 1} was running"):
            return self._failed(index, OUT_OF_MEMORY, reason)
        how = "" if code is None else f" ({explain_exit(code)})"
        reason = f"The kernel died{how} while cell {index + 1} was running."
        return self._failed(index, "KernelDied", reason)

    def _cell_timed_out(self, index: int) -> End:
        limit = in_words(timedelta(seconds=self._cell_timeout or 0))
        reason = f"Cell {index + 1} took longer than the {limit} that a cell may take."
        return self._failed(index, "CellTimedOut", reason)

    def _failed(self, index: int, kind: str, reason: str) -> End:
        self._show_error(index, kind, reason)
        self._finish_cell(index, "error")
        return RunStatus.FAILED, reason, CellError(type=kind, message=reason, cell=index)

    def _ended_early(self, index: int | None) -> End:
        where = "before its first cell" if index is None else f"while cell {index + 1} was running"
        if index is None and self._has_run:
            where = "between two cells"
        if self._watch.ending is Ending.TIMED_OUT:
            limit = self._watch.limit
            reason = f"The run took longer than its timeout of {limit}; it ended {where}."
            return RunStatus.FAILED, reason, CellError(type="TimedOut", message=reason, cell=index)
        if self._watch.ending is Ending.OUT_OF_MEMORY and self._watch.vitals.limit is not None:
            reason = self._watch.vitals.limit.sentence(where)
            return (
                RunStatus.FAILED,
                reason,
                CellError(type=OUT_OF_MEMORY, message=reason, cell=index),
            )
        return RunStatus.CANCELLED, f"The run was cancelled {where}.", None

    def _finish_cell(self, index: int, status: str) -> None:
        used = self._watch.vitals.cell_finished()
        self._event(
            EventType.CELL_FINISHED,
            cell=index,
            status=status,
            execution_count=self._client.reply.get("execution_count"),
            **({} if used is None else {"usage": used.to_json()}),
        )

    def _show_error(self, index: int, name: str, sentence: str) -> None:
        output: dict[str, Any] = {
            "output_type": "error",
            "ename": name,
            "evalue": sentence,
            "traceback": [sentence],
        }
        self._event(EventType.OUTPUT, cell=index, output=output)

    def _keep_metadata(self) -> None:
        self._client.set_widgets_metadata()
        widgets = self._notebook.metadata.get("widgets")
        if widgets:
            self._event(EventType.METADATA, metadata={"widgets": widgets})


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
