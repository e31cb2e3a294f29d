import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from nbprod.core.errors import (
    StoreBusyError,
    StoreDriverError,
    StoreUnreachableError,
    StoreUrlError,
)
from nbprod.core.runs import Run
from nbprod.store import engine, failures
from nbprod.store import tables as t
from nbprod.store.engine import connect, parse_url
from nbprod.store.store import Store

MakeRun = Callable[..., Run]


def test_a_relative_file_is_below_the_workspace(tmp_path: Path) -> None:
    url = parse_url("sqlite:///.nbprod/store.db", root=tmp_path)

    assert url.database == f"{tmp_path}/.nbprod/store.db"


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_postgresql_is_spoken_to_by_psycopg(scheme: str, tmp_path: Path) -> None:
    url = parse_url(f"{scheme}://ada@db/team", root=tmp_path)

    assert url.render_as_string() == "postgresql+psycopg://ada@db/team"


@pytest.mark.parametrize("url", ["store.db", "mysql://db/team", "sqlite://", "sqlite:///:memory:"])
def test_an_address_of_something_else_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreUrlError) as raised:
        Store.open(url, root=tmp_path)

    assert str(raised.value) == (
        f"{url!r} is no address of a store.\n"
        "A store is a SQLite file or a PostgreSQL database.\n"
        "Set `store` under [workspace] in nbprod.toml to sqlite:///.nbprod/store.db or "
        "postgresql://USER@HOST/DATABASE, then check it: nbprod doctor"
    )


def test_postgresql_without_its_driver_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # what an absent package looks like

    with pytest.raises(StoreDriverError) as raised:
        Store.open("postgresql://ada:secret@db/team", root=tmp_path)

    assert str(raised.value) == (
        "The store postgresql+psycopg://ada:***@db/team cannot be opened.\n"
        "It is a PostgreSQL database, and the driver psycopg is not installed.\n"
        "Install it: pip install 'nbprod[postgres]'"
    )


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachableError) as raised:
        Store.open(f"postgresql://ada:secret@/team?host={tmp_path}", root=tmp_path)

    assert str(raised.value) == (
        f"The store postgresql+psycopg://ada:***@/team?host={quote(str(tmp_path), safe='')}"
        " cannot be reached.\n"
        "Is the server running locally and accepting connections on that socket?\n"
        "Check `store` in nbprod.toml and that the database runs: nbprod doctor"
    )


def test_a_postgresql_database_that_does_not_exist_is_named(
    postgres_url: str, tmp_path: Path
) -> None:
    with pytest.raises(StoreUnreachableError) as raised:
        Store.open(postgres_url.replace("@/?", "@/nowhere?"), root=tmp_path)

    assert str(raised.value).splitlines()[1].endswith('database "nowhere" does not exist')


def test_what_a_writer_read_cannot_change_before_it_commits(store: Store) -> None:
    with store.write() as connection:
        connection.execute(
            sa.insert(t.models), {"name": "router", "last_version": 0, "created_at": 0.0}
        )
    start = threading.Barrier(6)

    def add(times: int) -> None:
        start.wait()
        for _ in range(times):
            with store.write() as connection:
                found = connection.scalar(sa.select(t.models.c.last_version)) or 0
                connection.execute(sa.update(t.models).values(last_version=found + 1))

    threads = [threading.Thread(target=add, args=(10,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with store.read() as connection:
        assert connection.scalar(sa.select(t.models.c.last_version)) == 60


def test_a_heartbeat_does_not_wait_for_a_slow_writer(
    postgres_store_url: str, tmp_path: Path, make_run: MakeRun
) -> None:
    lease = timedelta(seconds=30)
    with Store.open(postgres_store_url, root=tmp_path) as store:
        run = store.runs.insert(make_run(), owner="host/1/token", lease=lease)

        with store.write():
            assert store.runs.heartbeat(run.id, 1, lease=lease)


def test_a_reader_sees_one_moment(store: Store, make_run: MakeRun) -> None:
    with store.read() as connection:
        before = connection.scalar(sa.select(sa.func.count()).select_from(t.runs))
        store.runs.insert(make_run())
        after = connection.scalar(sa.select(sa.func.count()).select_from(t.runs))

    assert (before, after, len(store.runs.list())) == (0, 0, 1)


def test_a_block_that_raises_writes_nothing(store: Store, make_run: MakeRun) -> None:
    run = store.runs.insert(make_run())

    def delete_half() -> None:
        with store.write() as connection:
            connection.execute(sa.delete(t.runs))
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        delete_half()

    assert store.runs.list() == [run]


def test_a_writer_that_never_ends_is_reported(
    store_url: str, tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(failures, "PATIENCE_SECONDS", 1.0)
    url = parse_url(store_url, root=tmp_path)

    with Store.open(store_url, root=tmp_path) as first, Store.open(store_url, root=tmp_path) as two:
        with first.write(), pytest.raises(StoreBusyError) as raised:
            two.runs.insert(make_run())
        two.runs.insert(make_run())

    assert str(raised.value) == (
        f"The store {failures.shown(url)} is busy.\n"
        "Another process has held its write lock for more than 1 seconds.\n"
        "See which nbprod processes run, and try again: ps -ef | grep nbprod"
    )


def test_a_postgresql_writer_that_stopped_in_the_middle_loses_its_lock(
    postgres_store_url: str, tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 2.0)  # so that idle writers have one second
    stopped = connect(parse_url(postgres_store_url, root=tmp_path))

    with Store.open(postgres_store_url, root=tmp_path) as store:
        connection = stopped.connect().execution_options(**{engine.WRITES: True})
        connection.begin()
        run = store.runs.insert(make_run(), owner="host/1/token", lease=timedelta(seconds=30))

        assert store.runs.list() == [run]
        with pytest.raises(StoreUnreachableError) as raised:
            connection.execute(sa.delete(t.runs))
        connection.close()
    stopped.dispose()

    assert raised.value.why == (
        "It ended a transaction that had stood still, so that others could write."
    )


def test_a_commit_waits_for_the_disk_unless_it_need_not(store: Store) -> None:
    is_sqlite = store.engine.dialect.name == "sqlite"
    ask = "PRAGMA synchronous" if is_sqlite else "SHOW synchronous_commit"
    found = []

    for is_synced in (False, True, False, True):
        with store.database.write(is_synced=is_synced) as connection:
            found.append(connection.exec_driver_sql(ask).scalar())

    assert found == ([1, 2, 1, 2] if is_sqlite else ["off", "on", "off", "on"])
