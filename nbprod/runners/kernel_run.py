"""One notebook in one kernel: sends the cells and decides how it ended."""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import zmq
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from nbprod.core.events import Event, EventType
from nbprod.core.runs import CellError, RunStatus
from nbprod.core.scraps import SCRAP_METADATA, SCRAP_MIME_PREFIX
from nbprod.runners.client import JournalingClient
from nbprod.runners.processes import death_pact, explain_exit
from nbprod.runners.watch import Ending, Watch

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
#: messages without a word (of 20,000 displays in a loop 17,000 arrived): that limit goes.
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
try:
    _nbprod_prepare()
except Exception:
    pass
del _nbprod_prepare
"""


#: How often a kernel is started that dies before it answers.
KERNEL_STARTS = 3
#: jupyter_client's word for it, as opposed to one that takes too long.
DIED = "Kernel died before replying"


class KernelRun:
    """Executes one notebook in one kernel. Used once."""

    def __init__(
        self,
        notebook: "NotebookNode",
        *,
        kernel_name: str,
        note: Callable[[Event], None],
        watch: Watch,
        start_timeout: int,
        started: Mapping[str, Any],
    ) -> None:
        self._notebook = notebook
        self._kernel_name = kernel_name
        self._note = note
        self._watch = watch
        self._started = started
        self._client = JournalingClient(
            notebook, note=self._event, kernel_name=kernel_name, startup_timeout=start_timeout
        )
        self._running: int | None = None

    def execute(self) -> End:
        """Run every cell and say how it ended: the status, a sentence, the error if any.

        Raises:
            OSError: when the journal could not be written.
        """
        self._event(
            EventType.RUN_STARTED,
            cells=len(self._notebook.cells),
            kernel=self._kernel_name,
            **self._started,
        )
        client = self._client
        try:
            with self._kernel():
                self._watch.kernel = client.kernel_pid()
                self._prepare_kernel()
                ending = self._run_cells()
                if ending[2] is None:
                    self._keep_metadata()
                return ending
        except OSError:
            raise
        except Exception as error:
            if client.failure is not None:
                raise client.failure from error
            if self._watch.ending is not None:
                return self._ended_early(None)
            logger.exception("the kernel could not be used")
            reason = f"The kernel {self._kernel_name or 'python3'!r} could not be started: {error}"
            return RunStatus.FAILED, reason, CellError(type=type(error).__name__, message=reason)

    @contextmanager
    def _kernel(self) -> Iterator[None]:
        """Start the kernel, once more where it died before it could answer; end it afterwards.

        Whoever starts a kernel picks free TCP ports and the kernel takes them a second later: of
        many that start on one machine, one may find its port taken, and dies of it.
        """
        client = self._client
        with ExitStack() as stack:
            for left in reversed(range(KERNEL_STARTS)):
                manager: Any = client.create_kernel_manager()
                client.km = manager
                manager.context.setsockopt(zmq.RCVHWM, 0)  # the other end of PREPARE_KERNEL
                try:
                    stack.enter_context(client.setup_kernel(**self._binding()))
                    break
                except RuntimeError as error:
                    if not left or self._watch.ending is not None or DIED not in str(error):
                        raise
                    logger.warning("the kernel died as it started; it is started again")
            yield

    def _event(self, kind: EventType, **fields: Any) -> None:
        self._note(Event(type=kind, t=time.time(), fields=fields))

    def _binding(self) -> dict[str, Any]:
        """Return what ties the kernel's life to ours, where the kernel is our child."""
        spec: Any = self._client.km.kernel_spec if self._client.km else None
        provisioner = ((spec.metadata if spec else None) or {}).get("kernel_provisioner") or {}
        if provisioner.get("provisioner_name", "local-provisioner") != "local-provisioner":
            return {}
        return {"preexec_fn": death_pact()}

    def _prepare_kernel(self) -> None:
        client = self._client
        kernel: Any = client.kc
        info = client.wait_for_reply(kernel.kernel_info())
        language = ((info or {}).get("content") or {}).get("language_info") or {}
        if language:
            self._event(EventType.METADATA, metadata={"language_info": language})
        if language.get("name") == "python":
            request = kernel.execute(PREPARE_KERNEL, silent=True, store_history=False)
            client.wait_for_reply(request)

    def _run_cells(self) -> End:
        for index, cell in enumerate(self._notebook.cells):
            if cell.cell_type != "code":
                continue
            if self._watch.ending is not None:
                return self._ended_early(None)
            self._event(EventType.CELL_STARTED, cell=index)
            if SKIP_TAGS & set(cell.metadata.get("tags", [])):
                self._event(EventType.CELL_FINISHED, cell=index, status="skipped")
                continue
            self._running = index
            end = self._run_cell(cell, index)
            self._running = None
            if end is not None:
                return end
        return RunStatus.SUCCEEDED, "Every cell finished.", None

    def _run_cell(self, cell: "NotebookNode", index: int) -> End | None:
        """Run one cell; None when the next one may start."""
        client = self._client
        client.stop_reason = None
        try:
            client.execute_cell(cell, index)
        except CellExecutionError as error:
            if client.failure is not None:
                raise client.failure from error
            return self._cell_raised(index)
        except (DeadKernelError, CellTimeoutError) as error:
            if client.failure is not None:
                raise client.failure from error
            return self._kernel_died(index, error)
        if client.failure is not None:
            raise client.failure
        if any(item.get("source") == "ask_exit" for item in client.reply.get("payload") or []):
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
        if name == "SystemExit":
            return self._exited(index, f"sys.exit({value})")
        self._finish_cell(index, "error")
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
        self._show_error(index, "SystemExit", reason)
        self._finish_cell(index, "error")
        return RunStatus.FAILED, reason, CellError(type="SystemExit", message=reason, cell=index)

    def _kernel_died(self, index: int, error: Exception) -> End:
        if self._watch.ending is not None:
            self._finish_cell(index, "interrupted")
            return self._ended_early(index)
        code = self._client.kernel_exit()
        if code is None:
            kind = "KernelUnreachable"
            reason = f"The kernel stopped answering while cell {index + 1} was running: {error}"
        else:
            kind = "KernelDied"
            reason = f"The kernel died ({explain_exit(code)}) while cell {index + 1} was running."
        self._show_error(index, kind, reason)
        self._finish_cell(index, "error")
        return RunStatus.FAILED, reason, CellError(type=kind, message=reason, cell=index)

    def _ended_early(self, index: int | None) -> End:
        where = "before its first cell" if index is None else f"while cell {index + 1} was running"
        if index is None and self._client.reply:
            where = "between two cells"
        if self._watch.ending is Ending.TIMED_OUT:
            limit = self._watch.limit
            reason = f"The run took longer than its timeout of {limit}; it ended {where}."
            return RunStatus.FAILED, reason, CellError(type="TimedOut", message=reason, cell=index)
        return RunStatus.CANCELLED, f"The run was cancelled {where}.", None

    def _finish_cell(self, index: int, status: str) -> None:
        self._event(
            EventType.CELL_FINISHED,
            cell=index,
            status=status,
            execution_count=self._client.reply.get("execution_count"),
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
