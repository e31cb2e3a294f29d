from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from nbprod.core.errors import AmbiguousRunError, StaleJobRunError, UnknownRunError
from nbprod.core.jobs import JobRun, JobStatus, JobStep, StepStatus
from nbprod.store.store import Store

LEASE = timedelta(seconds=30)
OVER = timedelta(seconds=-1)
STEPS = (("look", "run"), ("tune", "run"), ("promote", "promote"))
DEFINITION = "job: subject-router\n"


def start(store: Store, job: str = "subject-router", *, lease: timedelta = LEASE) -> JobRun:
    return store.jobs.start(job, DEFINITION, STEPS, owner="host/1/token", lease=lease)


def outline(steps: Sequence[JobStep]) -> list[tuple[str, StepStatus, str]]:
    return [(step.step, step.status, step.reason) for step in steps]


def test_a_job_run_begins_with_its_steps_queued_in_order(store: Store) -> None:
    job_run = start(store)

    assert job_run == JobRun(
        id=job_run.id,
        job="subject-router",
        number=1,
        definition=DEFINITION,
        status=JobStatus.RUNNING,
        created_at=job_run.created_at,
    )
    assert store.jobs.get(job_run.id) == job_run
    assert store.jobs.steps(job_run.id) == [
        JobStep(
            job_run=job_run.id, step=step, position=position, kind=kind, status=StepStatus.QUEUED
        )
        for position, (step, kind) in enumerate(STEPS)
    ]


def test_the_runs_of_each_job_are_counted(store: Store) -> None:
    numbers = [(start(store, job).job, start(store, job).number) for job in ("one", "two")]

    assert numbers == [("one", 2), ("two", 2)]


def test_a_fire_time_starts_one_job_run(store: Store) -> None:
    due = datetime(2026, 11, 21, 6, tzinfo=UTC)

    first = store.jobs.start("nightly", "", [], owner="a", lease=LEASE, fire_time=due)

    assert first.fire_time == due
    with pytest.raises(sa.exc.IntegrityError):
        store.jobs.start("nightly", "", [], owner="b", lease=LEASE, fire_time=due)
    assert store.jobs.list() == [first]


def test_a_step_keeps_its_times_its_run_and_its_reason(store: Store) -> None:
    job_run = start(store)

    store.jobs.step(job_run.id, "look", status=StepStatus.RUNNING, run="run-1")
    store.jobs.step(job_run.id, "look", status=StepStatus.FAILED, reason="A cell raised.")

    look, *others = store.jobs.steps(job_run.id)
    assert look.started_at is not None
    assert look.finished_at is not None
    assert look.seconds is not None
    assert 0 <= look.seconds < 60
    assert look == JobStep(
        job_run=job_run.id,
        step="look",
        position=0,
        kind="run",
        status=StepStatus.FAILED,
        reason="A cell raised.",
        run="run-1",
        started_at=look.started_at,
        finished_at=look.finished_at,
    )
    assert {step.status for step in others} == {StepStatus.QUEUED}


def test_the_end_of_a_job_run_skips_the_steps_whose_turn_never_came(store: Store) -> None:
    job_run = start(store)
    store.jobs.step(job_run.id, "look", status=StepStatus.SUCCEEDED)
    store.jobs.step(job_run.id, "tune", status=StepStatus.BLOCKED, reason="A gate said no.")

    final = store.jobs.finish(
        job_run.id, status=JobStatus.BLOCKED, reason="A gate said no.", report="reports/1.html"
    )

    assert final.finished_at is not None
    assert final == replace(
        job_run,
        status=JobStatus.BLOCKED,
        reason="A gate said no.",
        finished_at=final.finished_at,
        report="reports/1.html",
    )
    assert outline(store.jobs.steps(job_run.id)) == [
        ("look", StepStatus.SUCCEEDED, ""),
        ("tune", StepStatus.BLOCKED, "A gate said no."),
        ("promote", StepStatus.SKIPPED, "Its turn never came: the job run ended before."),
    ]


