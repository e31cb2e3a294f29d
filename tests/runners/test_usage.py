"""What a kernel and its children use is measured from beside them, in truth."""

import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nbprod.runners.family import Family, look
from nbprod.runners.gpu_memory import GpuMemory
from nbprod.runners.gpus import inventory
from nbprod.runners.usage import Meter
from tests.runners.worker import Worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")

MB = 1_000_000
BURN = """
import time
end = time.process_time() + {seconds}
while time.process_time() < end: pass
"""
#: A child that burns, is waited for or is not, in a pipe's rhythm.
FORK = """
import os
pid = os.fork()
if not pid:
    try:
        {code}
    finally:
        os._exit(0)
answer = pid
"""


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    Family(worker.pid).kill()
    worker.end()


def test_a_cell_that_frees_what_it_took_has_its_peak_and_the_next_has_not(worker: Worker) -> None:
    meter = Meter(worker.pid)

    meter.cell_started()
    before = meter.total()
    worker.does("x = bytearray(200_000_000)\nx[::4096] = bytes(len(x[::4096]))\ndel x")
    large = meter.cell_finished()
    meter.cell_started()
    worker.does("y = 1")
    small = meter.cell_finished()

    assert before is not None
    assert large is not None
    assert small is not None
    # nobody looked while the cell ran: the kernel of this machine kept the peak
    assert 190 * MB < large.peak_rss_bytes - before.peak_rss_bytes < 230 * MB
    assert small.peak_rss_bytes < large.peak_rss_bytes - 150 * MB
    total = meter.total()
    assert total is not None
    assert total.peak_rss_bytes == large.peak_rss_bytes


def test_cpu_time_is_the_cells_own(worker: Worker) -> None:
    meter = Meter(worker.pid)

    meter.cell_started()
    worker.does(BURN.format(seconds=0.3))
    busy = meter.cell_finished()
    meter.cell_started()
    worker.does("import time; time.sleep(0.05)")
    idle = meter.cell_finished()

    assert busy is not None
    assert idle is not None
    assert 0.3 <= busy.cpu_seconds < 0.4
    assert idle.cpu_seconds < 0.05


def test_children_count_while_they_live_and_after_they_were_waited_for(worker: Worker) -> None:
    meter = Meter(worker.pid)
    meter.cell_started()

    code = BURN.format(seconds=0.2).replace("\n", "\n        ")
    worker.does(FORK.format(code=code) + "os.waitpid(pid, 0)")
    used = meter.cell_finished()

    assert used is not None
    assert 0.18 < used.cpu_seconds < 0.4  # Linux tells it in hundredths


