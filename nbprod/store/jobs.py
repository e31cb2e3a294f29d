"""Job runs and their steps in the store."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from nbprod.core.errors import StaleJobRunError, UnknownRunError
from nbprod.core.ids import new_id
from nbprod.core.jobs import JobRun, JobStatus, JobStep, StepStatus
from nbprod.store import tables as t
from nbprod.store.database import Database
from nbprod.store.expressions import db_now
from nbprod.store.lookup import find_id
from nbprod.store.rows import moment, plain, seconds

LOST = "Its supervisor stopped renewing its lease: the process or its machine went away."


class JobRuns:
    """The job runs of a store: start, move, find."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(
        self,
        job: str,
        definition: str,
        steps: Sequence[tuple[str, str]],
        *,
        owner: str,
        lease: timedelta,
        fire_time: datetime | None = None,
    ) -> JobRun:
        """Record a job run that begins now, with its steps as (name, kind), queued in order.

        `definition` is the job file's text. The run is its owner's (host/pid/token) until
        `lease` has passed without a heartbeat.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            last = connection.scalar(
                sa.select(sa.func.max(t.job_runs.c.number)).where(t.job_runs.c.job == job)
            )
            id_ = new_id(datetime.fromtimestamp(now, UTC))
            connection.execute(
                sa.insert(t.job_runs),
                {
                    "id": id_,
                    "job": plain(job),
                    "number": (last or 0) + 1,
                    "fire_time": seconds(fire_time),
                    "definition": plain(definition),
                    "status": JobStatus.RUNNING.value,
                    "owner": plain(owner),
                    "lease_until": now + lease.total_seconds(),
                    "created_at": now,
                },
            )
            if steps:
                rows = [
                    {
                        "job_run": id_,
                        "step": plain(step),
                        "position": position,
                        "kind": kind,
                        "status": StepStatus.QUEUED.value,
                    }
                    for position, (step, kind) in enumerate(steps)
                ]
                connection.execute(sa.insert(t.job_steps), rows)
            return _one(connection, id_)

    def heartbeat(self, job_run: str, *, owner: str, lease: timedelta) -> bool:
        """Renew the lease; False when the job run is no longer this owner's or has ended."""
        beaten = _running(job_run).where(t.job_runs.c.owner == owner)
        return (
            self._database.touch(beaten.values(lease_until=db_now() + lease.total_seconds())) == 1
        )

    def step(
        self,
        job_run: str,
        step: str,
        *,
        status: StepStatus,
        reason: str = "",
        run: str | None = None,
        fan_out: int = 0,
    ) -> None:
        """Move one step; times are set as it begins and ends. `run` stays once it is known.

        Raises:
            StaleJobRunError: the job run has ended.
            UnknownRunError: there is no such job run.
            LookupError: it has no such step.
        """
        changes: dict[str, Any] = {"status": status.value, "reason": plain(reason)}
        if run is not None:
            changes["run"] = run
        if status is StepStatus.RUNNING:
            changes["started_at"] = db_now()
        elif status.is_final:
            changes["finished_at"] = db_now()
        with self._database.write() as connection:
            found = connection.scalar(
                sa.select(t.job_runs.c.status).where(t.job_runs.c.id == job_run)
            )
            if found is None:
                raise UnknownRunError(job_run, "job run")
            if JobStatus(found).is_final:
                raise StaleJobRunError(job_run, found)
            moved = connection.execute(
                sa.update(t.job_steps)
                .where(
                    t.job_steps.c.job_run == job_run,
                    t.job_steps.c.step == step,
                    t.job_steps.c.fan_out == fan_out,
                )
                .values(**changes)
            )
            if moved.rowcount != 1:
                raise LookupError(f"job run {job_run} has no step {step!r}")

    def finish(
        self, job_run: str, *, status: JobStatus, reason: str, report: str | None = None
    ) -> JobRun:
        """End the job run; steps whose turn never came become `skipped`.

        Raises:
            StaleJobRunError: it has ended already; nothing is changed.
            UnknownRunError: there is no such job run.
            ValueError: `status` is not a final one.
        """
        if not status.is_final:
            raise ValueError(f"{status.value!r} does not end a job run")
        with self._database.write() as connection:
            _end(connection, _running(job_run), job_run, status, reason, report)
            return _one(connection, job_run)

    def expire(self) -> list[JobRun]:
        """Fail job runs whose supervisor let its lease run out, and return those."""
        due = (
            t.job_runs.c.status == JobStatus.RUNNING.value,
            t.job_runs.c.lease_until < db_now(),
        )
        with self._database.read() as connection:
            ids = connection.scalars(sa.select(t.job_runs.c.id).where(*due)).all()
        expired = []
        for id_ in ids:
            with self._database.write() as connection:
                if connection.scalar(
                    sa.select(t.job_runs.c.id).where(t.job_runs.c.id == id_, *due)
                ):
                    _end(connection, _running(id_), id_, JobStatus.FAILED, LOST, None)
                    expired.append(_one(connection, id_))
        return expired

    def get(self, id_or_prefix: str) -> JobRun:
        """Return the job run with that id, or whose id alone begins so.

        Raises:
            UnknownRunError: there is none.
            AmbiguousRunError: there are several.
        """
        with self._database.read() as connection:
            return _one(connection, find_id(connection, t.job_runs, id_or_prefix, noun="job run"))

    def list(self, job: str | None = None, limit: int | None = None) -> Sequence[JobRun]:
        """Return job runs, newest first, of one job or of all."""
        query = sa.select(t.job_runs).order_by(
            t.job_runs.c.created_at.desc(), t.job_runs.c.id.desc()
        )
        if job is not None:
            # numbers count up with time: the unique index on (job, number) gives the order
            query = (
                sa.select(t.job_runs)
                .where(t.job_runs.c.job == job)
                .order_by(t.job_runs.c.number.desc())
            )
        with self._database.read() as connection:
            rows = connection.execute(query.limit(limit)).mappings()
            return [_job_run(dict(row)) for row in rows]

    def steps(self, job_run: str) -> Sequence[JobStep]:
        """Return the steps of a job run in the order of its file."""
        query = (
            sa.select(t.job_steps)
            .where(t.job_steps.c.job_run == job_run)
            .order_by(t.job_steps.c.position, t.job_steps.c.fan_out)
        )
        with self._database.read() as connection:
            return [_job_step(dict(row)) for row in connection.execute(query).mappings()]