@pytest.mark.parametrize(
    ("status", "broken_off"),
    [(JobStatus.CANCELLED, StepStatus.CANCELLED), (JobStatus.FAILED, StepStatus.FAILED)],
)
def test_a_step_that_was_running_ends_with_its_job_run(
    store: Store, status: JobStatus, broken_off: StepStatus
) -> None:
    job_run = start(store)
    store.jobs.step(job_run.id, "look", status=StepStatus.RUNNING)

    store.jobs.finish(job_run.id, status=status, reason="Stopped by Ctrl-C.")

    assert outline(store.jobs.steps(job_run.id))[0] == ("look", broken_off, "Stopped by Ctrl-C.")


def test_an_ended_job_run_may_not_change(store: Store) -> None:
    job_run = start(store)
    final = store.jobs.finish(job_run.id, status=JobStatus.SUCCEEDED, reason="")
    steps = store.jobs.steps(job_run.id)

    with pytest.raises(StaleJobRunError) as raised:
        store.jobs.finish(job_run.id, status=JobStatus.FAILED, reason="Late.")
    with pytest.raises(StaleJobRunError):
        store.jobs.step(job_run.id, "look", status=StepStatus.RUNNING)

    assert str(raised.value) == (
        f"Job run {job_run.id} may no longer change.\n"
        "It is succeeded already.\n"
        f"Nothing was changed. Look at it: nbprod jobs show {job_run.id}"
    )
    assert store.jobs.get(job_run.id) == final
    assert store.jobs.steps(job_run.id) == steps


def test_a_job_run_whose_lease_ran_out_has_failed(
    store: Store, store_url: str, tmp_path: Path
) -> None:
    alive = start(store)
    orphan = start(store, lease=OVER)
    store.jobs.step(orphan.id, "look", status=StepStatus.RUNNING)
    reason = "Its supervisor stopped renewing its lease: the process or its machine went away."

    Store.open(store_url, root=tmp_path).close()

    found = store.jobs.get(orphan.id)
    assert (found.status, found.reason) == (JobStatus.FAILED, reason)
    assert outline(store.jobs.steps(orphan.id)) == [
        ("look", StepStatus.FAILED, reason),
        ("tune", StepStatus.SKIPPED, "Its turn never came: the job run ended before."),
        ("promote", StepStatus.SKIPPED, "Its turn never came: the job run ended before."),
    ]
    assert store.jobs.get(alive.id) == alive


def test_a_heartbeat_keeps_a_job_run_alive_for_its_owner_only(store: Store) -> None:
    job_run = start(store, lease=OVER)

    theirs = store.jobs.heartbeat(job_run.id, owner="other/2/token", lease=LEASE)
    ours = store.jobs.heartbeat(job_run.id, owner="host/1/token", lease=LEASE)

    assert (theirs, ours) == (False, True)
    assert store.jobs.expire() == []


def test_job_runs_are_listed_newest_first_and_by_job(store: Store) -> None:
    one, two, three = start(store, "a"), start(store, "b"), start(store, "a")

    assert store.jobs.list() == sorted([one, two, three], key=by_age, reverse=True)
    assert store.jobs.list("a") == [three, one]
    assert store.jobs.list("a", limit=1) == [three]


def by_age(job_run: JobRun) -> tuple[datetime | None, str]:
    return job_run.created_at, job_run.id


def test_unknown_and_ambiguous_job_runs_are_named(store: Store) -> None:
    with pytest.raises(UnknownRunError) as unknown:
        store.jobs.get("2026")
    first, second = sorted([start(store).id, start(store).id])
    with pytest.raises(AmbiguousRunError) as ambiguous:
        store.jobs.get("2")
    with pytest.raises(UnknownRunError):
        store.jobs.step("2026", "look", status=StepStatus.RUNNING)
    with pytest.raises(LookupError, match=f"job run {first} has no step 'nothing'"):
        store.jobs.step(first, "nothing", status=StepStatus.RUNNING)

    assert str(unknown.value) == (
        "There is no job run '2026'.\nThere is no job run yet.\nSee them all: nbprod jobs list"
    )
    assert str(ambiguous.value) == (
        "'2' is the beginning of more than one job run.\n"
        f"It could be {first}, {second}.\n"
        f"Write one more digit of the id: nbprod jobs show {first}"
    )
