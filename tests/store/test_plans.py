"""Look-ups are answered by indexes and two queries, however many runs there are."""

from typing import Any

import pytest
import sqlalchemy as sa

from nbprod.core.runs import RunStatus
from nbprod.store import tables as t
from nbprod.store.expressions import among, db_now
from nbprod.store.frames import frame
from nbprod.store.runs import select_runs
from nbprod.store.store import Store


def plan(store: Store, query: sa.Select[Any]) -> list[str]:
    """Return SQLite's plan: "SEARCH ... USING INDEX ..." is a look-up, "SCAN" reads everything."""
    with store.read() as connection:
        text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
    return [row[3] for row in rows]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "SCAN runs USING INDEX ix_runs_created_at_id"),
        (
            {"template": "train"},
            "SEARCH runs USING INDEX ix_runs_template_created_at_id (template=?)",
        ),
        (
            {"status": RunStatus.FAILED},
            "SEARCH runs USING INDEX ix_runs_status_created_at_id (status=?)",
        ),
        (
            {"job_run": "20261121-110000-abcdef"},
            "SEARCH runs USING INDEX ix_runs_job_run_created_at_id (job_run=?)",
        ),
    ],
)
def test_the_newest_runs_are_read_in_the_order_of_an_index(
    sqlite_store: Store, filters: dict[str, Any], expected: str
) -> None:
    query = select_runs(t.runs, **filters, limit=50)

    # the first would read all only without its limit; no plan has "USE TEMP B-TREE" for a sort
    assert plan(sqlite_store, query) == [expected]


def test_scraps_of_some_runs_are_looked_up_by_run(sqlite_store: Store) -> None:
    query = sa.select(t.scraps).where(among(t.scraps.c.run, ["a", "b"]))

    found = plan(sqlite_store, query)

    assert found[0] == "SEARCH scraps USING INDEX sqlite_autoindex_scraps_1 (run=?)"


def test_runs_by_one_metric_are_looked_up_by_scrap(sqlite_store: Store) -> None:
    query = sa.select(t.scraps.c.run).where(t.scraps.c.name == "f1").order_by(t.scraps.c.number)

    assert plan(sqlite_store, query) == ["SEARCH scraps USING INDEX ix_scraps_name_number (name=?)"]


def test_the_check_for_expired_runs_reads_only_running_ones(sqlite_store: Store) -> None:
    query = sa.select(t.runs.c.id).where(
        t.runs.c.status == "running", t.runs.c.is_foreground, t.runs.c.lease_until < db_now()
    )

    assert plan(sqlite_store, query) == [
        "SEARCH runs USING INDEX ix_runs_status_created_at_id (status=?)"
    ]


def test_a_run_is_looked_up_by_the_beginning_of_its_id(sqlite_store: Store) -> None:
    query = sa.select(t.runs.c.id).where(t.runs.c.id >= "2026", t.runs.c.id < "2026~")

    assert plan(sqlite_store, query) == [
        "SEARCH runs USING COVERING INDEX sqlite_autoindex_runs_1 (id>? AND id<?)"
    ]


def test_a_frame_takes_two_queries(sqlite_store: Store) -> None:
    statements = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement.split()[0])

    sa.event.listen(sqlite_store.engine, "before_cursor_execute", note)
    frame(sqlite_store, template="train", limit=5)

    assert [verb for verb in statements if verb != "BEGIN"] == ["SELECT", "SELECT"]