def _running(job_run: str) -> sa.Update:
    return sa.update(t.job_runs).where(
        t.job_runs.c.id == job_run, t.job_runs.c.status == JobStatus.RUNNING.value
    )


def _end(
    connection: sa.Connection,
    update: sa.Update,
    job_run: str,
    status: JobStatus,
    reason: str,
    report: str | None,
) -> None:
    changes: dict[str, Any] = {
        "status": status.value,
        "reason": plain(reason),
        "finished_at": db_now(),
        "lease_until": None,
    }
    if report is not None:
        changes["report"] = plain(report)
    if connection.execute(update.values(**changes)).rowcount != 1:
        query = sa.select(t.job_runs.c.status).where(t.job_runs.c.id == job_run)
        found = connection.scalar(query)
        if found is None:
            raise UnknownRunError(job_run, "job run")
        raise StaleJobRunError(job_run, found)
    steps = sa.update(t.job_steps).where(t.job_steps.c.job_run == job_run)
    connection.execute(
        steps.where(t.job_steps.c.status == StepStatus.QUEUED.value).values(
            status=StepStatus.SKIPPED.value,
            reason="Its turn never came: the job run ended before.",
            finished_at=db_now(),
        )
    )
    broken_off = StepStatus.CANCELLED if status is JobStatus.CANCELLED else StepStatus.FAILED
    connection.execute(
        steps.where(t.job_steps.c.status == StepStatus.RUNNING.value).values(
            status=broken_off.value, reason=plain(reason), finished_at=db_now()
        )
    )


def _one(connection: sa.Connection, job_run: str) -> JobRun:
    query = sa.select(t.job_runs).where(t.job_runs.c.id == job_run)
    return _job_run(dict(connection.execute(query).mappings().one()))


def _job_run(row: dict[str, Any]) -> JobRun:
    return JobRun(
        id=row["id"],
        job=row["job"],
        number=row["number"],
        definition=row["definition"],
        status=JobStatus(row["status"]),
        reason=row["reason"],
        fire_time=moment(row["fire_time"]),
        created_at=moment(row["created_at"]),
        finished_at=moment(row["finished_at"]),
        report=row["report"],
    )


def _job_step(row: dict[str, Any]) -> JobStep:
    return JobStep(
        job_run=row["job_run"],
        step=row["step"],
        position=row["position"],
        kind=row["kind"],
        status=StepStatus(row["status"]),
        reason=row["reason"],
        run=row["run"],
        fan_out=row["fan_out"],
        started_at=moment(row["started_at"]),
        finished_at=moment(row["finished_at"]),
    )
