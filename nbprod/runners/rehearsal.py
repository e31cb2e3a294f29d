"""An attempt played through before there is one, in a process that waits to become it.

Code that runs for the first time in a fork copies the pages it lies on and fills caches: 15 ms of
an attempt's 50. Everything of it is walked here but the kernel, whose part is read out to it, and
the disk.
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from nbprod.core.events import Event
from nbprod.core.runner import AttemptRequest
from nbprod.runners.kernel import RECONNECT_MS, Kernel, KernelEnd

if TYPE_CHECKING:
    from jupyter_client.manager import KernelManager

_PORTS = ("shell_port", "iopub_port", "control_port")
_NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "id": "said", "metadata": {}, "source": "# Rehearsal"},
        {
            "cell_type": "code",
            "id": "played",
            "metadata": {"tags": []},
            "source": "print()",
            "execution_count": None,
            "outputs": [],
        },
    ],
    "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}
_DESCRIPTION = {"status": "ok", "language_info": {"name": "python", "version": "3"}}


def rehearse() -> None:
    """Play an attempt through. All that it leaves behind is the event loop of this thread."""
    import nbformat
    import papermill
    from papermill.engines import papermill_engines

    from nbprod.notebook.injection import inject
    from nbprod.notebook.rendering import Rendering, as_bytes
    from nbprod.runners.engine import Attempt, NbprodEngine
    from nbprod.runners.outcome import Outcome

    here = Path("/")
    request = AttemptRequest.from_json(
        json.loads(
            json.dumps(
                AttemptRequest(
                    run="",
                    template="",
                    fence=0,
                    folder=here,
                    notebook=here,
                    parameters={},
                    injected="",
                    cwd=here,
                    workspace=here,
                ).to_json()
            )
        )
    )
    papermill_engines.register("nbprod", NbprodEngine)
    template = nbformat.reads(json.dumps(_NOTEBOOK), as_version=4)
    outcome = Outcome(rendering=Rendering(template))
    attempt = Attempt(record=_record, outcome=outcome, caps=request.caps, kernel=RehearsedKernel)
    try:
        papermill.execute_notebook(
            inject(template, source="x = 1", parameters={"x": 1}),
            None,
            engine_name="nbprod",
            cwd=here,
            progress_bar=False,
            request_save_on_cell_execute=False,
            attempt=attempt,
        )
        assert outcome.rendering is not None
        as_bytes(outcome.rendering.notebook())
    finally:
        outcome.end_kernel()


def _record(event: Event) -> None:
    event.line().encode("utf-8", "backslashreplace")


class RehearsedKernel(Kernel):
    """A kernel without a process: it is in this one, and answers when it is listened to."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._context: zmq.Context[Any] = zmq.Context()
        self._context.linger = 0
        self._theirs: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        """Return this process's: what it uses is measured."""
        return os.getpid()

    def launch(self) -> None:
        """Prepare a kernel's start in every way but the start, and connect to ourselves."""
        from jupyter_client.manager import KernelManager

        manager = KernelManager(kernel_name=self.name, context=self._context)
        _prepare(manager)
        self._context.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        # At no port: who looks for a kernel of theirs that is yet to take its port would find us
        # there, and with a socket of another kind ZeroMQ gives up for good.
        manager.transport, manager.ip = "ipc", f"@nbprod-rehearsal-{os.getpid()}"
        for number, name in enumerate(_PORTS):
            socket = self._context.socket(zmq.PUB if name == "iopub_port" else zmq.ROUTER)
            socket.bind(f"ipc://{manager.ip}-{number}")
            setattr(manager, name, number)
            self._theirs[name] = socket
        self._poller.register(self._theirs["shell_port"], zmq.POLLIN)
        manager._connect_control_socket()
        manager._close_control_socket()
        client = self._client = manager.client(context=self._context)
        client.start_channels(stdin=False, hb=False)
        for channel in (client.shell_channel, client.iopub_channel):
            self._poller.register(channel.socket, zmq.POLLIN)

    def end(self, *, patience: float) -> KernelEnd:
        """Close everything."""
        if self._client is not None:
            self._client.stop_channels()
        self._context.destroy(linger=0)
        return KernelEnd(seconds=0.0, how="graceful", code=0)

    def _wait(self, timeout: float | None) -> dict[Any, int]:
        self._answer()
        return super()._wait(timeout)

    def _is_alive(self) -> bool:
        return True

    def _answer(self) -> None:
        """Answer what has been asked, as a kernel does."""
        shell, iopub = self._theirs["shell_port"], self._theirs["iopub_port"]
        session = self.client.session
        while shell.poll(0):
            who, parts = session.feed_identities(shell.recv_multipart())
            parent = session.deserialize(parts)
            kind = parent["msg_type"].replace("request", "reply")
            content = _DESCRIPTION if kind.startswith("kernel") else {"status": "ok"}
            session.send(iopub, "status", {"execution_state": "busy"}, parent)
            session.send(iopub, "stream", {"name": "stdout", "text": "\n"}, parent)
            session.send(shell, kind, content, parent, ident=who)
            session.send(iopub, "status", {"execution_state": "idle"}, parent)


def _prepare(manager: "KernelManager") -> None:
    from jupyter_client.connect import LocalPortCache
    from jupyter_client.provisioning.factory import KernelProvisionerFactory
    from jupyter_core.utils import run_sync

    from nbprod.kernels.key import zygote_key
    from nbprod.kernels.provisioner import warm_spec
    from nbprod.kernels.request import request_here
    from nbprod.kernels.settings import find_settings

    async def nothing() -> None:
        pass

    run_sync(nothing)()  # its event loop stays with this thread
    spec = manager._kernel_spec = warm_spec(manager.kernel_spec, is_alone=True)
    KernelProvisionerFactory.instance(parent=manager.parent).create_provisioner_instance(
        "", spec, parent=manager
    )
    manager.format_kernel_cmd()
    ports = LocalPortCache.instance()
    ports.return_port(ports.find_available_port("127.0.0.1"))
    environment = dict(os.environ)
    zygote_key("kernel", python=sys.executable, preload=None, environment=environment)
    request_here("kernel", [], environment=environment, cwd="/")
    find_settings(Path("/"), environment)
