import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from nbprod.core.errors import NewerStoreError, NotAStoreError
from nbprod.store import migrations
from nbprod.store.engine import connect, open_engine, parse_url
from nbprod.store.schema import REVISION_TABLE, REVISIONS, migrate
from nbprod.store.store import Store
from nbprod.store.tables import metadata

OPEN_AND_COUNT = """
import sys
from pathlib import Path
import sqlalchemy as sa
from nbprod.store.store import Store
print("ready", flush=True)
sys.stdin.readline()
with Store.open(sys.argv[1], root=Path(sys.argv[2])) as store, store.read() as connection:
    print(len(sa.inspect(connection).get_table_names()))
"""


def test_the_migrations_make_exactly_the_tables(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": True,
                "version_table": REVISION_TABLE,
            },
        )

        assert compare_metadata(context, metadata) == []


def test_the_known_revisions_are_those_of_the_scripts_in_their_order() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))

    found = [script.revision for script in scripts.walk_revisions()]

    assert tuple(reversed(found)) == REVISIONS


def test_checks_and_names_of_constraints_are_those_of_the_tables(store: Store) -> None:
    # Alembic compares neither check constraints nor the names of keys
    with store.read() as connection:
        inspector = sa.inspect(connection)
        found = {
            name: {
                inspector.get_pk_constraint(name)["name"],
                *(key["name"] for key in inspector.get_foreign_keys(name)),
                *(check["name"] for check in inspector.get_check_constraints(name)),
                *(unique["name"] for unique in inspector.get_unique_constraints(name)),
            }
            for name in metadata.tables
        }

    assert found == {
        name: {str(constraint.name) for constraint in table.constraints}
        for name, table in metadata.tables.items()
    }


def test_eight_processes_make_a_store_at_once(store_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN_AND_COUNT, store_url, str(tmp_path)]
    openers = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for opener in openers:
        assert opener.stdout is not None
        opener.stdout.readline()  # all are up: from here they race

    found = []
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("\n")
        opener.stdin.flush()
    for opener in openers:
        output, errors = opener.communicate(timeout=60)
        found.append((opener.returncode, output, errors))

    tables = f"{len(metadata.tables) + 1}\n"
    assert found == [(0, tables, "")] * 8


def test_a_new_file_is_in_wal_mode_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    store = Store.open("sqlite:///.nbprod/store.db", root=tmp_path)
    with store, store.read() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()

    assert mode == "wal"
    assert sorted(path.name for path in (tmp_path / ".nbprod").iterdir()) == [
        "store.db",
        "store.db.lock",
    ]


@pytest.mark.parametrize("leftover", ["empty file", "half-made file"])
def test_what_a_crash_left_of_the_creation_is_made_anew(tmp_path: Path, leftover: str) -> None:
    if leftover == "empty file":
        (tmp_path / "store.db").touch()
    else:
        (tmp_path / "store.db.making").write_bytes(b"SQLite format 3\0 and then the power went")

    with Store.open("sqlite:///store.db", root=tmp_path) as store:
        assert store.runs.list() == []

    assert not (tmp_path / "store.db.making").exists()


def test_an_ordinary_open_neither_migrates_nor_writes(store_url: str, tmp_path: Path) -> None:
    Store.open(store_url, root=tmp_path).close()
    statements: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        Store.open(store_url, root=tmp_path).close()
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)

    verbs = {statement.split()[0] for statement in statements}
    assert verbs <= {"SELECT", "BEGIN", "PRAGMA", "SET"}, verbs
    assert not any("pg_advisory" in statement for statement in statements)


