"""Execute a job in the foreground: step by step, each on record before and after."""

import logging
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, assert_never

from nbprod.core.errors import NbprodError
from nbprod.core.events import Event
from nbprod.core.jobs import JobRun, JobStatus, StepStatus
from nbprod.core.runs import RunStatus
from nbprod.jobs.file import JobFile, Step, StepKind
from nbprod.jobs.outcome import JobOutcome, StepOutcome
from nbprod.jobs.pages import write_job_page
from nbprod.jobs.plan import Plan, PlannedStep, plan_job
from nbprod.jobs.references import JOB, Reference, resolve
from nbprod.jobs.values import value_of
from nbprod.reports.figures import key_figures
from nbprod.workspace.heartbeat import beating
from nbprod.workspace.promotion import Movement
from nbprod.workspace.signals import interrupted_by_signals
from nbprod.workspace.supervise import owner_name

if TYPE_CHECKING:
    from pathlib import Path

    from nbprod.core.json import JSON
    from nbprod.workspace import Decision, RunRecord, Workspace

logger = logging.getLogger(__name__)

_STEP_STATUS = {
    RunStatus.SUCCEEDED: StepStatus.SUCCEEDED,
    RunStatus.CANCELLED: StepStatus.CANCELLED,
}
_JOB_STATUS = {
    StepStatus.FAILED: JobStatus.FAILED,
    StepStatus.BLOCKED: JobStatus.BLOCKED,
    StepStatus.CANCELLED: JobStatus.CANCELLED,
}


class JobProgress(Protocol):
    """Is told what a job is doing, as it does it."""

    def on_step_started(self, step: Step, *, position: int, total: int) -> None:
        """A step begins; `position` counts from 0."""
        ...

    def on_event(self, step: Step, event: Event) -> None:
        """The run of a step wrote an event into its journal."""
        ...

    def on_step_finished(self, outcome: StepOutcome) -> None:
        """A step has ended, or was skipped."""
        ...


class _Silent:
    """Tells nobody."""

    def on_step_started(self, step: Step, *, position: int, total: int) -> None:
        return

    def on_event(self, step: Step, event: Event) -> None:
        return

    def on_step_finished(self, outcome: StepOutcome) -> None:
        return


def run_job(
    workspace: "Workspace", job: JobFile, *, progress: JobProgress | None = None
) -> JobOutcome:
    """Check the whole job, then execute its steps in order; return how it ended.

    After a step that failed or was blocked, later steps are skipped; a report step is rendered
    all the same, since that is when people want to read one. A blocked promotion or a failed run
    does not raise: look at `status`.

    Raises:
        JobFileError: the job cannot run as it stands; nothing was started.
        KeyboardInterrupt: Ctrl-C, SIGTERM or a closed terminal, after the job run was recorded
            as cancelled.
    """
    plan = plan_job(workspace, job)
    lease = workspace.settings.runs.lease
    owner = owner_name()
    job_run = workspace.store.jobs.start(
        job.name,
        job.text,
        [(step.id, step.kind.value) for step in job.steps],
        owner=owner,
        lease=lease,
    )
    beats = beating(
        lambda: workspace.store.jobs.heartbeat(job_run.id, owner=owner, lease=lease),
        lease=lease,
        holder=f"job run {job_run.id}",
    )
    with beats as ending, interrupted_by_signals():
        return _Execution(workspace, plan, job_run, progress or _Silent(), ending).execute()


