"""What a job run is, and its steps."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class JobStatus(StrEnum):
    """Where a job run stands."""

    QUEUED = "queued"  #: accepted; nobody executes it
    RUNNING = "running"  #: one supervisor executes its steps
    SUCCEEDED = "succeeded"  #: every step did
    FAILED = "failed"  #: a step failed, or the supervisor vanished
    BLOCKED = "blocked"  #: a gate said no; nothing moved
    CANCELLED = "cancelled"  #: someone stopped it

    @property
    def is_final(self) -> bool:
        """Say whether the job run can no longer change."""
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


class StepStatus(StrEnum):
    """Where a step of a job run stands."""

    QUEUED = "queued"  #: its turn has not come
    RUNNING = "running"  #: being executed
    SUCCEEDED = "succeeded"  #: done
    FAILED = "failed"  #: its run failed
    BLOCKED = "blocked"  #: a gate said no
    CANCELLED = "cancelled"  #: someone stopped it
    SKIPPED = "skipped"  #: an earlier step ended the job run

    @property
    def is_final(self) -> bool:
        """Say whether the step can no longer change."""
        return self not in (StepStatus.QUEUED, StepStatus.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """One execution of one job."""

    id: str  #: sortable: creation time, then randomness
    job: str
    number: int  #: counts the runs of this job from 1
    definition: str  #: the job file's text when it started
    status: JobStatus
    reason: str = ""  #: a sentence: why it ended as it did
    fire_time: datetime | None = None  #: UTC, what a schedule owed; None when started by hand
    created_at: datetime | None = None  #: UTC, the database's clock
    finished_at: datetime | None = None
    report: str | None = None  #: path of the rendered page

    @property
    def seconds(self) -> float | None:
        """Return how long it took, or None while it runs."""
        if self.created_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.created_at).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStep:
    """One step of one job run."""

    job_run: str
    step: str
    position: int  #: from 0, in the order of the job file
    kind: str  #: "run", "promote" or "report"
    status: StepStatus
    reason: str = ""  #: a sentence: why it ended as it did
    run: str | None = None  #: the run it made, where it is one
    fan_out: int = 0  #: index where a step is executed several times
    started_at: datetime | None = None  #: UTC, the database's clock
    finished_at: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """Return how long it took, or None while it runs."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()
