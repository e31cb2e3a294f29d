"""kill -9 at each statement of a run's life, and while an artifact is written."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import sqlalchemy as sa

from nbprod.core.runs import RunStatus
from nbprod.store import tables as t
from nbprod.store.artifacts import Artifacts
from nbprod.store.store import Store

CRASHING = Path(__file__).with_name("crashing.py")

PUT = """
import sys
from pathlib import Path
from nbprod.store.artifacts import Artifacts
artifacts = Artifacts("artifacts", root=Path(sys.argv[1]))
print("ready", flush=True)
while True:
    artifacts.put_file(Path(sys.argv[2]))
    (stored,) = Path(sys.argv[1]).glob("artifacts/??/*")
    stored.unlink()
"""


def attempts(store: Store) -> dict[str, str]:
    with store.read() as connection:
        return dict(connection.execute(sa.select(t.attempts.c.run, t.attempts.c.status)).all())


def test_a_kill_at_any_statement_leaves_a_run_in_one_state_with_all_that_belongs_to_it(
    store_url: str, tmp_path: Path
) -> None:
    Store.open(store_url, root=tmp_path).close()

    done = subprocess.run(
        [sys.executable, CRASHING, store_url, tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    lives = [line.split() for line in done.stdout.splitlines()]
    assert [int(end) for _, end in lives] == [signal.SIGKILL] * (len(lives) - 1) + [0], done.stderr
    with Store.open(store_url, root=tmp_path) as store:
        runs = store.runs.list()
        scraps = store.runs.scraps([run.id for run in runs])
        found = Counter(
            (
                run.status,
                run.folder != "",
                run.notebook_digest != "",
                run.finished_at is not None,
                len(scraps[run.id]),
                len(store.runs.artifacts(run.id)),
                attempts(store)[run.id],
            )
            for run in runs
        )
        with store.write() as connection:  # no lock was left behind
            if connection.dialect.name == "sqlite":
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    # before it started, after it, and finished: nothing between these
    before = (RunStatus.LOST, False, False, True, 0, 0, "lost")
    after = (RunStatus.LOST, True, False, True, 0, 0, "lost")
    finished = (RunStatus.SUCCEEDED, True, True, True, 2, 1, "succeeded")
    assert set(found) == {before, after, finished}
    assert found[finished] == 1
    assert len(lives) - len(runs) >= 3  # killed before the insertion was committed


def test_a_kill_while_an_artifact_is_written_leaves_no_half_of_it(tmp_path: Path) -> None:
    source = tmp_path / "weights"
    source.write_bytes(os.urandom(8 << 20))
    artifacts = Artifacts("artifacts", root=tmp_path)

    for round_ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", PUT, tmp_path, source], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        try:
            writer.wait(timeout=0.01 + 0.013 * round_)
        except subprocess.TimeoutExpired:
            writer.kill()
        writer.communicate()

        assert writer.returncode == -signal.SIGKILL
        for path in tmp_path.glob("artifacts/??/*"):
            artifacts.verify(path.name)

    sha256, _ = artifacts.put_file(source)
    artifacts.verify(sha256)