def test_a_child_that_nobody_waits_for_is_counted_as_it_was_last_seen(worker: Worker) -> None:
    meter = Meter(worker.pid)
    meter.cell_started()
    worker.does("import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    burn = BURN.format(seconds=0.2).replace("\n", "\n        ")
    child = int(worker.does(FORK.format(code=burn + "\n        time.sleep(600)")))
    process = psutil.Process(child)
    while process.status() != psutil.STATUS_SLEEPING:
        pass
    meter.sample()

    process.kill()
    while look(child) is not None:
        pass
    worker.does(BURN.format(seconds=0.1))
    used = meter.cell_finished()

    assert used is not None
    assert 0.3 <= used.cpu_seconds < 0.45


def test_memory_that_children_share_counts_once(worker: Worker) -> None:
    meter = Meter(worker.pid)
    worker.does("x = bytearray(200_000_000)\nx[::4096] = bytes(len(x[::4096]))")
    meter.sample()
    alone = meter.total()
    for _ in range(3):
        worker.does(FORK.format(code="import time; time.sleep(600)"))

    meter.sample()

    total = meter.total()
    assert alone is not None
    assert total is not None
    assert sum(process.rss_bytes for process in meter.family.members()) > 600 * MB
    assert total.peak_rss_bytes < alone.peak_rss_bytes + 30 * MB


def test_memory_of_children_adds_up(worker: Worker) -> None:
    meter = Meter(worker.pid)
    meter.sample()
    alone = meter.total()
    take = "x = bytearray(100_000_000); x[::4096] = bytes(len(x[::4096])); os.write(write, b'x')"
    for _ in range(2):
        worker.does("import os; read, write = os.pipe()")
        code = f"{take}\n        import time; time.sleep(600)"
        worker.does(FORK.format(code=code) + "os.read(read, 1)")

    meter.sample()

    total = meter.total()
    assert alone is not None
    assert total is not None
    assert 200 * MB < total.peak_rss_bytes - alone.peak_rss_bytes + 20 * MB < 260 * MB


@pytest.mark.parametrize("found_by", ["session", "mark"])
def test_a_process_that_left_its_parent_is_found(found_by: str, tmp_path: Path) -> None:
    worker = Worker({**os.environ, "NBPROD_RUN_FOLDER": str(tmp_path)})
    leave = "os.setsid()" if found_by == "mark" else "pass"
    twice = f"""
import os, time
read, write = os.pipe()
if not os.fork():
    {leave}
    if not os.fork():
        os.write(write, str(os.getpid()).encode())
        time.sleep(600)
    os._exit(0)
os.wait()
answer = os.read(read, 20).decode()
"""
    folder = tmp_path if found_by == "mark" else None
    family = Family(worker.pid, folder=folder)
    left = int(worker.does(twice))

    process = look(left)
    is_left = process is not None and process.parent != worker.pid
    is_ended = family.kill()
    worker.end()

    assert is_left
    assert is_ended
    now = look(left)
    assert now is None or now.is_over


def test_another_runs_processes_are_left_alone(worker: Worker, tmp_path: Path) -> None:
    other = Worker({**os.environ, "NBPROD_RUN_FOLDER": str(tmp_path / "another")})

    Family(worker.pid, folder=tmp_path / "this").kill()

    assert other.does("answer = 1 + 1") == "2"
    other.end()


def test_a_family_that_forks_all_the_time_is_ended(worker: Worker) -> None:
    # each forks again before it ends: whoever is looked for is already another
    worker.does(
        FORK.format(
            code="""
        for _ in range(20_000):
            if os.fork(): os._exit(0)
        """
        )
    )
    family = Family(worker.pid)

    assert family.kill(patience=10)
    assert [process for process in family.members() if not process.is_over] == []


def test_of_what_is_gone_nothing_is_said() -> None:
    worker = Worker()
    worker.end()

    meter = Meter(worker.pid)
    meter.cell_started()

    assert meter.cell_finished() is None
    assert meter.total() is None


class Driver(types.ModuleType):
    """NVML's face, which no machine without a GPU has."""

    def __init__(self, used: list[int], processes: list[tuple[int, int | None]]) -> None:
        super().__init__("pynvml")
        self.used, self.processes = used, processes

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's own name
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return uuid

    def nvmlDeviceGetMemoryInfo(self, device: str) -> Any:  # noqa: N802
        return types.SimpleNamespace(used=self.used[-1])

    def nvmlDeviceGetComputeRunningProcesses(self, device: str) -> list[Any]:  # noqa: N802
        return [types.SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.processes]


def test_gpu_memory_is_that_of_our_own_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Driver([900], [(7, 300), (8, 200), (9, 400)]))
    memory = GpuMemory(["GPU-a", "GPU-b"])

    assert memory.held([7, 8]) == 1000  # 500 on each
    assert memory.is_measured


def test_where_the_driver_names_no_process_of_ours_a_device_counts_from_where_it_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = Driver([100], [(70_001, None)])
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    memory = GpuMemory(["GPU-a"])

    assert memory.held([7]) == 0
    driver.used.append(5100)
    assert memory.held([7]) == 5000


def test_without_a_driver_nothing_is_said_of_gpus(worker: Worker) -> None:
    meter = Meter(worker.pid, gpus=GpuMemory(["GPU-00000000-0000-0000-0000-000000000000"]))

    meter.sample()

    total = meter.total()
    assert total is not None
    assert total.peak_gpu_bytes is None


def test_on_a_real_gpu_what_is_allocated_is_seen(worker: Worker) -> None:
    found = inventory()
    if not found:
        pytest.skip("this machine has no GPU")
    if worker.does("import torch; answer = torch.cuda.is_available()") != "True":
        pytest.skip("torch cannot use the GPU")
    meter = Meter(worker.pid, gpus=GpuMemory([found[0].uuid]))
    meter.sample()

    meter.cell_started()
    worker.does("x = torch.ones(250_000_000, device='cuda:0'); torch.cuda.synchronize()")
    used = meter.cell_finished()

    assert used is not None
    assert used.peak_gpu_bytes is not None
    assert 1_000 * MB <= used.peak_gpu_bytes < 3_000 * MB  # CUDA's own context is some of it


def test_a_meter_tells_the_peak_on_gpus_by_cell(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver([100], [])
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    meter = Meter(worker.pid, gpus=GpuMemory(["GPU-a"]))
    meter.sample()

    meter.cell_started()
    driver.used.append(4100)
    meter.sample()
    driver.used.append(1100)
    first = meter.cell_finished()
    meter.cell_started()
    second = meter.cell_finished()

    total = meter.total()
    assert (first and first.peak_gpu_bytes, second and second.peak_gpu_bytes) == (4000, 1000)
    assert total is not None
    assert total.peak_gpu_bytes == 4000
