"""Sends a cell to the kernel and turns what comes back into events of the journal."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbclient import NotebookClient

from nbprod.core.events import EventType
from nbprod.core.scraps import PROGRESS_MIME, SCRAP_METADATA, SCRAP_MIME_PREFIX, STOP_MIME
from nbprod.notebook.notes import is_scrap
from nbprod.runners.kernel import Kernel
from nbprod.runners.outputs import Outputs

if TYPE_CHECKING:
    from nbformat import NotebookNode

logger = logging.getLogger(__name__)

#: Seconds that a cell's last outputs may stay away after its result: after a flood of outputs
#: they lie in the queue for long, and giving up would lose them silently.
LAST_OUTPUTS = 60.0


class CellTimedOutError(Exception):
    """A cell ran for longer than one cell may. Internal."""


@dataclass(slots=True)
class _Request:
    """A cell under way."""

    id: str
    answer: dict[str, Any] | None = None  #: content of its execute_reply
    is_idle: bool = False


class JournalingClient(NotebookClient):
    """Executes cells; `note(type, **fields)` gets every event, outputs on the way of `outputs`.

    Of nbclient's client it uses the part that stands in for a front end: the state of widgets,
    and the output widgets that take outputs for themselves.
    """

    def __init__(
        self,
        notebook: "NotebookNode",
        *,
        note: Callable[..., None],
        outputs: Outputs,
        heard: Callable[[Mapping[str, Any]], None] | None = None,
        tick: Callable[[], float | None] = lambda: None,
    ) -> None:
        super().__init__(notebook)
        self._note = note
        self._outputs = outputs
        self._heard = heard
        #: Called between messages; returns in how many seconds it wants to be called at the latest.
        self._tick = tick
        self._kernel: Kernel | None = None
        self._cell_of: dict[str, int] = {}
        self._clears: set[int] = set()
        self.reply: dict[str, Any] = {}  #: content of the last cell's execute_reply
        self.stop_reason: str | None = None

    def use(self, kernel: Kernel) -> None:
        """Send cells to this kernel, which has started."""
        self._kernel = kernel
        self.kc = kernel.client

    def run_cell(
        self, source: str, index: int, *, keeps_going: bool = False, timeout: float | None = None
    ) -> dict[str, Any]:
        """Run one cell and return the kernel's answer, when all its outputs are noted.

        Args:
            source: its code.
            index: its number in the notebook, from 0.
            keeps_going: an error in it is expected.
            timeout: seconds it may take.

        Raises:
            KernelGoneError: the kernel died.
            CellTimedOutError: the cell runs still.
        """
        assert self._kernel is not None
        self.stop_reason, self.reply = None, {}
        code = self._kernel.client.execute(source, stop_on_error=not keeps_going)
        request = _Request(code)
        self._cell_of[request.id] = index
        self._kernel.is_busy = True
        try:
            self._listen(request, index, timeout)
        finally:
            self._outputs.finish()
        self._kernel.is_busy = False
        self.reply = request.answer or {}
        return self.reply

    def _listen(self, request: _Request, index: int, timeout: float | None) -> None:
        assert self._kernel is not None
        deadline = None if timeout is None else time.monotonic() + timeout
        while request.answer is None or not request.is_idle:
            wake = _soonest(self._tick(), self._outputs.tick())
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                if request.answer is None:
                    raise CellTimedOutError
                logger.warning("cell %d: the end of its outputs did not come", index + 1)
                break
            for channel, message in self._kernel.messages(_soonest(wake, left)):
                if channel == "iopub":
                    self._take(message, request)
                    if request.answer is not None:  # they still come
                        deadline = time.monotonic() + LAST_OUTPUTS
                elif message["parent_header"].get("msg_id") == request.id:
                    request.answer = message["content"]
                    deadline = time.monotonic() + LAST_OUTPUTS

    def _take(self, message: dict[str, Any], request: _Request) -> None:
        """Note an output. One of an earlier cell's thread is kept, at that cell."""
        parent = message["parent_header"].get("msg_id")
        index = self._cell_of.get(parent)
        if index is None:
            return
        kind, content = message["msg_type"], message["content"]
        if kind != "status":
            self._note_message(message, index)
        elif parent == request.id and content["execution_state"] == "idle":
            request.is_idle = True

    def _note_message(self, msg: dict[str, Any], cell_index: int) -> None:
        kind, content = msg["msg_type"], msg["content"]
        display_id = (content.get("transient") or {}).get("display_id")
        match kind:
            case "clear_output":
                self._clear(msg, cell_index)
            case "update_display_data":
                if PROGRESS_MIME in content["data"]:
                    self._progress(content, cell_index)
                else:
                    new = {"data": content["data"], "metadata": content["metadata"]}
                    self._outputs.update(cell_index, display_id, new)
            case "stream" | "display_data" | "execute_result" | "error":
                self._output(msg, cell_index, display_id)
            case _ if kind.startswith("comm"):
                self._comm(msg, cell_index)

    def _comm(self, msg: dict[str, Any], cell_index: int) -> None:
        try:
            self.handle_comm_msg([], msg, cell_index)
        except Exception as error:  # noqa: BLE001 - anyone may open a comm and send what they like
            logger.warning("cell %d: a comm was not understood: %s", cell_index + 1, error)

    def _progress(self, content: Mapping[str, Any], cell_index: int) -> None:
        self._note(EventType.PROGRESS, cell=cell_index, progress=content["data"][PROGRESS_MIME])

    def _clear(self, msg: dict[str, Any], cell_index: int) -> None:
        hooks = self.output_hook_stack[msg["parent_header"].get("msg_id")]
        if hooks:
            hooks[-1].clear_output([], msg, cell_index)
        elif msg["content"].get("wait"):
            self._clears.add(cell_index)
        else:
            self._outputs.clear(cell_index)

    def _output(self, msg: dict[str, Any], cell_index: int, display_id: str | None) -> None:
        content = msg["content"]
        data = content.get("data") or {}
        if PROGRESS_MIME in data:
            self._progress(content, cell_index)
            return
        if STOP_MIME in data:
            self.stop_reason = str(data[STOP_MIME].get("reason", ""))
            return
        output = _output_of(msg)
        if is_scrap(output):
            name = _scrap_name(output)
            self._outputs.flush()
            self._note(EventType.SCRAP, cell=cell_index, name=name, output=output)
            return
        is_exit = output.get("ename") == "SystemExit" and not output["evalue"]
        if is_exit and self.stop_reason is not None:
            return  # nbprod.stop: the STOPPED event says it better
        hooks = self.output_hook_stack[msg["parent_header"].get("msg_id")]
        if hooks:
            hooks[-1].output([], msg, display_id, cell_index)
            return
        if cell_index in self._clears:
            self._clears.discard(cell_index)
            self._outputs.clear(cell_index)
        if self._heard is not None:
            self._heard(output)
        self._outputs.add(cell_index, output, display_id)


def _soonest(*seconds: float | None) -> float | None:
    return min((each for each in seconds if each is not None), default=None)


def _output_of(msg: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as nbformat's output, without nbformat's validation.

    It raises on mime types that libraries do send, and that would end the run.
    """
    content = msg["content"]
    match msg["msg_type"]:
        case "stream":
            return {"output_type": "stream", "name": content["name"], "text": content["text"]}
        case "error":
            return {
                "output_type": "error",
                "ename": content["ename"],
                "evalue": content["evalue"],
                "traceback": list(content["traceback"]),
            }
        case "execute_result":
            return {
                "output_type": "execute_result",
                "data": content["data"],
                "metadata": content["metadata"],
                "execution_count": content["execution_count"],
            }
        case _:
            return {
                "output_type": "display_data",
                "data": content["data"],
                "metadata": content["metadata"],
            }


def _scrap_name(output: Mapping[str, Any]) -> str:
    marks = output["metadata"].get(SCRAP_METADATA) or {}
    if marks.get("name"):
        return str(marks["name"])
    for mime, payload in output["data"].items():
        if mime.startswith(SCRAP_MIME_PREFIX) and isinstance(payload, Mapping):
            return str(payload.get("name", ""))
    return ""