class _Execution:
    """One job run as it goes. Holds what later steps need of earlier ones."""

    def __init__(
        self,
        workspace: "Workspace",
        plan: Plan,
        job_run: JobRun,
        progress: JobProgress,
        ending: threading.Event,
    ) -> None:
        self.workspace = workspace
        self.plan = plan
        self.job_run = job_run
        self.progress = progress
        self.ending = ending
        self.records: dict[str, RunRecord] = {}
        self.decisions: dict[str, Decision] = {}
        self.outcomes: list[StepOutcome] = []
        self.status = JobStatus.SUCCEEDED
        self.reason = ""
        self.report: Path | None = None

    def execute(self) -> JobOutcome:
        try:
            for planned in self.plan.steps:
                self.take(planned)
        except KeyboardInterrupt:
            self.give_up(JobStatus.CANCELLED, "Stopped by Ctrl-C.")
            raise
        except BaseException as error:
            self.give_up(JobStatus.FAILED, f"{type(error).__name__}: {error}")
            raise
        self.ending.set()
        final = self.workspace.store.jobs.finish(
            self.job_run.id,
            status=self.status,
            reason=self.reason or "Every step succeeded.",
            report=str(self.report) if self.report else None,
        )
        return JobOutcome(job_run=final, steps=self.timed())

    def take(self, planned: PlannedStep) -> None:
        """Execute one step, or skip it because an earlier one ended the job."""
        step, jobs = planned.step, self.workspace.store.jobs
        if self.status is not JobStatus.SUCCEEDED and step.kind is not StepKind.REPORT:
            outcome = self.outcome(step, StepStatus.SKIPPED, self.reason)
            jobs.step(self.job_run.id, step.id, status=outcome.status, reason=outcome.reason)
        else:
            jobs.step(self.job_run.id, step.id, status=StepStatus.RUNNING)
            self.progress.on_step_started(step, position=step.position, total=len(self.plan.steps))
            begun = time.monotonic()
            outcome = self.carry_out(planned)
            outcome = replace(outcome, seconds=time.monotonic() - begun)
            jobs.step(
                self.job_run.id,
                step.id,
                status=outcome.status,
                reason=outcome.reason,
                run=outcome.run,
            )
            # The first step that stops the job gives the reason; a report after it does not.
            if outcome.status in _JOB_STATUS and self.status is JobStatus.SUCCEEDED:
                self.status = _JOB_STATUS[outcome.status]
                self.reason = f"Step {step.id!r}: {outcome.reason}"
        self.outcomes.append(outcome)
        self.progress.on_step_finished(outcome)

    def carry_out(self, planned: PlannedStep) -> StepOutcome:
        try:
            match planned.step.kind:
                case StepKind.RUN:
                    return self.run(planned)
                case StepKind.PROMOTE:
                    return self.promote(planned.step)
                case StepKind.REPORT:
                    return self.render(planned.step)
                case _:
                    assert_never(planned.step.kind)
        except NbprodError as error:
            return self.outcome(planned.step, StepStatus.FAILED, str(error))

    def run(self, planned: PlannedStep) -> StepOutcome:
        step = planned.step
        record = self.workspace.run(
            planned.what,
            parameters={
                name: resolve(value, self.look_up) for name, value in step.parameters.items()
            },
            progress=lambda event: self.progress.on_event(step, event),
            resources=step.resources.over(self.plan.job.resources),
            job_run=self.job_run.id,
            step=step.id,
        )
        self.records[step.id] = record
        declared = planned.template.front_matter.scraps if planned.template else ()
        scraps = {name: record.scrap(name) for name in record.scraps}
        return replace(
            self.outcome(step, _STEP_STATUS.get(record.status, StepStatus.FAILED), _why(record)),
            run=record.id,
            run_status=record.status,
            notebook=record.notebook if record.notebook.is_file() else None,
            scraps=record.numbers(),
            figures=key_figures(scraps, declared),
        )

    def look_up(self, reference: Reference) -> "JSON":
        if reference.step == JOB:
            return self.job_run.number if reference.name == "number" else self.job_run.id
        return value_of(reference, self.records[reference.step])

    def promote(self, step: Step) -> StepOutcome:
        candidate = self.records[step.candidate]
        evidence = self.records[step.evidence].id if step.evidence else None
        decision = self.workspace.promote(step.target, run=candidate.id, evidence=evidence)
        self.decisions[step.id] = decision
        status = StepStatus.BLOCKED if decision.is_blocked else StepStatus.SUCCEEDED
        if decision.movement is Movement.UNCHANGED:
            logger.info("job %s: nothing to promote", self.job_run.id)
        return replace(
            self.outcome(step, status, decision.explanation),
            decision=decision,
            candidate=candidate.id,
        )

    def render(self, step: Step) -> StepOutcome:
        """Render the page with the status that the job is about to end with."""
        is_last = step.position == len(self.plan.steps) - 1
        is_over = is_last or self.status is not JobStatus.SUCCEEDED
        seen = replace(
            self.job_run,
            status=self.status if is_over else JobStatus.RUNNING,
            reason=self.reason,
            finished_at=datetime.now(UTC) if is_over else None,
        )
        self.report = write_job_page(
            self.workspace, seen, job=self.plan.job, decisions=self.decisions
        )
        return replace(self.outcome(step, StepStatus.SUCCEEDED, ""), report=self.report)

    def outcome(self, step: Step, status: StepStatus, reason: str) -> StepOutcome:
        return StepOutcome(
            step=step.id, kind=step.kind, target=step.target, status=status, reason=reason
        )

    def timed(self) -> tuple[StepOutcome, ...]:
        """Return the outcomes with the times that the store recorded."""
        recorded = {step.step: step for step in self.workspace.store.jobs.steps(self.job_run.id)}
        return tuple(
            replace(outcome, seconds=recorded[outcome.step].seconds) for outcome in self.outcomes
        )

    def give_up(self, status: JobStatus, reason: str) -> None:
        """Record an end that no step told."""
        self.ending.set()
        try:
            self.workspace.store.jobs.finish(self.job_run.id, status=status, reason=reason)
        except NbprodError as error:
            # It was ended by someone else, or cannot be written: then the row stays `running`
            # until its lease runs out, and the next open marks it failed.
            logger.warning("job run %s could not be recorded: %s", self.job_run.id, error)


def _why(record: "RunRecord") -> str:
    if record.status is RunStatus.SUCCEEDED:
        return record.reason
    error = f"{record.error.type}: {record.error.message}" if record.error else ""
    parts = (record.reason, error if error not in record.reason else "")
    return " ".join(part for part in parts if part) or f"Its run {record.id} ended {record.status}."
