import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE, Popen
from sys import executable

import psutil
import pytest
import sqlalchemy as sa

from nbprod.core.errors import GpusBusyError
from nbprod.core.resources import Gpu
from nbprod.core.runs import Run, RunStatus
from nbprod.store import tables as t
from nbprod.store.reaping import MARK, reap, this_host
from nbprod.store.store import Store

MakeRun = Callable[..., Run]
LEASE = timedelta(seconds=30)
OVER = timedelta(seconds=-1)
HOST = this_host()
GPUS = tuple(Gpu(uuid=f"GPU-{n}", name="NVIDIA H100", memory_bytes=80 << 30) for n in range(2))

#: A parent, a child in a session of its own (as kernels are), and both alive until killed.
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                         start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def take(
    store: Store,
    run: str,
    *,
    required: int = 0,
    preferred: int = 0,
    host: str = HOST,
    lease: timedelta = LEASE,
    gpus: tuple[Gpu, ...] = GPUS,
) -> list[str]:
    taken = store.gpus.take(
        host, gpus, required=required, preferred=preferred, run=run, fence=1, lease=lease
    )
    return [gpu.uuid for gpu in taken]


@contextmanager
def family(folder: Path) -> Iterator[tuple[psutil.Process, psutil.Process]]:
    """Start a process and its child that carry `folder`'s mark; yield both, and end them."""
    environment = os.environ | {MARK: str(folder)}
    with Popen([executable, "-c", FAMILY], stdout=PIPE, text=True, env=environment) as popen:
        assert popen.stdout is not None
        members = [psutil.Process(popen.pid), psutil.Process(int(popen.stdout.readline()))]
        try:
            yield members[0], members[1]
        finally:
            for member in members:
                if member.is_running():
                    member.kill()


def let_lapse(store: Store, *tables: sa.Table) -> None:
    with store.write() as connection:
        for table in tables:
            connection.execute(sa.update(table).values(lease_until=1.0))


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_the_host_is_the_one_that_leases_are_recorded_under() -> None:
    assert socket.gethostname() == HOST


def test_two_runs_never_share_a_gpu(store: Store) -> None:
    assert take(store, "one", required=1) == ["GPU-0"]
    assert take(store, "two", required=1) == ["GPU-1"]

    with pytest.raises(GpusBusyError) as raised:
        take(store, "three", required=1)

    assert str(raised.value) == (
        f"The run needs 1 GPU; 0 GPUs free on {HOST}.\n"
        "2 GPUs in all; held by run one, run two.\n"
        "Wait for the holder to end, or ask for less under `resources` in the template's "
        "front matter. See who runs: nbprod runs list --status running"
    )


def test_the_leased_gpus_enter_the_runs_lineage(store: Store, make_run: MakeRun) -> None:
    run = store.runs.insert(make_run(), owner="host/1/token", lease=LEASE)

    take(store, run.id, required=2)

    names = ("NVIDIA H100 (GPU-0)", "NVIDIA H100 (GPU-1)")
    final = store.runs.finish(run.id, 1, status=RunStatus.SUCCEEDED, reason="")
    assert final.lineage == replace(run.lineage, devices=names)
    with store.read() as connection:
        assert connection.scalar(sa.select(t.attempts.c.devices)) == json.dumps(
            names, separators=(",", ":")
        )


@pytest.mark.parametrize("wish", [{"required": 2}, {"preferred": 2}])
def test_a_gpu_whose_run_has_its_result_is_waited_for(
    store: Store, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, wish: dict[str, int]
) -> None:
    run = store.runs.insert(make_run(), owner="host/1/token", lease=LEASE)
    take(store, run.id, required=1)
    store.runs.finish(run.id, 1, status=RunStatus.SUCCEEDED, reason="")
    looks: list[float] = []

    def release(seconds: float) -> None:  # its kernel has ended meanwhile
        looks.append(seconds)
        if len(looks) == 2:
            store.gpus.release(run.id, 1)

    monkeypatch.setattr("nbprod.store.leases.time.sleep", release)

    assert take(store, "next", **wish) == ["GPU-0", "GPU-1"]
    assert len(looks) == 2


