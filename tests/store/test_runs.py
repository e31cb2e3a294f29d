import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from nbprod.core.errors import AmbiguousRunError, StaleFenceError, UnknownRunError
from nbprod.core.runs import CellError, Lineage, Run, RunStatus
from nbprod.core.scraps import Scrap, ScrapType, Sidecar
from nbprod.core.usage import Usage
from nbprod.store import tables as t
from nbprod.store.rows import SCRAP_COLUMNS, run_columns, scrap_columns, scrap_from
from nbprod.store.store import Store

MakeRun = Callable[..., Run]
LEASE = timedelta(seconds=30)
OVER = timedelta(seconds=-1)  #: a lease that has run out when it is taken

METRIC = Scrap(name="macro_f1", encoder="json", type=ScrapType.NUMBER, value=0.62)
MODEL = Scrap(
    name="model",
    encoder="nbprod.model",
    type=ScrapType.MODEL,
    value="2 files",
    sidecar=Sidecar(path="scraps/model", files={"a": "b" * 64}, digest="c" * 64, size_bytes=90),
)
FILE = ("scraps/model/a", "b" * 64, 90)


def claimed(store: Store, run: Run, *, lease: timedelta = LEASE) -> Run:
    return store.runs.insert(run, owner="host/1/token", lease=lease)


def rows(store: Store, table: sa.Table) -> list[dict[str, object]]:
    with store.read() as connection:
        return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


def test_a_claimed_run_is_running_at_fence_1_by_the_databases_clock(
    store: Store, make_run: MakeRun
) -> None:
    run = make_run(
        kind="finetune",
        lineage=Lineage(
            template_digest="a" * 64,
            data_fingerprints={"data": "d" * 64},
            models={"model": "e" * 64},
            git_commit="f" * 40,
            git_dirty=True,
            environment_digest="0" * 64,
            python="3.11.7",
            host="box",
            platform="Linux",
            devices=("NVIDIA H100 (GPU-1)",),
            user="ada",
            nbprod="0.1.0",
        ),
        job_run="20261121-110000-abcdef",
        step="tune",
    )
    with store.read() as connection:
        before = store.now(connection)

    inserted = claimed(store, run)

    with store.read() as connection:
        after = store.now(connection)
    assert inserted.created_at is not None
    assert before <= inserted.created_at.timestamp() <= after
    assert inserted == replace(
        run,
        status=RunStatus.RUNNING,
        fence=1,
        created_at=inserted.created_at,
        started_at=inserted.created_at,
    )
    assert store.runs.get(run.id) == inserted


def test_the_databases_clock_tells_the_time(store: Store) -> None:
    with store.read() as connection:
        now = store.now(connection)

    assert abs(now - datetime.now(UTC).timestamp()) < 5


def test_a_run_without_an_owner_is_queued(store: Store, make_run: MakeRun) -> None:
    inserted = store.runs.insert(make_run())

    assert (inserted.status, inserted.fence, inserted.started_at) == (RunStatus.QUEUED, 0, None)
    assert rows(store, t.attempts) == []


def test_a_finished_run_holds_all_that_it_left(store: Store, make_run: MakeRun) -> None:
    run = claimed(store, make_run())
    store.runs.started(run.id, 1, pid=4711, pid_started=12.5, folder="/team/.nbprod/runs/x/1")
    error = CellError(type="ValueError", message="no", cell=3, traceback="Traceback...")

    final = store.runs.finish(
        run.id,
        1,
        status=RunStatus.FAILED,
        reason="A cell raised.",
        error=error,
        scraps=[METRIC, MODEL],
        artifacts=[FILE],
        notebook_digest="9" * 64,
    )

    assert final.finished_at is not None
    assert final == replace(
        run,
        status=RunStatus.FAILED,
        reason="A cell raised.",
        error=error,
        finished_at=final.finished_at,
        folder="/team/.nbprod/runs/x/1",
        notebook_digest="9" * 64,
    )
    assert store.runs.get(run.id) == final
    assert store.runs.scraps([run.id]) == {run.id: {"macro_f1": METRIC, "model": MODEL}}
    assert store.runs.artifacts(run.id) == [FILE]
    (attempt,) = rows(store, t.attempts)
    assert (attempt["pid"], attempt["pid_started"]) == (4711, 12.5)
    assert (attempt["status"], attempt["reason"]) == ("failed", "A cell raised.")


