"""The page of a job run: what was decided, on which numbers, and what every step showed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nbprod.core.jobs import JobRun, JobStatus, JobStep
from nbprod.core.runs import Run
from nbprod.core.scraps import Scrap
from nbprod.core.verdicts import Verdict
from nbprod.notebook.front_matter import FrontMatter
from nbprod.reports.comparison import Comparison
from nbprod.reports.page import lay_out
from nbprod.reports.view import RunView, view

_HEADLINES = {
    JobStatus.QUEUED: "This job has not started.",
    JobStatus.RUNNING: "This job is still running.",
    JobStatus.SUCCEEDED: "",
    JobStatus.FAILED: "This job failed. What follows is what it did before.",
    JobStatus.BLOCKED: "",  # the decision's own sentence stands on top
    JobStatus.CANCELLED: "This job was cancelled. What follows is what it did before.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a promote step came to."""

    step: str
    headline: str  #: "subject-router@champion → version 1", or why not
    is_promoted: bool
    explanation: str = ""
    note: str = ""  #: which evaluation set decided, and how often it has before
    verdicts: tuple[Verdict, ...] = ()
    evidence: str | None = None  #: the step whose scraps were judged


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPart:
    """One step of the job run, with its run where it made one."""

    step: JobStep
    title: str  #: the template or the model
    run: Run | None = None
    notebook: Path | None = None  #: the executed one
    scraps: Mapping[str, Scrap] = field(default_factory=dict)
    front_matter: FrontMatter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    part: StepPart
    view: RunView | None


def render_job(
    job_run: JobRun,
    *,
    parts: Sequence[StepPart],
    decisions: Sequence[Decision] = (),
    title: str = "",
    description: str = "",
    workspace: str = "",
) -> str:
    """Return the HTML page of a job run: one file with the pages of its steps inside.

    `job_run` carries the status that the page tells, so a job's own report step passes the one
    that the job is about to end with.
    """
    rows = [_Row(part=part, view=_view(part)) for part in parts]
    return lay_out(
        "job.html.j2",
        job=job_run,
        title=title or job_run.job,
        description=description,
        headline=_HEADLINES[job_run.status],
        rows=rows,
        decisions=[(decision, _compared(decision, rows)) for decision in decisions],
        workspace=workspace,
    )


def _view(part: StepPart) -> RunView | None:
    if part.run is None:
        return None
    return view(
        part.run,
        notebook=part.notebook,
        scraps=part.scraps,
        front_matter=part.front_matter,
        demote=2,
    )


def _compared(decision: Decision, rows: Sequence[_Row]) -> tuple[Comparison, ...]:
    for row in rows:
        if row.part.step.step == decision.evidence and row.view is not None:
            return row.view.comparisons
    return ()