def test_a_gpu_that_is_not_given_back_in_time_is_busy(
    store: Store, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.runs.insert(make_run(), owner="host/1/token", lease=LEASE)
    take(store, run.id, required=2)
    store.runs.finish(run.id, 1, status=RunStatus.SUCCEEDED, reason="")
    monkeypatch.setattr("nbprod.store.leases.LEAVING_SECONDS", 0.05)

    with pytest.raises(GpusBusyError):
        take(store, "next", required=1)
    assert take(store, "another", preferred=1) == []


def test_a_preference_takes_what_is_free_and_never_waits(store: Store) -> None:
    assert take(store, "none", required=0, preferred=0) == []
    assert take(store, "one", required=1) == ["GPU-0"]
    assert take(store, "two", preferred=2) == ["GPU-1"]
    assert take(store, "three", preferred=1) == []


def test_a_host_without_gpus_says_so(store: Store) -> None:
    with pytest.raises(GpusBusyError) as raised:
        take(store, "one", required=2, gpus=())

    assert str(raised.value) == (
        f"The run needs 2 GPUs; 0 GPUs free on {HOST}.\n"
        f"{HOST} has no GPU that nbprod can see.\n"
        "Ask for fewer under `resources` in the template's front matter, "
        "and see what is there: nbprod doctor"
    )


def test_more_gpus_than_there_are_take_none(store: Store) -> None:
    with pytest.raises(GpusBusyError) as raised:
        take(store, "one", required=3)

    assert raised.value.what == f"The run needs 3 GPUs; 2 GPUs free on {HOST}."
    assert take(store, "two", required=2) == ["GPU-0", "GPU-1"]


def test_the_same_gpu_of_another_host_is_another_one(store: Store) -> None:
    assert take(store, "one", required=2) == take(store, "two", required=2, host="elsewhere")


def test_what_is_released_is_free(store: Store) -> None:
    take(store, "one", required=2)

    store.gpus.release("one", 2)  # another attempt's: nothing happens
    assert take(store, "two", preferred=2) == []
    store.gpus.release("one", 1)

    assert take(store, "two", preferred=2) == ["GPU-0", "GPU-1"]


def test_a_renewed_lease_is_kept(store: Store) -> None:
    take(store, "one", required=1, lease=OVER)

    assert store.gpus.renew("one", 1, lease=LEASE) == 1

    assert take(store, "two", preferred=2) == ["GPU-1"]


def test_an_expired_lease_of_another_host_is_not_broken_from_here(store: Store) -> None:
    take(store, "one", required=2, host="elsewhere", lease=OVER)

    with pytest.raises(GpusBusyError):
        take(store, "two", required=1, host="elsewhere")


def test_eight_threads_share_out_two_gpus(store: Store) -> None:
    start, taken = threading.Barrier(8), []

    def run(number: int) -> None:
        start.wait()
        taken.extend(take(store, f"run-{number}", preferred=1))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(taken) == ["GPU-0", "GPU-1"]


def test_a_dead_holders_processes_are_killed_before_its_gpus_are_lent_again(
    store: Store, make_run: MakeRun, tmp_path: Path
) -> None:
    run = store.runs.insert(make_run(), owner="host/1/token", lease=LEASE)
    take(store, run.id, required=2)
    with family(tmp_path / "attempt") as (attempt, kernel):
        store.runs.started(
            run.id,
            1,
            pid=attempt.pid,
            pid_started=attempt.create_time(),
            folder=str(tmp_path / "attempt"),
        )
        let_lapse(store, t.runs, t.gpu_leases)

        taken = take(store, "next", required=2)

        assert (is_gone(attempt), is_gone(kernel)) == (True, True)
    assert taken == ["GPU-0", "GPU-1"]
    assert store.runs.get(run.id).status is RunStatus.LOST


def test_a_lease_that_outlived_its_finished_run_is_taken_over(
    store: Store, make_run: MakeRun
) -> None:
    run = store.runs.insert(make_run(), owner="host/1/token", lease=LEASE)
    take(store, run.id, required=2, lease=OVER)
    store.runs.finish(run.id, 1, status=RunStatus.SUCCEEDED, reason="")  # then it was killed

    assert take(store, "next", required=2) == ["GPU-0", "GPU-1"]


def test_expiring_a_run_kills_its_processes_and_frees_its_gpus(
    store: Store, make_run: MakeRun, tmp_path: Path
) -> None:
    run = store.runs.insert(make_run(), owner="host/1/token", lease=LEASE)
    take(store, run.id, required=1)
    with family(tmp_path / "attempt") as (attempt, kernel):
        store.runs.started(
            run.id, 1, pid=attempt.pid, pid_started=attempt.create_time(), folder="attempt"
        )
        let_lapse(store, t.runs)  # the GPU's own lease still holds

        (lost,) = store.runs.expire()

        assert (is_gone(attempt), is_gone(kernel)) == (True, True)
    assert lost.id == run.id
    with store.read() as connection:
        assert connection.execute(sa.select(t.gpu_leases)).all() == []


def test_an_orphaned_kernel_is_found_by_its_folder(tmp_path: Path) -> None:
    with family(tmp_path / "attempt") as (attempt, kernel):
        started = attempt.create_time()
        attempt.kill()
        attempt.wait()

        killed = reap(attempt.pid, started, tmp_path / "attempt")

        assert killed == (kernel.pid,)
        assert is_gone(kernel)


def test_a_process_that_only_has_the_same_pid_is_spared(tmp_path: Path) -> None:
    with family(tmp_path / "attempt") as (attempt, kernel):
        killed = reap(attempt.pid, attempt.create_time() - 3600, tmp_path / "another")

        assert killed == ()
        assert (is_gone(attempt), is_gone(kernel)) == (False, False)


def test_nothing_is_killed_from_inside_the_tree(tmp_path: Path) -> None:
    me = psutil.Process()
    parent = me.parent()
    assert parent is not None

    with family(tmp_path / "attempt") as (attempt, kernel):
        assert reap(me.pid, me.create_time(), None) == ()
        assert reap(parent.pid, parent.create_time(), tmp_path / "attempt") == ()

        assert (is_gone(attempt), is_gone(kernel)) == (False, False)
