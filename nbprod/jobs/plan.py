"""Check a whole job before any of it runs: templates, parameters, references, models, gates."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from nbprod.core.errors import JobFileError, JobReferenceError, NbprodError
from nbprod.core.errors.notebook import UnknownParameterError, suggest
from nbprod.core.json import JSON
from nbprod.core.scraps import ScrapType
from nbprod.jobs.file import JobFile, Step, StepKind, shown
from nbprod.jobs.references import (
    JOB,
    JOB_FIELDS,
    MalformedReference,
    Reference,
    references_in,
)

if TYPE_CHECKING:
    from nbprod.notebook.template import Template
    from nbprod.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step that has been checked, with the template it runs."""

    step: Step
    template: "Template | None" = None  #: of a run step

    @property
    def what(self) -> str:
        """Return what `Workspace.run` is asked for: a name, or an absolute path."""
        from nbprod.notebook.template import SUFFIXES

        assert self.template is not None
        is_path = Path(self.step.target).suffix in SUFFIXES
        return str(self.template.path.resolve()) if is_path else self.step.target


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A job that can run."""

    job: JobFile
    steps: tuple[PlannedStep, ...]


def plan_job(workspace: "Workspace", job: JobFile) -> Plan:
    """Check everything that can be known before the job runs.

    Raises:
        JobFileError: naming the file, the line and the step.
    """
    return _Planner(workspace, job).plan()


class _Planner:
    """Goes through the steps in order; what it has seen is what a step may refer to."""

    def __init__(self, workspace: "Workspace", job: JobFile) -> None:
        self.workspace = workspace
        self.job = job
        self.seen: dict[str, PlannedStep] = {}

    def plan(self) -> Plan:
        for step in self.job.steps:
            match step.kind:
                case StepKind.RUN:
                    self.seen[step.id] = self.run_step(step)
                case StepKind.PROMOTE:
                    self.promote_step(step)
                    self.seen[step.id] = PlannedStep(step=step)
                case StepKind.REPORT:
                    self.seen[step.id] = PlannedStep(step=step)
        return Plan(job=self.job, steps=tuple(self.seen.values()))

    def run_step(self, step: Step) -> PlannedStep:
        template = self.template(step)
        referring = set()
        for name, value in step.parameters.items():
            for reference in self.references(step, name, value):
                self.check_reference(step, name, reference)
                referring.add(name)
        self.check_parameters(step, template, referring)
        return PlannedStep(step=step, template=template)

    def template(self, step: Step) -> "Template":
        from nbprod.notebook.discovery import find_template

        try:
            # Paths in a job file are the workspace's, wherever the command is typed.
            return find_template(
                step.target,
                folder=self.workspace.templates_folder,
                cwd=self.workspace.root,
            )
        except NbprodError as error:
            self.fail(step, ("run",), f"step {step.id!r}: {error.what}", why=error.why)

    def check_parameters(self, step: Step, template: "Template", referring: set[str]) -> None:
        """Bind what is known strictly; parameters that hold a reference only need to exist."""
        from nbprod.notebook.binding import Mode
        from nbprod.runners.kernels import require_kernel

        known = [parameter.name for parameter in template.parameters]
        try:
            for name in sorted(referring):
                is_read = template.has_parameters_cell and template.is_python
                if is_read and name not in known:
                    raise UnknownParameterError(template.name, name, known)
            kept = tuple(found for found in template.parameters if found.name not in referring)
            replace(template, parameters=kept).bind(
                {
                    name: value
                    for name, value in step.parameters.items()
                    if name not in referring or not template.has_parameters_cell
                },
                mode=Mode.STRICT,
            )
            require_kernel(template.kernel, template=template.name, language=template.language)
        except NbprodError as error:
            name = str(getattr(error, "name", ""))
            at = ("parameters", name) if name in step.parameters else ("parameters",)
            self.fail(step, at, f"step {step.id!r}: {error.what}", why=error.why)
        self.check_models(step, template, referring)

    def check_models(self, step: Step, template: "Template", referring: set[str]) -> None:
        """Refuse `registry:NAME@ALIAS` that does not exist and that no earlier step can make."""
        promoted = {
            planned.step.target
            for planned in self.seen.values()
            if planned.step.kind is StepKind.PROMOTE
        }
        for name, value in step.parameters.items():
            if name in referring or not isinstance(value, str) or not value.startswith("registry:"):
                continue
            wanted = value.removeprefix("registry:")
            if wanted.endswith("?") or wanted.partition("@")[0] in promoted:
                continue
            try:
                is_there = self.workspace.registry.find(wanted) is not None
            except NbprodError as error:
                self.fail(step, ("parameters", name), f"step {step.id!r}: {error.what}")
            if not is_there:
                self.fail(
                    step,
                    ("parameters", name),
                    f"step {step.id!r}: {value} does not exist.",
                    why="End it with ? to let the template go without.",
                )

    def references(self, step: Step, parameter: str, value: JSON) -> Iterator[Reference]:
        try:
            yield from references_in(value)
        except MalformedReference as error:
            self.fail(
                step,
                ("parameters", parameter),
                f"step {step.id!r}: {str(error)!r} is no reference.",
                why="A reference is ${STEP.SCRAP}, ${job.number} or ${job.run}; "
                "write $${ for a ${ that means itself.",
            )

    def check_reference(self, step: Step, parameter: str, reference: Reference) -> None:
        at = ("parameters", parameter)
        says = f"step {step.id!r} refers to {reference}"
        if reference.step == JOB:
            if reference.name not in JOB_FIELDS:
                fields = " and ".join(f"${{job.{name}}}" for name in JOB_FIELDS)
                self.refuse(step, at, f"{says}, but a job has only {fields}.")
            return
        if reference.step == step.id:
            self.refuse(step, at, f"{says}, which is itself.", why=self.order())
        if reference.step not in self.seen:
            if self.job.step(reference.step) is not None:
                self.refuse(
                    step, at, f"{says}, but {reference.step!r} runs later.", why=self.order()
                )
            hint = suggest(reference.step, tuple(step.id for step in self.job.steps))
            self.refuse(step, at, f"{says}, but there is no such step.{hint}", why=self.order())
        self.check_scrap(step, at, reference, says)

    def check_scrap(self, step: Step, at: tuple[str, ...], reference: Reference, says: str) -> None:
        """Refuse a scrap that the step's template does not declare; one without contract may."""
        template = self.seen[reference.step].template
        if template is None:
            kind = self.seen[reference.step].step.kind
            self.refuse(step, at, f"{says}, but a {kind} step leaves no scraps.")
        declared = [scrap.name for scrap in template.front_matter.scraps]
        if declared and reference.name not in declared:
            self.refuse(
                step,
                at,
                f"{says}, but {template.name} declares no scrap {reference.name!r}."
                f"{suggest(reference.name, declared)}",
                why=f"Its scraps: {', '.join(declared)}.",
            )

    def promote_step(self, step: Step) -> None:
        declared = self.workspace.settings.models
        if step.target not in declared:
            self.fail(
                step,
                ("promote",),
                f"step {step.id!r} promotes {step.target!r}, which nbprod.toml does not declare."
                f"{suggest(step.target, tuple(declared))}",
                why=f"Declared models: {', '.join(sorted(declared)) or 'none'}.",
            )
        self.workspace.gates(step.target)
        self.check_source(step, "from", step.candidate)
        if step.evidence:
            self.check_source(step, "evidence", step.evidence)
        template = self.seen[step.candidate].template
        scraps = template.front_matter.scraps if template else ()
        if scraps and not any(scrap.type is ScrapType.MODEL for scrap in scraps):
            self.fail(
                step,
                ("from",),
                f"step {step.id!r} promotes from {step.candidate!r}, which leaves no model.",
                why=f"Its scraps: {', '.join(scrap.name for scrap in scraps)}; "
                "none is declared as `type: model`.",
            )

    def check_source(self, step: Step, key: str, source: str) -> None:
        """Refuse a `from` or `evidence` that is no earlier run step."""
        found = self.job.step(source)
        if source in self.seen and self.seen[source].template is not None:
            return
        if found is None:
            hint = suggest(source, tuple(step.id for step in self.job.steps))
            problem = f"but there is no such step.{hint}"
        elif source == step.id:
            problem = "which is itself."
        elif source in self.seen:
            problem = f"but that is a {found.kind} step: a run is needed."
        else:
            problem = "which runs later."
        self.refuse(
            step, (key,), f"step {step.id!r} takes `{key}: {source}`, {problem}", why=self.order()
        )

    def order(self) -> str:
        return f"Steps run in this order: {' → '.join(step.id for step in self.job.steps)}."

    def refuse(self, step: Step, at: tuple[str, ...], problem: str, *, why: str = "") -> NoReturn:
        raise JobReferenceError(
            shown(self.job.path), self.line(step, at), problem, self.job.name, why
        )

    def fail(self, step: Step, at: tuple[str, ...], problem: str, *, why: str = "") -> NoReturn:
        raise JobFileError(shown(self.job.path), self.line(step, at), problem, self.job.name, why)

    def line(self, step: Step, at: tuple[str, ...]) -> int | None:
        from nbprod.notebook.yaml import line_of

        return line_of(self.job.text, ("steps", step.position, *at))
