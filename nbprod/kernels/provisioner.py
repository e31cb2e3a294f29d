"""Starts kernels for jupyter_client: forked ones where there can be, cold ones elsewhere.

Entry point `nbprod-warm` of `jupyter_client.kernel_provisioners`: papermill, nbclient, nbconvert
and JupyterLab use it for kernelspecs that name it, such as "Python 3 (warm)".
"""

import asyncio
import copy
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo, LocalPortCache, port_names
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Bool, Float

from nbprod.kernels import client
from nbprod.kernels.launch import NotWarmError
from nbprod.kernels.process import ForkedProcess
from nbprod.kernels.protocol import KERNEL
from nbprod.kernels.readiness import use_quick_client
from nbprod.kernels.settings import find_settings
from nbprod.kernels.standin import TIES_TO_OWNER, check_options, read_command, standard_streams

NAME = "nbprod-warm"
_LOCAL = "local-provisioner"
#: Seconds that a manager polls in, when it waits for a kernel's end.
POLL = 0.1


class WarmProvisioner(LocalProvisioner):
    """A `LocalProvisioner` whose kernels are forked from a zygote where that changes nothing."""

    wait_seconds = Float(
        0.0, help="How long to wait for a zygote that is still importing; a cold kernel else."
    ).tag(config=True)
    is_alone = Bool(
        default_value=False,
        help="Nothing else goes on in the event loop: forking may block it, and is quicker.",
    ).tag(config=True)

    process: Any = None
    why_cold = ""  #: why the last kernel was a cold one
    _starts = 0
    _is_stopping = False
    _has_free_ports = False

    @property
    def is_warm(self) -> bool:
        """Say whether the kernel was forked."""
        return isinstance(self.process, ForkedProcess)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Prepare as `LocalProvisioner` does."""
        manager = self.parent
        # A spare brings its own ports and key. After a restart those that were are expected, by
        # clients that are connected already.
        self._has_free_ports = (
            self._starts == 0
            and manager is not None
            and manager.transport == "tcp"
            and manager.ip == "127.0.0.1"
            and not any(getattr(manager, name) for name in port_names)
        )
        return await super().pre_launch(**kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork a kernel; start a cold one where anything at all keeps that from being done."""
        self._starts += 1
        self._is_stopping = False
        self.why_cold = ""
        try:
            self.process = await self._fork(cmd, kwargs)
        except NotWarmError as error:
            self.why_cold = error.reason
            return await super().launch_kernel(cmd, **kwargs)
        self.pid = self.pgid = self.process.pid  # it leads a session, as a cold kernel does
        self.cwd = kwargs.get("cwd", Path.cwd())
        if self.process.connection_info is not None:
            self._move_to(self.process.connection_info)
        use_quick_client(self.parent)
        return self.connection_info

    async def _fork(self, cmd: Sequence[str], options: Mapping[str, Any]) -> ForkedProcess:
        loop = asyncio.get_running_loop()
        try:
            if self.is_alone:
                return self._fork_now(cmd, options)
            # It may take a while, and a server has other things to do.
            return await loop.run_in_executor(None, partial(self._fork_now, cmd, options))
        except NotWarmError:
            raise
        except Exception as error:
            reason = f"something unforeseen went wrong ({type(error).__name__}: {error})"
            self.log.debug("a kernel could not be forked", exc_info=True)
            unforeseen = NotWarmError(reason)
            client.cold(unforeseen, role="kernel")
            raise unforeseen from error

    def _fork_now(self, cmd: Sequence[str], options: Mapping[str, Any]) -> ForkedProcess:
        environment = dict(options.get("env") or os.environ)
        spec = self.kernel_spec
        try:
            client.check(environment)
            command = read_command(
                cmd, language=spec.language if spec else "", path=environment.get("PATH")
            )
            check_options(options)
        except NotWarmError as error:
            client.cold(error, role="kernel")
            raise
        cwd = os.path.abspath(options.get("cwd") or Path.cwd())  # noqa: PTH100 - links stay
        # As launch_kernel of jupyter_client has it.
        environment["JPY_PARENT_PID"] = str(os.getpid())
        request = client.request_here(
            KERNEL,
            command.argv,
            environment=environment,
            cwd=cwd,
            may_be_spare=self._has_free_ports and not getattr(self.parent, "curve_publickey", None),
        )
        with standard_streams(options) as streams:
            return client.fork(
                request,
                streams,
                role="kernel",
                settings=find_settings(Path(cwd), environment),
                python=command.python,
                wait=client.wait_seconds(self.wait_seconds),
            )

    def _move_to(self, info: Mapping[str, Any]) -> None:
        """Take on the ports and the key of a spare."""
        taken = LocalPortCache.instance()
        own: dict[str, Any] = dict(self.connection_info)
        for name in port_names:
            taken.return_port(own[name])
            # It has them already; after its end a restart will want them again.
            taken.currently_used_ports.add(info[name])
        key = info["key"]
        own |= info
        own["key"] = key if isinstance(key, bytes) else key.encode()
        self.connection_info = cast("KernelConnectionInfo", own)

    async def poll(self) -> int | None:
        """Return the exit status; None while the kernel runs.

        While it is ending, wait a little: whoever polls then sleeps for 100 ms in between.
        """
        if self.is_warm and self._is_stopping:
            return await self._ended(POLL)
        return await super().poll()

    async def wait(self) -> int | None:
        """Wait until the kernel has ended."""
        if not self.is_warm:
            return await super().wait()
        process = self.process
        while (code := await self._ended(POLL)) is None:
            pass
        process.close()
        self.process = None
        return code

    async def shutdown_requested(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 - theirs
        """Note that the kernel is about to end."""
        self._is_stopping = True

    async def kill(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 - theirs
        """Kill the kernel and its process group."""
        self._is_stopping = True
        await super().kill(restart=restart)

    async def terminate(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 - theirs
        """Ask the kernel and its process group to end."""
        self._is_stopping = True
        await super().terminate(restart=restart)

    async def _ended(self, seconds: float) -> int | None:
        """Return the exit status, as soon as there is one; None after `seconds`."""
        process: ForkedProcess | None = self.process
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while process is not None and process.poll() is None:
            left = deadline - loop.time()
            if left <= 0:
                return None
            await _readable(process.descriptors(), left)
        return 0 if process is None else process.returncode


async def _readable(descriptors: Sequence[int], seconds: float) -> None:
    """Wait until there is something to read, or the time is up."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    try:
        for descriptor in descriptors:
            loop.add_reader(descriptor, event.set)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(
                event.wait(), min(seconds, 0.02 if len(descriptors) < 2 else seconds)
            )
    except (NotImplementedError, OSError, ValueError):
        await asyncio.sleep(min(seconds, 0.01))  # a loop that watches no descriptors
    finally:
        for descriptor in descriptors:
            with suppress(NotImplementedError, OSError, ValueError):
                loop.remove_reader(descriptor)


def warm_spec(spec: Any, *, is_alone: bool = False) -> Any:
    """Return a kernelspec whose kernels are forked where they can be: a copy, for one run.

    With `is_alone` forking may block the event loop that the kernel is started in. One that names
    a provisioner of its own stays as it is.
    """
    metadata = dict(spec.metadata or {})
    named = (metadata.get("kernel_provisioner") or {}).get("provisioner_name", _LOCAL)
    if named != _LOCAL:
        return spec
    warm = copy.copy(spec)
    config = {"is_alone": True} if is_alone else {}
    provisioner = {"provisioner_name": NAME, "config": config}
    warm.metadata = metadata | {"kernel_provisioner": provisioner}
    return warm


def tie_to_owner(function: Any) -> Any:
    """Mark a function for `preexec_fn` as one that only ends a kernel with its owner.

    A forked kernel does so by itself and does not need it; a cold one gets it.
    """
    setattr(function, TIES_TO_OWNER, True)
    return function
