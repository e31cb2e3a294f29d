"""nbclient's client, whose outputs become events of the journal instead of going to a notebook."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete, DeadKernelError

from nbprod.core.events import EventType
from nbprod.core.scraps import PROGRESS_MIME, SCRAP_METADATA, SCRAP_MIME_PREFIX, STOP_MIME
from nbprod.notebook.rendering import is_scrap

if TYPE_CHECKING:
    from nbformat import NotebookNode


class JournalingClient(NotebookClient):
    """Executes cells; `note(type, **fields)` gets every event."""

    def __init__(
        self, notebook: "NotebookNode", *, note: Callable[..., None], **options: Any
    ) -> None:
        # A cell's last messages may lie in the queue for longer than nbclient's 4 s after a flood
        # of outputs; giving up then would lose them silently.
        super().__init__(notebook, iopub_timeout=60, record_timing=False, **options)
        self._note = note
        self._cell_of: dict[str, int] = {}
        self._clears: set[int] = set()
        self._process: Any = None
        self.reply: dict[str, Any] = {}  #: content of the last execute_reply
        self.stop_reason: str | None = None
        self.failure: OSError | None = None  #: the journal's

        def keep_reply(*, execute_reply: Mapping[str, Any], **_: Any) -> None:
            self.reply = dict(execute_reply["content"])

        self.on_cell_executed = keep_reply

    def kernel_pid(self) -> int | None:
        """Return the kernel's pid where it is our child."""
        self._process = getattr(getattr(self.km, "provisioner", None), "process", None)
        return getattr(self._process, "pid", None)

    def kernel_exit(self) -> int | None:
        """Return the exit status of the dead kernel, negative for a signal; None if unknown."""
        return None if self._process is None else self._process.poll()

    async def _async_poll_output_msg(
        self, parent_msg_id: str, cell: "NotebookNode", cell_index: int
    ) -> None:
        """Read messages until the cell is idle.

        Unlike nbclient's own, outputs that a thread of an earlier cell sends now are kept, at that
        cell, and a journal that cannot be written ends the run now and not when the cell does.
        """
        self._cell_of[parent_msg_id] = cell_index
        kernel: Any = self.kc
        while True:
            message = await kernel.iopub_channel.get_msg(timeout=None)
            parent = message["parent_header"].get("msg_id")
            index = self._cell_of.get(parent)
            if index is None:
                continue
            try:
                self.process_message(message, self.nb.cells[index], index)
            except CellExecutionComplete:
                if parent == parent_msg_id:
                    return
            except OSError as error:
                self.failure = error
                if self.task_poll_for_reply is not None:
                    self.task_poll_for_reply.cancel()
                return

    async def _async_poll_kernel_alive(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            try:
                await self._async_check_alive()
            except DeadKernelError:
                # What it sent before it died may still be in the socket.
                await asyncio.sleep(0.2)
                if self.task_poll_for_reply is not None:
                    self.task_poll_for_reply.cancel()
                return

    def process_message(self, msg: dict[str, Any], cell: "NotebookNode", cell_index: int) -> None:
        kind, content = msg["msg_type"], msg["content"]
        display_id = (content.get("transient") or {}).get("display_id")
        match kind:
            case "status":
                if content["execution_state"] == "idle":
                    raise CellExecutionComplete
            case "clear_output":
                self._clear(msg, cell_index)
            case "update_display_data":
                if PROGRESS_MIME in content["data"]:
                    self._progress(content, cell_index)
                else:
                    self._note(
                        EventType.OUTPUT_UPDATED,
                        display_id=display_id,
                        data=content["data"],
                        metadata=content["metadata"],
                    )
            case "stream" | "display_data" | "execute_result" | "error":
                self._output(msg, cell_index, display_id)
            case _ if kind.startswith("comm"):
                self.handle_comm_msg([], msg, cell_index)

    def _progress(self, content: Mapping[str, Any], cell_index: int) -> None:
        self._note(EventType.PROGRESS, cell=cell_index, progress=content["data"][PROGRESS_MIME])

    def _clear(self, msg: dict[str, Any], cell_index: int) -> None:
        hooks = self.output_hook_stack[msg["parent_header"].get("msg_id")]
        if hooks:
            hooks[-1].clear_output([], msg, cell_index)
        elif msg["content"].get("wait"):
            self._clears.add(cell_index)
        else:
            self._note(EventType.OUTPUT_CLEARED, cell=cell_index)

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
            self._note(EventType.OUTPUT_CLEARED, cell=cell_index)
        fields = {} if display_id is None else {"display_id": display_id}
        self._note(EventType.OUTPUT, cell=cell_index, output=output, **fields)


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
