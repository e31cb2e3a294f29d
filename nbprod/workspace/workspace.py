"""Workspace: opens nbprod.toml and wires store, artifacts, runner, gates and registry."""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nbprod.core.clock import Clock, SystemClock
from nbprod.core.errors import WorkspaceNotFoundError
from nbprod.core.events import Event
from nbprod.core.ids import new_id
from nbprod.core.json import JSON
from nbprod.core.resources import Resources
from nbprod.core.runs import Run, RunStatus
from nbprod.workspace import lineage as lineages
from nbprod.workspace.inputs import is_model_reference, resolve
from nbprod.workspace.models import Models
from nbprod.workspace.promotion import Decision
from nbprod.workspace.promotion import promote as decide
from nbprod.workspace.records import RunList, RunRecord, load_records
from nbprod.workspace.salvage import salvage
from nbprod.workspace.settings import FILE, Settings, read_settings
from nbprod.workspace.supervise import Supervisor

if TYPE_CHECKING:
    import pandas as pd

    from nbprod.gates.declarations import GateDeclaration
    from nbprod.notebook.binding import Mode
    from nbprod.notebook.discovery import Found
    from nbprod.notebook.template import Template
    from nbprod.registry.registry import Registry
    from nbprod.store.artifacts import Artifacts
    from nbprod.store.store import Store

OnEvent = Callable[[Event], None]


def _ignore(_event: Event) -> None:
    """Do nothing with an event."""