@pytest.mark.parametrize(
    "usage",
    [
        Usage(cpu_seconds=1.25, peak_rss_bytes=3 * 2**40, peak_gpu_bytes=81_559 * 2**20),
        Usage(cpu_seconds=0.0, peak_rss_bytes=0),
        None,
    ],
    ids=["on a GPU", "on a CPU", "not measured"],
)
@pytest.mark.parametrize("ending", ["finished", "lost"])
def test_what_a_run_used_comes_back_as_it_was_measured(
    store: Store, make_run: MakeRun, usage: Usage | None, ending: str
) -> None:
    run = claimed(store, make_run(), lease=OVER if ending == "lost" else LEASE)

    if ending == "lost":
        store.runs.expire()
        store.runs.salvage(run.id, 1, notebook_digest="b" * 64, usage=usage)
    else:
        store.runs.finish(run.id, 1, status=RunStatus.FAILED, reason="no", usage=usage)

    assert store.runs.get(run.id).usage == usage
    assert [found.usage for found in store.runs.list()] == [usage]


def test_finish_gives_the_folder_of_an_attempt_that_never_started(
    store: Store, make_run: MakeRun
) -> None:
    run = claimed(store, make_run())

    final = store.runs.finish(
        run.id, 1, status=RunStatus.FAILED, reason="No kernel.", folder="/team/runs/x/1"
    )

    assert final.folder == "/team/runs/x/1"


def test_finish_writes_all_or_nothing(store: Store, make_run: MakeRun) -> None:
    run = claimed(store, make_run())

    with pytest.raises(sa.exc.IntegrityError):
        store.runs.finish(
            run.id, 1, status=RunStatus.SUCCEEDED, reason="Done.", scraps=[METRIC, METRIC]
        )

    assert store.runs.get(run.id) == run
    assert store.runs.scraps([run.id]) == {run.id: {}}


def test_finish_needs_a_final_status(store: Store, make_run: MakeRun) -> None:
    run = claimed(store, make_run())

    with pytest.raises(ValueError, match="'running' does not end a run"):
        store.runs.finish(run.id, 1, status=RunStatus.RUNNING, reason="")


def test_a_run_ends_only_once(store: Store, make_run: MakeRun) -> None:
    run = claimed(store, make_run())
    final = store.runs.finish(run.id, 1, status=RunStatus.SUCCEEDED, reason="Done.")

    with pytest.raises(StaleFenceError) as raised:
        store.runs.finish(run.id, 1, status=RunStatus.FAILED, reason="No.", scraps=[METRIC])

    assert str(raised.value) == (
        f"Attempt 1 of run {run.id} may no longer write.\n"
        "The run is succeeded already.\n"
        f"Nothing was changed. Look at the run: nbprod runs show {run.id}"
    )
    assert store.runs.get(run.id) == final
    assert store.runs.scraps([run.id]) == {run.id: {}}


@pytest.mark.parametrize("write", ["started", "finish"])
def test_an_outdated_attempt_may_not_write(store: Store, make_run: MakeRun, write: str) -> None:
    run = claimed(store, make_run())
    with store.write() as connection:
        connection.execute(sa.update(t.runs).values(fence=2))

    writes: dict[str, Callable[[], object]] = {
        "started": lambda: store.runs.started(run.id, 1, pid=1, pid_started=1.0, folder="late"),
        "finish": lambda: store.runs.finish(run.id, 1, status=RunStatus.SUCCEEDED, reason=""),
    }

    with pytest.raises(StaleFenceError) as raised:
        writes[write]()

    assert str(raised.value) == (
        f"Attempt 1 of run {run.id} may no longer write.\n"
        "Its lease had run out: the run is running, at attempt 2.\n"
        f"Nothing was changed. Look at the run: nbprod runs show {run.id}"
    )
    assert store.runs.get(run.id) == replace(run, fence=2)


