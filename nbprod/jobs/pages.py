"""Write the page of a job run, from what the store and the executed notebooks hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nbprod.core.errors import NbprodError, UnknownRunError
from nbprod.core.jobs import JobRun, JobStep, StepStatus
from nbprod.core.words import count
from nbprod.jobs.file import JobFile, StepKind, parse_job
from nbprod.reports import Decision as DecisionPart
from nbprod.reports import StepPart, render_job
from nbprod.workspace.pages import write_page
from nbprod.workspace.promotion import CHAMPION, Decision, Movement

if TYPE_CHECKING:
    from nbprod.workspace import Workspace


def make_page(workspace: "Workspace", run_or_job_run: str) -> Path:
    """Render the page of a run or of a job run, by id or unique prefix, and return its path.

    Raises:
        UnknownRunError: there is neither.
    """
    try:
        job_run = workspace.store.jobs.get(run_or_job_run)
    except UnknownRunError:
        return workspace.report(run_or_job_run)
    try:
        job = parse_job(job_run.definition, path=workspace.jobs_folder / f"{job_run.job}.yaml")
    except NbprodError:  # written for another version: the page does without its words
        job = None
    return write_job_page(workspace, job_run, job=job)


def write_job_page(
    workspace: "Workspace",
    job_run: JobRun,
    *,
    job: JobFile | None,
    decisions: Mapping[str, Decision] | None = None,
) -> Path:
    """Render the page of `job_run` as it stands and return its path.

    `decisions` are those of this very execution; without them the record tells what was decided.
    """
    steps = workspace.store.jobs.steps(job_run.id)
    shown = [step for step in steps if step.kind != StepKind.REPORT]
    if decisions is None:
        decisions = _recorded(workspace, steps, job)
    page = render_job(
        job_run,
        parts=[_part(workspace, step, job) for step in shown],
        decisions=[
            _decision(decision, step=step, steps=steps) for step, decision in decisions.items()
        ],
        title=job_run.job,
        description=job.description if job else "",
        workspace=workspace.settings.workspace.name,
    )
    return write_page(workspace, job_run.id, page)


def _part(workspace: "Workspace", step: JobStep, job: JobFile | None) -> StepPart:
    written = job.step(step.step) if job else None
    title = written.target if written else step.kind
    if step.run is None:
        return StepPart(step=step, title=title)
    record = workspace.record(step.run)
    return StepPart(
        step=step,
        title=title,
        run=record.run,
        notebook=record.notebook,
        scraps={name: record.scrap(name) for name in record.scraps},
    )


def _decision(decision: Decision, *, step: str, steps: Sequence[JobStep]) -> DecisionPart:
    evidence = next(
        (found.step for found in steps if found.run and found.run == decision.evidence_run), None
    )
    return DecisionPart(
        step=step,
        headline=headline(decision),
        is_promoted=decision.movement in (Movement.PROMOTED, Movement.OVERRIDDEN),
        explanation=explanation(decision),
        note=decision.note,
        verdicts=decision.verdicts,
        evidence=evidence,
    )


def headline(decision: Decision) -> str:
    """Return what came of it, in one line."""
    match decision.movement:
        case Movement.PROMOTED | Movement.OVERRIDDEN:
            return f"{decision.model}@{CHAMPION} → version {decision.version}"
        case Movement.BLOCKED:
            return f"{decision.model} version {decision.version} was not promoted"
        case Movement.UNCHANGED:
            return f"{decision.model}: nothing to promote"
        case _:
            return f"{decision.model}: {decision.movement}"


def explanation(decision: Decision) -> str:
    """Return the sentence below the headline."""
    match decision.movement:
        case Movement.PROMOTED if decision.former is None:
            return "It is the first version to serve: there was no champion to compare with."
        case Movement.PROMOTED:
            return f"Every gate passed. Version {decision.former} served before."
        case Movement.BLOCKED:
            blocking = sum(verdict.outcome.blocks for verdict in decision.verdicts)
            stays = (
                f"{decision.model}@{CHAMPION} stays version {decision.former}."
                if decision.former is not None
                else f"{decision.model} has no {CHAMPION} yet."
            )
            return f"{count(blocking, 'gate')} did not pass. {stays}"
        case Movement.OVERRIDDEN:
            return f"Gates blocked, and someone decided otherwise: {decision.reason}"
        case _:
            return decision.explanation


def _recorded(
    workspace: "Workspace", steps: Sequence[JobStep], job: JobFile | None
) -> dict[str, Decision]:
    """Return what the promote steps decided, from the audit record and the steps' own words."""
    found: dict[str, Decision] = {}
    runs = {step.step: step.run for step in steps}
    for step in steps:
        written = job.step(step.step) if job else None
        if step.kind != StepKind.PROMOTE or written is None or not step.status.is_final:
            continue
        if step.status in (StepStatus.SKIPPED, StepStatus.CANCELLED, StepStatus.FAILED):
            continue
        evidence = runs.get(written.evidence) if written.evidence else None
        found[step.step] = _from_audit(workspace, written.target, step) or Decision(
            model=written.target,
            movement=Movement.UNCHANGED,
            version=None,
            former=None,
            explanation=step.reason,
            evidence_run=evidence,
        )
    return found


def _from_audit(workspace: "Workspace", model: str, step: JobStep) -> Decision | None:
    """Return what was decided while the step ran.

    The evaluation run would not tell: a step may leave it to be found, and people decide by the
    same one again, later and by hand. Both times are the database's.
    """
    from nbprod.gates.judge import recorded_note

    for entry in workspace.registry.history(model):
        is_of_step = (
            step.started_at is not None
            and step.finished_at is not None
            and step.started_at <= entry.at <= step.finished_at
        )
        if not is_of_step or entry.action == "rollback":
            continue
        moved = Movement.OVERRIDDEN if entry.is_override else Movement.PROMOTED
        verdicts = workspace.registry.verdicts(entry.id)
        return Decision(
            model=model,
            movement=Movement.BLOCKED if entry.action == "refuse" else moved,
            version=entry.version,
            former=entry.former,
            verdicts=verdicts,
            note=recorded_note(verdicts),
            explanation=step.reason,
            reason=entry.reason,
            evidence_run=entry.evidence_run,
        )
    return None
