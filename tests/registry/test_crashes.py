"""Real processes: killed at every step, and eight of them at once."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from model_files import open_registry

HERE = Path(__file__).parent
ONE: dict[str, Any] = {"versions": [2, 1], "champion": 1, "decisions": [["promote", 1, 1]]}
TWO = ONE | {"champion": 2, "decisions": [["promote", 2, 2], ["promote", 1, 1]]}
THREE = ONE | {"versions": [3, 2, 1]}
SERVED_TWO = ONE | {"champion": 2, "decisions": [["promote", 2, 1], ["promote", 1, 1]]}
BACK = ONE | {"decisions": [["rollback", 1, 0], ["promote", 2, 1], ["promote", 1, 1]]}


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder in memory where there is one: a killed process is no power cut, so what fsync
    promises is not at stake here, and on a busy disk it takes four fifths of the time.
    """
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None)
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("operation", "before", "after"),
    [("register", ONE, THREE), ("promote", ONE, TWO), ("rollback", SERVED_TWO, BACK)],
)
def test_killed_at_any_step_a_decision_was_made_or_was_not(
    operation: str, before: dict[str, Any], after: dict[str, Any], store_url: str, root: Path
) -> None:
    url = store_url
    if url.startswith("sqlite"):
        url = f"sqlite:///{root}/.nbprod/store.db"

    attempts = deaths(url, root, operation)

    assert [line for line in attempts if line["found"] not in (before, after)] == []
    assert [line for line in attempts if line["again"] != after] == []
    # Both were seen: deaths before the commit, and between it and its answer.
    found = [line["found"] for line in attempts[:-1]]
    assert before in found
    assert after in found


@pytest.mark.parametrize("operation", ["materialise", "repair"])
def test_killed_at_any_step_the_folder_of_a_version_is_whole_or_not_there(
    operation: str, root: Path
) -> None:
    attempts = deaths(f"sqlite:///{root}/.nbprod/store.db", root, operation)

    # Each survivor loaded every version and compared its digest.
    assert [line for line in attempts if line["found"] != ONE or line["again"] != ONE] == []


def deaths(url: str, root: Path, operation: str) -> list[dict[str, Any]]:
    """Kill the operation at every step; return what was found after each death, then survival."""
    done = subprocess.run(
        [sys.executable, HERE / "crash_worker.py", url, root, operation],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    attempts = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(attempts) > 10  # deaths, at that many different steps
    assert attempts[-1]["survived"]
    return attempts


def test_eight_processes_that_register_and_promote_at_once_lose_nothing(
    store_url: str, tmp_path: Path
) -> None:
    workers, count = 8, 6
    processes = [
        subprocess.Popen(
            [sys.executable, HERE / "register_worker.py", store_url, tmp_path, str(number),
             str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        for number in range(workers)
    ]  # fmt: skip
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=240) for process in processes]
    assert [error for _, error in outputs if error] == []
    results = [json.loads(output) for output, _ in outputs]

    registry, store = open_registry(store_url, tmp_path)
    with store:
        found = registry.versions("router")
        history = registry.history("router")[::-1]
        champion = registry.get("router@champion")
        for version in found:
            registry.verify(f"router@{version.version}")

    # Four models of each process are its own, two are everybody's: numbered without gaps.
    distinct = workers * 4 + 2
    assert [version.version for version in found] == list(range(distinct, 0, -1))
    by_seed: dict[int, set[int]] = {}
    for versions, _, _ in results:
        for seed, version in versions:
            by_seed.setdefault(seed, set()).add(version)
    assert sorted(len(numbers) for numbers in by_seed.values()) == [1] * distinct
    # Each promotion left the version that the one before it had put there.
    assert [decision.former for decision in history] == [
        None, *(decision.version for decision in history[:-1])
    ]  # fmt: skip
    assert champion.version == history[-1].version
    assert sorted(decision.id for decision in history) == sorted(
        entry for _, promotions, _ in results for entry in promotions
    )
