"""What a job run came to: values that the terminal, the page and programs read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nbprod.core.jobs import JobRun, JobStatus, StepStatus
from nbprod.core.runs import RunStatus
from nbprod.jobs.file import StepKind
from nbprod.reports.figures import KeyFigure
from nbprod.workspace.promotion import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """How one step ended."""

    step: str
    kind: StepKind
    target: str  #: the template or the model
    status: StepStatus
    reason: str = ""  #: a sentence
    seconds: float | None = None
    run: str | None = None  #: id of the run it made
    run_status: RunStatus | None = None
    notebook: Path | None = None  #: the executed one
    scraps: Mapping[str, float] = field(default_factory=dict)  #: the numbers of that run
    figures: tuple[KeyFigure, ...] = ()  #: the same for readers, the declared ones first
    decision: Decision | None = None  #: of a promote step
    candidate: str | None = None  #: of a promote step: the run whose model wanted to be promoted
    report: Path | None = None  #: of a report step


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """How a job run ended."""

    job_run: JobRun
    steps: tuple[StepOutcome, ...]

    @property
    def status(self) -> JobStatus:
        """Return how it ended: succeeded, failed, blocked or cancelled."""
        return self.job_run.status

    @property
    def report(self) -> Path | None:
        """Return the job's page, where a step rendered one."""
        return Path(self.job_run.report) if self.job_run.report else None

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Return what the promote steps decided."""
        return tuple(step.decision for step in self.steps if step.decision is not None)