def test_a_store_of_the_first_release_is_brought_up_with_its_runs_by_whoever_opens_it(
    store_url: str, tmp_path: Path
) -> None:
    url = parse_url(store_url, root=tmp_path)
    if url.get_backend_name() == "sqlite":
        Path(str(url.database)).parent.mkdir(parents=True)
    engine = connect(url)
    with engine.begin() as connection:
        migrate(connection, REVISIONS[0])
        connection.execute(
            sa.text(
                "INSERT INTO runs (id, template, kind, parameters, lineage, template_digest,"
                " environment_digest, status, reason, fence, is_foreground, heartbeats,"
                " created_at, folder, notebook_digest) VALUES ('20261121-1', 'train', '', '{}',"
                """ '{"template_digest": "a"}', 'a', '', 'succeeded', 'Every cell finished.', 1,"""
                " true, 7, 1.5, '', '')"
            )
        )
    engine.dispose()

    command = [sys.executable, "-c", OPEN_AND_COUNT, store_url, str(tmp_path)]
    openers = [
        subprocess.run(command, input="\n", capture_output=True, text=True, timeout=60, check=False)
        for _ in range(2)
    ]
    with Store.open(store_url, root=tmp_path) as store:
        run = store.runs.get("20261121")
        with store.read() as connection:
            revision = connection.scalar(sa.text(f"SELECT version_num FROM {REVISION_TABLE}"))
            columns = {column["name"] for column in sa.inspect(connection).get_columns("runs")}

    tables = f"ready\n{len(metadata.tables) + 1}\n"
    assert [(opener.stdout, opener.stderr) for opener in openers] == [(tables, "")] * 2
    assert revision == REVISIONS[-1]
    assert (run.id, run.status.value, run.usage) == ("20261121-1", "succeeded", None)
    assert columns >= {"cpu_seconds", "peak_rss_bytes", "peak_gpu_bytes"}


def test_a_store_from_a_newer_version_is_refused(store_url: str, tmp_path: Path) -> None:
    url = parse_url(store_url, root=tmp_path)
    engine = open_engine(store_url, root=tmp_path)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {REVISION_TABLE} SET version_num = '0099_later'"))
    engine.dispose()

    with pytest.raises(NewerStoreError) as raised:
        Store.open(store_url, root=tmp_path)

    shown = url.database if "sqlite" in store_url else url.render_as_string(hide_password=True)
    assert str(raised.value) == (
        f"The store {shown} was written by a newer nbprod.\n"
        "It is at revision 0099_later; this nbprod knows revisions up to 0002_usage.\n"
        "Nothing was changed. Upgrade: pip install --upgrade nbprod"
    )


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_text("These are my notes, and no database at all.\n" * 100)
    before = path.read_bytes()

    with pytest.raises(NotAStoreError) as raised:
        Store.open("sqlite:///store.db", root=tmp_path)

    assert str(raised.value) == (
        f"{path} is not a store of nbprod.\n"
        "SQLite says: file is not a database.\n"
        "Nothing was changed. Point `store` in nbprod.toml elsewhere, or move the file away: "
        f"mv {path} {path}.aside"
    )
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE customers (id INTEGER)")
    other.close()
    before = path.read_bytes()

    with pytest.raises(NotAStoreError) as raised:
        Store.open("sqlite:///store.db", root=tmp_path)

    assert str(raised.value) == (
        f"{path} is not a store of nbprod.\n"
        "It holds other tables: customers.\n"
        "Nothing was changed. Point `store` in nbprod.toml elsewhere, or move the file away: "
        f"mv {path} {path}.aside"
    )
    assert path.read_bytes() == before


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    Store.open("sqlite:///store.db", root=tmp_path).close()
    path = tmp_path / "store.db"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)

    with pytest.raises(NotAStoreError) as raised:
        Store.open("sqlite:///store.db", root=tmp_path)

    assert str(raised.value).splitlines()[1] == "SQLite says: database disk image is malformed."


def test_a_postgresql_database_may_be_shared_with_another_program(
    postgres_store_url: str, tmp_path: Path
) -> None:
    engine = connect(parse_url(postgres_store_url, root=tmp_path))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('theirs')")
    engine.dispose()

    with Store.open(postgres_store_url, root=tmp_path) as store, store.read() as connection:
        theirs = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()

    assert theirs == "theirs"


def test_a_postgresql_database_with_tables_of_the_same_names_is_refused(
    postgres_store_url: str, tmp_path: Path
) -> None:
    url = parse_url(postgres_store_url, root=tmp_path)
    engine = connect(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE models (id INTEGER)")
    engine.dispose()

    with pytest.raises(NotAStoreError) as raised:
        Store.open(postgres_store_url, root=tmp_path)

    assert str(raised.value) == (
        f"{url.render_as_string(hide_password=True)} is not a store of nbprod.\n"
        "It holds tables of the same names that nbprod did not make: models.\n"
        "Nothing was changed. Give nbprod a database of its own: createdb nbprod"
    )