def test_of_eight_threads_that_finish_a_run_one_does(store: Store, make_run: MakeRun) -> None:
    run = claimed(store, make_run())
    start = threading.Barrier(8)
    outcomes: list[int | None] = []

    def finish(number: int) -> None:
        start.wait()
        try:
            scrap = replace(METRIC, value=number)
            store.runs.finish(
                run.id, 1, status=RunStatus.SUCCEEDED, reason=str(number), scraps=[scrap]
            )
        except StaleFenceError:
            outcomes.append(None)
        else:
            outcomes.append(number)

    threads = [threading.Thread(target=finish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (winner,) = [number for number in outcomes if number is not None]
    assert len(outcomes) == 8
    assert store.runs.get(run.id).reason == str(winner)
    assert store.runs.scraps([run.id])[run.id]["macro_f1"].value == winner


def test_a_heartbeat_keeps_a_run_from_expiring(store: Store, make_run: MakeRun) -> None:
    run = claimed(store, make_run(), lease=OVER)

    assert store.runs.heartbeat(run.id, 1, lease=LEASE)

    assert store.runs.expire() == []
    assert store.runs.get(run.id).status is RunStatus.RUNNING


def test_a_heartbeat_says_when_the_run_is_no_longer_ours(store: Store, make_run: MakeRun) -> None:
    run = claimed(store, make_run())

    outdated = store.runs.heartbeat(run.id, 2, lease=LEASE)
    store.runs.finish(run.id, 1, status=RunStatus.CANCELLED, reason="Stopped.")
    ended = store.runs.heartbeat(run.id, 1, lease=LEASE)

    assert (outdated, ended) == (False, False)


def test_opening_the_store_loses_foreground_runs_whose_lease_ran_out(
    store: Store, store_url: str, tmp_path: object, make_run: MakeRun
) -> None:
    alive = claimed(store, make_run())
    queued = store.runs.insert(make_run())
    orphan = claimed(store, make_run(), lease=OVER)

    with Store.open(store_url, root=tmp_path) as opened:  # type: ignore[arg-type] # a Path
        (lost,) = opened.expired

    assert lost == store.runs.get(orphan.id)
    assert (lost.status, lost.reason) == (
        RunStatus.LOST,
        "Its supervisor stopped renewing its lease: the process or its machine went away.",
    )
    assert lost.finished_at is not None
    assert store.runs.get(alive.id) == alive
    assert store.runs.get(queued.id) == queued
    with pytest.raises(StaleFenceError) as raised:
        store.runs.finish(orphan.id, 1, status=RunStatus.SUCCEEDED, reason="Late.")
    assert raised.value.why == "Its lease had run out: the run is lost, at attempt 1."


def test_a_lost_run_is_given_what_its_journal_held_once(store: Store, make_run: MakeRun) -> None:
    run = claimed(store, make_run(), lease=OVER)
    (lost,) = store.runs.expire()

    salvaged = store.runs.salvage(
        run.id, 1, scraps=[METRIC], artifacts=[FILE], notebook_digest="9" * 64, folder="/x/1"
    )

    assert salvaged == replace(lost, notebook_digest="9" * 64, folder="/x/1")
    assert store.runs.scraps([run.id]) == {run.id: {"macro_f1": METRIC}}
    with pytest.raises(StaleFenceError):
        store.runs.salvage(run.id, 1, notebook_digest="8" * 64)
    assert store.runs.get(run.id) == salvaged


def test_a_run_that_is_not_lost_is_not_salvaged(store: Store, make_run: MakeRun) -> None:
    run = claimed(store, make_run())

    with pytest.raises(StaleFenceError):
        store.runs.salvage(run.id, 1, notebook_digest="9" * 64)

    assert store.runs.get(run.id) == run


def test_a_run_is_found_by_what_only_its_id_begins_with(store: Store, make_run: MakeRun) -> None:
    run = claimed(store, make_run(id="20261121-120000-4f1c9a"))
    claimed(store, make_run(id="20261121-120000-4f2000"))

    assert store.runs.get("20261121-120000-4f1") == run
    assert store.runs.get("20261121-120000-4f1c9a") == run


def test_an_id_that_is_the_beginning_of_another_is_itself(store: Store, make_run: MakeRun) -> None:
    short = claimed(store, make_run(id="20261121"))
    claimed(store, make_run(id="20261121-120000-4f1c9a"))

    assert store.runs.get("20261121") == short


def test_several_runs_that_begin_alike_are_named(store: Store, make_run: MakeRun) -> None:
    for id_ in ("20261121-120000-4f2000", "20261121-120000-4f1c9a", "20261122-120000-000000"):
        claimed(store, make_run(id=id_))

    with pytest.raises(AmbiguousRunError) as raised:
        store.runs.get("20261121")

    assert str(raised.value) == (
        "'20261121' is the beginning of more than one run.\n"
        "It could be 20261121-120000-4f1c9a, 20261121-120000-4f2000.\n"
        "Write one more digit of the id: nbprod runs show 20261121-120000-4f1c9a"
    )


@pytest.mark.parametrize("unknown", ["20251231", "nonsense", "", "\N{SNOWMAN}", "a\0b"])
def test_an_unknown_run_names_the_latest(store: Store, make_run: MakeRun, unknown: str) -> None:
    if unknown:
        claimed(store, make_run(id="20261121-120000-4f1c9a"))
        why = "The latest: 20261121-120000-4f1c9a."
    else:
        why = "There is no run yet."

    with pytest.raises(UnknownRunError) as raised:
        store.runs.get(unknown)

    assert str(raised.value) == (
        f"There is no run {unknown!r}.\n{why}\nSee them all: nbprod runs list"
    )


def test_runs_are_listed_newest_first_and_as_asked(store: Store, make_run: MakeRun) -> None:
    first = claimed(store, make_run(template="train", job_run="job-1"))
    second = claimed(store, make_run(template="evaluate", job_run="job-1"))
    third = claimed(store, make_run(template="train"))
    third = store.runs.finish(third.id, 1, status=RunStatus.SUCCEEDED, reason="Done.")

    assert store.runs.list() == [third, second, first]
    assert store.runs.list(limit=2) == [third, second]
    assert store.runs.list(template="train") == [third, first]
    assert store.runs.list(status=RunStatus.RUNNING) == [second, first]
    assert store.runs.list(job_run="job-1") == [second, first]
    assert store.runs.list(template="train", status=RunStatus.RUNNING, limit=5) == [first]
    assert store.runs.list(template="nothing") == []


def test_runs_of_the_same_moment_keep_one_order(store: Store, make_run: MakeRun) -> None:
    with store.write() as connection:
        for id_ in ("20261121-a", "20261121-b0", "20261121-B", "20261121b"):
            columns = run_columns(make_run(id=id_)) | {"status": "queued", "created_at": 5.0}
            connection.execute(sa.insert(t.runs), columns)

    ids = [run.id for run in store.runs.list()]

    assert ids == sorted(ids, reverse=True)  # byte by byte, on both databases


def test_scraps_of_thousands_of_runs_come_in_one_query(store: Store, make_run: MakeRun) -> None:
    run = claimed(store, make_run())
    store.runs.finish(run.id, 1, status=RunStatus.SUCCEEDED, reason="", scraps=[METRIC])
    ids = [f"none-{number}" for number in range(70_000)]  # beyond both drivers' bound values

    found = store.runs.scraps([run.id, *ids])

    assert found[run.id] == {"macro_f1": METRIC}
    assert len(found) == 70_001


def test_any_text_comes_back_or_is_marked(store: Store, make_run: MakeRun) -> None:
    odd = "tab\t, quote ', percent %s, \N{SNOWMAN}, \U0001f600"
    run = claimed(store, make_run(template=odd, parameters={odd: odd + "\0\ud800"}))

    final = store.runs.finish(run.id, 1, status=RunStatus.FAILED, reason=odd + "\0\ud800")

    assert final.template == odd
    assert final.parameters == {odd: odd + "\0\ud800"}  # JSON escapes what a column refuses
    assert final.reason == odd + "\N{REPLACEMENT CHARACTER}?"


@pytest.mark.parametrize(
    "value",
    [0, -1, 2**53 + 1, 10**400, 0.1, 1e308, float("inf"), True, None, "text", [1, "a"], {"a": {}}],
)
def test_any_value_of_a_scrap_comes_back_exactly(
    store: Store, make_run: MakeRun, value: object
) -> None:
    scrap = Scrap(name="x", encoder="json", type=ScrapType.ANY, value=value)  # type: ignore[arg-type] # any JSON
    run = claimed(store, make_run())

    store.runs.finish(run.id, 1, status=RunStatus.SUCCEEDED, reason="", scraps=[scrap])

    (found,) = store.runs.scraps([run.id])[run.id].values()
    assert found == scrap
    assert type(found.value) is type(value)


def test_not_a_number_comes_back_as_itself(store: Store, make_run: MakeRun) -> None:
    scrap = Scrap(name="x", encoder="json", type=ScrapType.NUMBER, value=float("nan"))
    run = claimed(store, make_run())

    store.runs.finish(run.id, 1, status=RunStatus.SUCCEEDED, reason="", scraps=[scrap])

    found = store.runs.scraps([run.id])[run.id]["x"].value
    assert isinstance(found, float)
    assert found != found


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON_VALUES, name=st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1)))
def test_a_row_of_scraps_holds_any_json(value: object, name: str) -> None:
    scrap = Scrap(name=name, encoder="json", type=ScrapType.ANY, value=value)  # type: ignore[arg-type] # any JSON

    row = scrap_columns("run", scrap)

    assert row["value"].isascii()
    assert scrap_from(*(row[column.name] for column in SCRAP_COLUMNS)) == scrap


def test_an_environment_is_kept_once(store: Store) -> None:
    first = store.runs.save_environment(["torch==2.13.0", "numpy==2.4.6"])
    again = store.runs.save_environment(["numpy==2.4.6", "torch==2.13.0"])

    assert first == again
    assert store.runs.environment(first) == ["numpy==2.4.6", "torch==2.13.0"]
    assert store.runs.environment("0" * 64) == []
    assert len(rows(store, t.environments)) == 1
