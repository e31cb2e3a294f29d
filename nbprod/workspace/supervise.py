"""Take one run from claimed to final: lease, heartbeat, devices, attempt, scraps, finish."""

import logging
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from nbprod.core.errors import ArtifactChangedError, NbprodError, RunExistsError
from nbprod.core.events import Event
from nbprod.core.ids import redrawn
from nbprod.core.outputs import OutputCaps
from nbprod.core.plugins import installed
from nbprod.core.resources import Gpus, Resources
from nbprod.core.runner import (
    OUTPUTS_FOLDER,
    AttemptRequest,
    AttemptResult,
    Runner,
    SettlingRunner,
)
from nbprod.core.runs import CellError, Run, RunStatus
from nbprod.core.scraps import Scrap
from nbprod.workspace import lineage as lineages
from nbprod.workspace.background import go_on, wait
from nbprod.workspace.heartbeat import beating
from nbprod.workspace.salvage import SNAPSHOT_FILE
from nbprod.workspace.signals import cancelled_by_signals

if TYPE_CHECKING:
    from nbprod.core.resources import Gpu
    from nbprod.notebook.template import Template
    from nbprod.store.artifacts import Artifacts
    from nbprod.store.store import Store

logger = logging.getLogger(__name__)
StoredFile = tuple[str, str, int]
#: Fence of a run that is inserted already claimed, and so the name of its attempt's folder.
_FIRST = 1


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or a closed terminal ended a run, and that is on record."""

    def __init__(self, run: str) -> None:
        super().__init__(run)
        self.run = run  #: its id


def owner_name() -> str:
    """Return who holds a lease: host, process, and a token, since process ids are used again."""
    return f"{lineages.host()}/{os.getpid()}/{secrets.token_hex(4)}"


def kernel_variables() -> dict[str, str]:
    """Return the variables that the kernel of every run has, beside those of its resources.

    Threads that spin while they wait for each other take the cores from whoever they wait for, and
    a headless run shares its machine. OpenMP reads this once, when a library like torch loads it.
    """
    return {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """What executing a run needs. It alone moves the run's row while the attempt lives."""

    store: "Store"
    artifacts: "Artifacts"
    root: Path
    lease: timedelta
    caps: OutputCaps = field(default_factory=OutputCaps)  #: for templates that do not say

    def execute(
        self,
        run: Run,
        template: "Template",
        *,
        resources: Resources,
        injected: str,
        kernel: str = "",
        cwd: Path,
        on_event: Callable[[Event], None],
    ) -> Run:
        """Insert `run` already claimed, execute it, and return it final.

        Its kernel may still be about to end then: that, and giving back its GPUs, goes on in the
        background.

        Ctrl-C cancels the attempt, records the run as cancelled and then raises
        RunInterrupted, so that a sweep or a job around it ends too.
        """
        run = self._insert(run)
        cancel, ending = threading.Event(), threading.Event()
        gpus: tuple[Gpu, ...] = ()
        with cancelled_by_signals(cancel) as interrupted, ExitStack() as held:
            try:
                # Before it has its devices: those may be waited for longer than the lease lasts.
                beats = beating(
                    lambda: self._renew(run, has_devices=bool(gpus)),
                    lease=self.lease,
                    holder=f"run {run.id}",
                    on_lost=cancel.set,
                )
                ending = held.enter_context(beats)
                gpus = self._take_devices(run, template, resources)
                if gpus:
                    held.callback(self.store.gpus.release, run.id, run.fence)
                request = self._prepare(run, template, injected=injected, cwd=cwd, gpus=gpus)
                request = replace(
                    request,
                    kernel=kernel,
                    timeout=resources.timeout,
                    memory_bytes=resources.memory_bytes,
                )
                result = self._attempt(run, request, on_event, cancel)
            except BaseException as error:
                ending.set()
                self._give_up(run, error)
                raise
            ending.set()
            try:
                final = self._finish(run, result, request.folder)
            finally:
                if result.rest is not None:
                    held.callback(result.rest)  # before its devices are given back
                    go_on(f"the end of run {run.id}", held.pop_all().close)
        if interrupted.is_set():
            raise RunInterrupted(final.id)
        return final

    def _insert(self, run: Run) -> Run:
        """Insert `run` claimed: under another id where someone drew the same in this second."""
        while True:
            run = replace(run, folder=f".nbprod/runs/{run.id}/{_FIRST}")
            try:
                return self.store.runs.insert(run, owner=owner_name(), lease=self.lease)
            except RunExistsError:
                run = replace(run, id=redrawn(run.id))

    def _take_devices(
        self, run: Run, template: "Template", resources: Resources
    ) -> "tuple[Gpu, ...]":
        from nbprod.runners.gpus import inventory

        # A notebook without front matter says nothing of what it needs: as in JupyterLab, it may
        # have a GPU, one if there is one. A template that asks for none gets none.
        says_nothing = template.front_matter == type(template.front_matter)()
        wanted = resources.gpus
        if says_nothing and wanted == Gpus():
            wanted = Gpus(preferred=1)
        if not (wanted.required or wanted.preferred):
            return ()
        here = inventory()
        if not (here or wanted.required):
            return ()  # one if there is one, and there is none
        wait()  # until the runs before it in this process have given theirs back
        return self.store.gpus.take(
            lineages.host(),
            here,
            required=wanted.required,
            preferred=wanted.preferred,
            run=run.id,
            fence=run.fence,
            lease=self.lease,
        )

    def _prepare(
        self,
        run: Run,
        template: "Template",
        *,
        injected: str,
        cwd: Path,
        gpus: "tuple[Gpu, ...]",
    ) -> AttemptRequest:
        from nbprod.runners.gpus import environment

        folder = self.root / run.folder
        folder.mkdir(parents=True, exist_ok=True)
        snapshot = folder / SNAPSHOT_FILE
        # Not synced: a machine that stops now has forgotten the run as well.
        unfinished = snapshot.with_suffix(".part")
        unfinished.write_bytes(template.snapshot())
        unfinished.replace(snapshot)
        return AttemptRequest(
            run=run.id,
            template=run.template,
            fence=run.fence,
            folder=folder,
            notebook=snapshot,
            parameters=run.parameters,
            injected=injected,
            cwd=cwd,
            workspace=self.root,
            environment=kernel_variables() | environment(gpus),
            contract=tuple(template.front_matter.scraps),
            caps=self.caps.with_limits(template.front_matter.outputs),
            artifacts=self.artifacts.url,
        )

    def _attempt(
        self,
        run: Run,
        request: AttemptRequest,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> AttemptResult:
        runner: Runner = installed("nbprod.runners")["local"].load()()
        tell = _unfailing(on_event)

        def relay(event: Event) -> None:
            if event.type == "run_started" and isinstance(pid := event.fields.get("pid"), int):
                self.store.runs.started(
                    run.id,
                    run.fence,
                    pid=pid,
                    pid_started=_started_at(pid),
                    folder=run.folder,
                )
            tell(event)

        execute = runner.settle if isinstance(runner, SettlingRunner) else runner.execute
        return execute(request, on_event=relay, cancel=cancel)

    def _finish(self, run: Run, result: AttemptResult, folder: Path) -> Run:
        from nbprod.notebook.scraps import read_scraps

        status, reason, error = result.status, result.reason, result.error
        scraps: Mapping[str, Scrap] = {}
        files: list[StoredFile] = []
        if result.notebook is not None:
            scraps = read_scraps(result.notebook)
            try:
                files = self._store_sidecars(run, scraps, folder)
            except ArtifactChangedError as changed:
                status, reason = RunStatus.FAILED, str(changed)
                error = CellError(type="ArtifactChanged", message=reason)
            except (NbprodError, OSError) as problem:
                unkept = _unkept(result.reason, problem)
                reason, error = unkept.message.splitlines()[0], error or unkept
                status = RunStatus.FAILED if status is RunStatus.SUCCEEDED else status
        return self.store.runs.finish(
            run.id,
            run.fence,
            status=status,
            reason=reason,
            error=error,
            scraps=list(scraps.values()),
            artifacts=files,
            notebook_digest=result.notebook_digest,
            usage=result.usage,
        )

    def _store_sidecars(
        self, run: Run, scraps: Mapping[str, Scrap], folder: Path
    ) -> list[StoredFile]:
        """Put away, by digest, the files that scraps refer to, checked, and outputs too large."""
        stored: dict[str, StoredFile] = {}
        for scrap in scraps.values():
            if scrap.sidecar is None:
                continue
            for name, expected in scrap.sidecar.files.items():
                relative = f"{scrap.sidecar.path}/{name}" if name else scrap.sidecar.path
                if relative in stored:
                    continue
                path = folder / relative
                if not path.is_file():
                    raise ArtifactChangedError(run.id, relative)
                digest, size = self.artifacts.put_file(path)
                if digest != expected:
                    raise ArtifactChangedError(run.id, relative)
                stored[relative] = (relative, digest, size)
        for path in sorted((folder / OUTPUTS_FOLDER).glob("*")):
            relative = f"{OUTPUTS_FOLDER}/{path.name}"
            stored[relative] = (relative, *self.artifacts.put_file(path))
        return list(stored.values())

    def _give_up(self, run: Run, error: BaseException) -> None:
        """Record that the supervisor itself failed; if even that cannot be written, the lease will.

        The row then stays `running` until its lease runs out, and the next open makes it `lost`.
        """
        is_cancelled = isinstance(error, KeyboardInterrupt)
        try:
            self.store.runs.finish(
                run.id,
                run.fence,
                status=RunStatus.CANCELLED if is_cancelled else RunStatus.FAILED,
                reason="Stopped by Ctrl-C." if is_cancelled else str(error),
                error=CellError(type=type(error).__name__, message=str(error)),
                scraps=[],
                artifacts=[],
                notebook_digest="",
            )
        except Exception as second:  # noqa: BLE001 - the first error is the one to raise
            logger.warning("run %s could not be recorded as failed: %s", run.id, second)

    def _renew(self, run: Run, *, has_devices: bool) -> bool:
        is_mine = self.store.runs.heartbeat(run.id, run.fence, lease=self.lease)
        if has_devices:
            self.store.gpus.renew(run.id, run.fence, lease=self.lease)
        return is_mine


def _unfailing(on_event: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return `on_event`, silenced for good once it raises.

    Who watches a run must not decide how it ends: a closed pipe or terminal fails every write.
    """
    is_told = True

    def tell(event: Event) -> None:
        nonlocal is_told
        if not is_told:
            return
        try:
            on_event(event)
        except Exception as error:  # noqa: BLE001 - a callback may raise anything
            is_told = False
            logger.warning("progress is shown no further: %s: %s", type(error).__name__, error)

    return tell


def _unkept(ended: str, problem: NbprodError | OSError) -> CellError:
    """Say that an attempt has ended and what it left could not be put away."""
    lines = str(problem).splitlines()
    lines[0] = f"{ended} The files it left could not be kept: {lines[0]}"
    name = type(problem).__name__.removesuffix("Error")
    return CellError(type=name, message="\n".join(lines))


def _started_at(pid: int) -> float:
    """Return when that process was created: together with its id, this names it for good."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0.0
