"""Notice sooner that a kernel is ready.

jupyter_client sends `kernel_info` until a reply comes, and then reads its queue of outputs until
there was silence for 200 ms, which is four times what a spare's whole start takes. Here the queue
is read until the kernel says that this very request is done: after that nothing of it can come.
"""

import time
from queue import Empty
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.client import KernelClient
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_async, run_sync

#: Seconds of silence after which a request's end is taken for lost, at first: until the
#: subscription has reached the kernel, it publishes to nobody. Doubled each time.
SILENCE = 0.02
LONGEST_SILENCE = 0.2


async def wait_for_ready(
    self: Any,
    timeout: float | None = None,  # noqa: ASYNC109 - theirs
) -> None:
    """Wait until the kernel answers and nothing of the answering is left in a queue.

    Raises:
        RuntimeError: it died, or took more than `timeout` seconds.
    """
    if not isinstance(self.parent, KernelManager):
        await KernelClient._async_wait_for_ready(self, timeout)
        return
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    silence = SILENCE
    while not await _is_answered(self, silence=silence):
        if not await self._async_is_alive():
            raise RuntimeError("Kernel died before replying to kernel_info")
        if time.monotonic() > deadline:
            raise RuntimeError(f"Kernel didn't respond in {timeout:.0f} seconds")
        silence = min(2 * silence, LONGEST_SILENCE)


async def _is_answered(client: Any, *, silence: float) -> bool:
    request = client.kernel_info()
    try:
        while True:
            reply = await ensure_async(client.shell_channel.get_msg(timeout=1))
            is_ours = reply["parent_header"].get("msg_id") == request
            if is_ours and reply["msg_type"] == "kernel_info_reply":
                break
        while True:
            output = await ensure_async(client.iopub_channel.get_msg(timeout=silence))
            is_ours = output["parent_header"].get("msg_id") == request
            if is_ours and output["content"].get("execution_state") == "idle":
                break
    except Empty:
        return False
    client._handle_kernel_info_reply(reply)
    return True


class QuickAsyncClient(AsyncKernelClient):
    """jupyter_client's asynchronous client, ready sooner."""

    wait_for_ready = wait_for_ready


class QuickBlockingClient(BlockingKernelClient):
    """jupyter_client's blocking client, ready sooner."""

    wait_for_ready = run_sync(wait_for_ready)


_QUICK: dict[Any, Any] = {
    AsyncKernelClient: QuickAsyncClient,
    BlockingKernelClient: QuickBlockingClient,
}


def use_quick_client(manager: Any) -> None:
    """Have a manager make quicker clients, unless it makes ones of its own."""
    quick = _QUICK.get(getattr(manager, "client_factory", None))
    if quick is not None:
        manager.client_factory = quick
