from collections.abc import Callable, Sequence
from datetime import timedelta

import pandas as pd
import pytest

from nbprod.core.runs import Run, RunStatus
from nbprod.core.scraps import Scrap, ScrapType, Sidecar
from nbprod.store.frames import frame
from nbprod.store.store import Store

MakeRun = Callable[..., Run]
LEASE = timedelta(seconds=30)


def number(name: str, value: float) -> Scrap:
    return Scrap(name=name, encoder="json", type=ScrapType.NUMBER, value=value)


def integer(name: str, value: int) -> Scrap:
    return Scrap(name=name, encoder="json", type=ScrapType.INTEGER, value=value)


def finished(store: Store, run: Run, scraps: Sequence[Scrap] = ()) -> Run:
    run = store.runs.insert(run, owner="host/1/token", lease=LEASE)
    return store.runs.finish(run.id, 1, status=RunStatus.SUCCEEDED, reason="", scraps=scraps)


def test_a_frame_has_a_row_a_run_newest_first(store: Store, make_run: MakeRun) -> None:
    old = finished(
        store,
        make_run(parameters={"lr": 0.1, "data": "a.csv"}),
        [number("f1", 0.5), integer("steps", 10)],
    )
    new = finished(
        store,
        make_run(parameters={"lr": 0.2, "data": "b.csv"}),
        [number("f1", 0.6), integer("steps", 20)],
    )

    found = frame(store)

    expected = pd.DataFrame(
        {
            "id": [new.id, old.id],
            "template": ["train", "train"],
            "status": ["succeeded", "succeeded"],
            "started_at": pd.to_datetime(
                pd.Series([new.started_at, old.started_at]), utc=True
            ).astype(found["started_at"].dtype),
            "seconds": [new.seconds, old.seconds],
            "parameters.lr": [0.2, 0.1],
            "parameters.data": ["b.csv", "a.csv"],
            "f1": [0.6, 0.5],
            "steps": [20, 10],
        }
    )
    pd.testing.assert_frame_equal(found, expected, check_exact=False, rtol=0, atol=1e-6)
    assert str(found["started_at"].dtype) == "datetime64[ns, UTC]"


def test_what_a_run_lacks_is_missing(store: Store, make_run: MakeRun) -> None:
    finished(store, make_run(parameters={"epochs": 3}), [integer("steps", 10)])
    running = store.runs.insert(make_run(parameters={"lr": 0.5}), owner="host/1/token", lease=LEASE)

    found = frame(store).set_index("id").loc[running.id]

    assert found[["seconds", "parameters.epochs", "steps"]].isna().all()
    assert found["parameters.lr"] == 0.5
    assert frame(store)["steps"].dtype == "float64"


def test_what_is_no_number_keeps_its_value(store: Store, make_run: MakeRun) -> None:
    sidecar = Sidecar(path="scraps/model", files={"a": "b" * 64}, digest="c" * 64, size_bytes=1)
    scraps = [
        Scrap(name="note", encoder="text", type=ScrapType.TEXT, value="short"),
        Scrap(name="ok", encoder="json", type=ScrapType.BOOLEAN, value=True),
        Scrap(name="labels", encoder="json", type=ScrapType.JSON, value=["a", "b"]),
        Scrap(name="huge", encoder="json", type=ScrapType.INTEGER, value=2**60 + 1),
        Scrap(name="lost", encoder="json", type=ScrapType.NUMBER, value=float("nan")),
        Scrap(
            name="model", encoder="nbprod.model", type=ScrapType.MODEL, value="m", sidecar=sidecar
        ),
        Scrap(name="plot", encoder="display", type=ScrapType.DISPLAY, value=None),
    ]
    finished(store, make_run(parameters={}), scraps)

    (row,) = frame(store).to_dict("records")

    assert row.pop("lost") != row.get("lost", 0)  # NaN
    assert {name: row[name] for name in list(row)[5:]} == {
        "huge": 2**60 + 1,
        "labels": ["a", "b"],
        "model": "m",
        "note": "short",
        "ok": True,
    }
    assert frame(store)["lost"].dtype == "float64"
    assert frame(store)["ok"].dtype == "bool"


def test_a_scrap_that_is_a_number_only_sometimes_keeps_both(
    store: Store, make_run: MakeRun
) -> None:
    finished(store, make_run(), [number("x", 1.5)])
    finished(store, make_run(), [Scrap(name="x", encoder="text", type=ScrapType.TEXT, value="n/a")])

    assert frame(store)["x"].tolist() == ["n/a", 1.5]


def test_a_scrap_named_as_a_column_of_the_run_is_told_apart(
    store: Store, make_run: MakeRun
) -> None:
    run = finished(store, make_run(parameters={}), [number("seconds", 99.0)])

    found = frame(store)

    assert list(found.columns) == [
        "id",
        "template",
        "status",
        "started_at",
        "seconds",
        "scraps.seconds",
    ]
    assert found.loc[0, "scraps.seconds"] == 99.0
    assert found.loc[0, "seconds"] == pytest.approx(run.seconds, abs=1e-6)


def test_a_frame_takes_the_filters_of_the_list(store: Store, make_run: MakeRun) -> None:
    one = finished(store, make_run(template="a", job_run="job-1"), [number("x", 1.0)])
    two = finished(store, make_run(template="b", job_run="job-1"), [number("x", 2.0)])
    three = store.runs.insert(make_run(template="a"), owner="host/1/token", lease=LEASE)

    assert list(frame(store, template="a")["id"]) == [three.id, one.id]
    assert list(frame(store, status=RunStatus.SUCCEEDED)["x"]) == [2.0, 1.0]
    assert list(frame(store, job_run="job-1", limit=1)["x"]) == [2.0]
    assert list(frame(store, ids=[three.id, one.id])["id"]) == [three.id, one.id]
    assert list(frame(store, ids=[])["id"]) == []
    assert two.id not in set(frame(store, template="a")["id"])


def test_a_store_without_runs_gives_an_empty_frame_with_its_columns(store: Store) -> None:
    found = frame(store)

    assert found.shape == (0, 5)
    assert list(found.columns) == ["id", "template", "status", "started_at", "seconds"]