class Workspace:
    """A folder with an nbprod.toml: its templates, runs, models and jobs.

    Args:
        root: the folder that holds nbprod.toml.
        clock: tells the time that new ids begin with.

    Raises:
        SettingsError: nbprod.toml is malformed.
    """

    def __init__(self, root: Path, *, clock: Clock | None = None) -> None:
        self.root = root.resolve()
        self.settings: Settings = read_settings(self.root / FILE)
        self._clock = clock or SystemClock()

    @cached_property
    def store(self) -> "Store":
        """Return the run store, created or checked, with expired runs marked `lost`."""
        from nbprod.store.store import Store

        store = Store.open(self.settings.workspace.store, root=self.root)
        salvage(store, store.expired, self.root)
        return store

    @cached_property
    def artifacts(self) -> "Artifacts":
        """Return the files kept by digest."""
        from nbprod.store.artifacts import Artifacts

        return Artifacts(self.settings.workspace.artifacts, root=self.root)

    @cached_property
    def registry(self) -> "Registry":
        """Return the registry of record."""
        from nbprod.registry.registry import Registry

        return Registry(self.store, self.artifacts, self.root / ".nbprod" / "models")

    @property
    def models(self) -> Models:
        """Return the registered models: `ws.models["subject-router@champion"]`."""
        return Models(self.registry, declared=self.settings.models, actor=self.actor)

    @property
    def templates_folder(self) -> Path:
        """Return the folder of the workspace's own templates."""
        return self.root / self.settings.workspace.templates

    @property
    def jobs_folder(self) -> Path:
        """Return the folder of the workspace's job files."""
        return self.root / self.settings.workspace.jobs

    @property
    def actor(self) -> str:
        """Return who acts, for the record."""
        return f"{lineages.user()}@{lineages.host()}"

    def templates(self) -> "dict[str, Found]":
        """Return every template by name: the workspace's own, then packages', then built-in."""
        from nbprod.notebook.discovery import find_templates

        return find_templates(self.templates_folder)

    def template(self, name_or_path: str | Path) -> "Template":
        """Return a template by name, or any notebook by path.

        Raises:
            UnknownTemplateError: the nearest name is suggested.
        """
        from nbprod.notebook.discovery import find_template

        return find_template(str(name_or_path), folder=self.templates_folder, cwd=Path.cwd())

    def gates(self, model: str) -> "tuple[GateDeclaration, ...]":
        """Return the gates that nbprod.toml declares for `model`."""
        from nbprod.gates.declarations import parse_gates

        table = self.settings.models[model]
        return parse_gates(list(table.gates), where=f"{FILE}, [models.{model}]")

    def run(
        self,
        template: str | Path,
        *,
        parameters: Mapping[str, object] | None = None,
        mode: "Mode | None" = None,
        progress: OnEvent | None = None,
        allow_unknown: bool = False,
        kernel: str = "",
        resources: Resources | None = None,
        job_run: str | None = None,
        step: str | None = None,
    ) -> RunRecord:
        """Execute a template or any papermill notebook, and return its record.

        A run that fails does not raise: look at `status`, `reason` and `error`.

        Args:
            template: name of a template, or path of a notebook.
            parameters: by name; the rest take the template's defaults.
            mode: `Mode.TEXT` coerces text as the command line does; strict by default.
            progress: called with each journal event as it happens; `nbprod.Live` makes sense of
                them: `progress=nbprod.Live(print)`.
            allow_unknown: accept parameters the template does not have, as papermill does.
            kernel: name of a Jupyter kernel to run in, instead of the notebook's own.
            resources: what it needs and may use, where that is not as the template says.
            job_run: id of the job run this belongs to.
            step: the step of that job run.

        Raises:
            NbprodError: unknown template or parameter, wrong value: before anything starts.
            KeyboardInterrupt: Ctrl-C, after the run was recorded as cancelled.
        """
        from nbprod.notebook.binding import Mode
        from nbprod.runners.kernels import require_kernel

        found = self.template(template)
        require_kernel(kernel or found.kernel, template=found.name, language=found.language)
        defaults = {
            parameter.name: parameter.default
            for parameter in found.parameters
            if is_model_reference(parameter.default)
        }
        inputs = resolve(
            defaults | dict(parameters or {}),
            registry=lambda: self.registry,
            tracking_uri=self.settings.mlflow.tracking_uri,
            downloads=self.root / ".nbprod" / "downloads",
        )
        bound = found.bind(inputs.given, mode=mode or Mode.STRICT, allow_unknown=allow_unknown)
        with lineages.GitLook(self.root) as git:
            lineage = lineages.collect(
                template_digest=found.digest,
                values=bound.values,
                models=inputs.models,
                root=self.root,
                environment_digest=self.store.runs.save_environment(lineages.packages()),
                git=git,
            )
        run = Run(
            id=new_id(self._clock.now()),
            template=self._recorded_name(found),
            kind=found.front_matter.kind or "",
            parameters=bound.values,
            lineage=lineage,
            job_run=job_run,
            step=step,
        )
        supervisor = Supervisor(
            store=self.store,
            artifacts=self.artifacts,
            root=self.root,
            lease=self.settings.runs.lease,
            caps=self.settings.runs.caps,
        )
        final = supervisor.execute(
            run,
            found,
            resources=(resources or Resources()).over(found.front_matter.resources),
            injected=bound.source,
            kernel=kernel,
            cwd=self._kernel_folder(found),
            on_event=progress or _ignore,
        )
        return load_records(self.store, [final], root=self.root)[0]

    def _recorded_name(self, template: "Template") -> str:
        """Return the name that runs are listed and filtered by, wherever it was asked from.

        A file that is no template goes by its path below the workspace.
        """
        from nbprod.notebook.template import Origin

        path = template.path.resolve()
        if template.origin is not Origin.FILE or not path.is_relative_to(self.root):
            return template.name
        return path.relative_to(self.root).as_posix()

    def _kernel_folder(self, template: "Template") -> Path:
        """Return where the kernel starts: the notebook's folder, as in JupyterLab.

        A template of an installed package starts in the workspace: nobody opens it where it
        lies, and that folder may be read-only.
        """
        from nbprod.notebook.template import Origin

        is_installed = template.origin in (Origin.PACKAGE, Origin.BUILTIN)
        is_ours = template.path.resolve().is_relative_to(self.root)
        return self.root if is_installed and not is_ours else template.path.resolve().parent

    def watch(self, run: str, *, progress: OnEvent | None = None) -> RunRecord:
        """Follow a run that any process executes, and return it when it is final.

        `progress` gets every event from the run's first; `nbprod.Live` makes sense of them.

        Raises:
            UnknownRunError, AmbiguousRunError: no such run, or several.
        """
        from nbprod.workspace.following import follow

        followed = self.record(run).id
        for event in follow(self.store, self.root, followed):
            if event is not None and progress is not None:
                progress(event)
        return self.record(followed)

    def sweep(
        self,
        template: str | Path,
        *,
        over: Mapping[str, Sequence[object]],
        parameters: Mapping[str, object] | None = None,
        progress: OnEvent | None = None,
    ) -> RunList:
        """Run a template once for each combination of the values in `over`.

        All combinations are bound first, so that a wrong value is refused before any run.
        """
        from nbprod.notebook.binding import Mode

        names = list(over)
        found = self.template(template)
        grid = [
            dict(parameters or {}) | dict(zip(names, values, strict=True))
            for values in itertools.product(*over.values())
        ]
        for given in grid:
            found.bind(given, mode=Mode.STRICT)
        records = [self.run(template, parameters=given, progress=progress) for given in grid]
        return RunList(records, self._frame)

    def runs(
        self,
        *,
        template: str | None = None,
        status: RunStatus | None = None,
        job_run: str | None = None,
        limit: int | None = None,
    ) -> RunList:
        """Return runs, newest first."""
        found = self.store.runs.list(template=template, status=status, job_run=job_run, limit=limit)
        return RunList(load_records(self.store, found, root=self.root), self._frame)

    def record(self, run: str) -> RunRecord:
        """Return a run by its id, any unique beginning of it, "latest" or "latest~2".

        Raises:
            UnknownRunError, AmbiguousRunError: no such run, or several.
        """
        back = re.fullmatch(r"latest(?:~(\d{1,9}))?", run)
        place = int(back[1] or 0) if back else 0
        newest = self.store.runs.list(limit=place + 1) if back else []
        found = newest[place] if len(newest) > place else self.store.runs.get(run)
        if found.status is RunStatus.LOST and not found.notebook_digest:
            salvage(self.store, [found], self.root)  # whoever found it lost died before doing so
            found = self.store.runs.get(found.id)
        return load_records(self.store, [found], root=self.root)[0]

    def _frame(self, ids: Sequence[str]) -> "pd.DataFrame":
        from nbprod.store.frames import frame

        return frame(self.store, ids=ids)

    def promote(
        self,
        name: str,
        *,
        version: int | None = None,
        run: str | None = None,
        evidence: str | None = None,
        dry_run: bool = False,
        override: bool = False,
        reason: str = "",
    ) -> Decision:
        """Promote a version, or the model that a run left, if its gates say so."""
        return decide(
            self,
            name,
            version=version,
            run=run,
            evidence=evidence,
            dry_run=dry_run,
            override=override,
            reason=reason,
        )

    def lineage_of(self, record: RunRecord) -> dict[str, JSON]:
        """Return what a version keeps of the run that made it, as JSON."""
        lineage: dict[str, Any] = asdict(record.lineage)
        return lineage | {
            "run": record.id,
            "template": record.template,
            "notebook": record.notebook.relative_to(self.root).as_posix(),
            "notebook_digest": record.run.notebook_digest,
            "parameters": dict(record.parameters),
            "started_at": record.started_at.isoformat() if record.started_at else None,
        }

    def report(self, run: str) -> Path:
        """Render the page of a run and return its path."""
        from nbprod.workspace.pages import write_run_page

        return write_run_page(self, self.record(run))

    def close(self) -> None:
        """Wait until runs have ended their kernels and given back their GPUs; close the store."""
        from nbprod.workspace.background import wait

        wait()
        if "store" in self.__dict__:
            self.store.close()

    def __enter__(self) -> Self:
        """Return the workspace itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the workspace."""
        self.close()

    def __repr__(self) -> str:
        return f"<workspace {self.settings.workspace.name!r} in {self.root}>"


def open(path: str | Path | None = None) -> Workspace:  # noqa: A001 - read as nbprod.open()
    """Open the workspace that `path`, or the current folder, lies in.

    Raises:
        WorkspaceNotFoundError: no nbprod.toml there or above.
    """
    start = Path(path or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return Workspace(folder)
    raise WorkspaceNotFoundError(start)
