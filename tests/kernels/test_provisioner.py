"""Kernels by the provisioner: forked where that changes nothing, cold with a reason elsewhere."""

import asyncio
import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.connect import LocalPortCache, port_names
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from kernel_starts import Starts
from nbclient import NotebookClient

from nbprod.core.version import VERSION
from nbprod.kernels import client
from nbprod.kernels.provisioner import WarmProvisioner, tie_to_owner, warm_spec
from nbprod.kernels.readiness import QuickBlockingClient
from nbprod.kernels.starts import StartKind

LAUNCHER = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
MEMORY = "--HistoryManager.hist_file=:memory:"


class Kernel:
    """A kernel of a kernelspec, with a client that is connected to it."""

    def __init__(self, manager: KernelManager, **options: Any) -> None:
        self.manager = manager
        manager.start_kernel(**options)
        assert isinstance(manager.provisioner, WarmProvisioner)
        self.provisioner = manager.provisioner
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def says(self, code: str) -> str:
        """Execute code and return what it prints."""
        printed = []

        def keep(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        reply = self.client.execute_interactive(code, output_hook=keep, timeout=60)
        while reply["content"]["status"] == "aborted":  # still clearing up after an error
            reply = self.client.execute_interactive(code, output_hook=keep, timeout=60)
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(printed).strip()

    def end(self, *, now: bool = False) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=now)
        self.manager.cleanup_resources()


Start = Callable[..., Kernel]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a kernel of a warm kernelspec; it is ended at the test's end."""
    kernels: list[Kernel] = []

    def started(
        argv: list[str] | None = None, *, language: str = "python", **options: Any
    ) -> Kernel:
        manager = options.pop("manager", None) or KernelManager()
        spec = KernelSpec(
            argv=[*LAUNCHER, MEMORY] if argv is None else argv,
            language=language,
            display_name="Mine",
            metadata={"supported_encryption": ["curve"]},
        )
        manager._kernel_spec = warm_spec(spec)
        kernels.append(Kernel(manager, **options))
        return kernels[-1]

    yield started
    for kernel in kernels:
        kernel.end(now=True)


def test_a_kernel_is_forked_and_works(start: Start, warm: Starts) -> None:
    kernel = start()

    assert kernel.provisioner.is_warm
    assert kernel.provisioner.why_cold == ""
    assert int(kernel.says("import os; print(os.getpid())")) == kernel.provisioner.pid
    assert warm.kinds() <= {StartKind.FORKED, StartKind.SPARE}


def test_a_kernel_has_the_folder_variables_and_streams_that_a_cold_one_has(
    start: Start, warm: Starts, tmp_path: Path
) -> None:
    asked = {"cwd": str(tmp_path), "env": os.environ | {"ASKED": "for"}}
    code = """
import os, stat
print(os.getcwd(), os.environ["ASKED"], os.environ["JPY_PARENT_PID"])
print(os.umask(0), os.getsid(0) == os.getpid())
print(stat.S_ISFIFO(os.fstat(0).st_mode), repr(os.read(0, 1)))
print(sorted(os.sched_getaffinity(0)), os.nice(0))
"""

    forked = start(**asked)
    cold = start(argv=["python", "-I", *LAUNCHER[1:]], **asked)

    assert (forked.provisioner.is_warm, cold.provisioner.is_warm) == (True, False)
    assert forked.says(code) == cold.says(code)


def test_an_interrupt_reaches_the_running_cell(start: Start, warm: Starts) -> None:
    kernel = start()
    request = kernel.client.execute("import time\nprint('begun', flush=True)\ntime.sleep(60)")
    while kernel.client.get_iopub_msg(timeout=30)["msg_type"] != "stream":
        pass

    kernel.manager.interrupt_kernel()

    reply = kernel.client._recv_reply(request, timeout=30)
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert kernel.says("print('still there')") == "still there"


@pytest.mark.parametrize("now", [False, True])
def test_a_restart_keeps_the_clients_that_are_connected(
    start: Start, warm: Starts, *, now: bool
) -> None:
    kernel = start()
    before = kernel.manager.get_connection_info()
    kernel.says("kept = 1")

    kernel.manager.restart_kernel(now=now)
    kernel.client.wait_for_ready(timeout=60)

    assert kernel.provisioner.is_warm
    assert kernel.manager.get_connection_info() == before
    assert kernel.says("print('kept' in globals())") == "False"


def test_a_shutdown_runs_what_the_user_left_for_the_end_and_reports_the_exit(
    start: Start, warm: Starts, tmp_path: Path
) -> None:
    kernel = start(cwd=str(tmp_path))
    kernel.says("import atexit; from pathlib import Path; atexit.register(Path('left').touch)")
    process = kernel.provisioner.process

    kernel.manager.shutdown_wait_time = 60  # else it is terminated after 2.5 s, busy cores or not
    begun = time.monotonic()
    kernel.end()

    assert (tmp_path / "left").exists()
    assert process.returncode == 0
    assert time.monotonic() - begun < 9  # a stall takes 10
    assert not kernel.manager.has_kernel


def test_a_killed_kernel_is_seen_to_be_dead_and_starts_anew(start: Start, warm: Starts) -> None:
    kernel = start()
    process = kernel.provisioner.process

    os.kill(process.pid, signal.SIGKILL)

    assert process.wait(20) == -signal.SIGKILL
    assert not kernel.manager.is_alive()
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)
    assert kernel.says("print(6 * 7)") == "42"


def test_a_killed_zygote_leaves_the_kernel_running_and_the_next_one_gets_a_new_zygote(
    start: Start, warm: Starts
) -> None:
    kernel = start()
    zygote = zygote_of(kernel)

    os.kill(zygote["pid"], signal.SIGKILL)
    until(lambda: not Path(f"/proc/{zygote['pid']}").exists())

    assert kernel.says("print('alive')") == "alive"
    assert kernel.manager.is_alive()
    kernel.end()
    assert kernel.provisioner.process is None
    assert start().provisioner.is_warm


def test_a_zygote_that_hangs_costs_a_bounded_wait_once_and_no_running_kernel(
    start: Start, warm: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = start()
    zygote = zygote_of(kernel)
    monkeypatch.setattr(client, "ANSWER_SECONDS", 1.0)
    os.kill(zygote["pid"], signal.SIGSTOP)

    begun = time.monotonic()
    cold = start()

    assert cold.provisioner.why_cold == "its zygote did not answer within 1 s"
    assert time.monotonic() - begun < 20
    assert kernel.says("print('alive')") == "alive"
    until(lambda: not Path(f"/proc/{zygote['pid']}").exists())


def test_many_kernels_start_at_once(warm: Starts, tmp_path: Path) -> None:
    async def executed(number: int) -> str:
        cell = nbformat.v4.new_code_cell(f"print({number} ** 2)")
        notebook = nbformat.v4.new_notebook(cells=[cell])
        await NotebookClient(notebook, kernel_name="python3-warm", timeout=60).async_execute()
        return str(notebook.cells[0].outputs[0].text).strip()

    async def together() -> list[str]:
        return await asyncio.gather(*map(executed, range(6)))

    assert asyncio.run(together()) == ["0", "1", "4", "9", "16", "25"]
    assert warm.kinds() <= {StartKind.FORKED, StartKind.SPARE}
    assert len(warm.found()) == 6


def test_no_descriptor_and_no_port_stays_behind(start: Start, warm: Starts) -> None:
    start().end()
    gc.collect()  # what other tests have left is not to go meanwhile
    descriptors, ports = open_descriptors(), set(LocalPortCache.instance().currently_used_ports)

    for _ in range(3):
        start().end()

    assert open_descriptors() <= descriptors
    assert LocalPortCache.instance().currently_used_ports == ports


def test_spares_are_lent_once_each_with_ports_of_their_own(start: Start, warm: Starts) -> None:
    wait_for_spare(start)

    first, second = start(), start()

    assert StartKind.SPARE in warm.kinds()
    ports = [kernel.manager.shell_port for kernel in (first, second)]
    pids = [kernel.provisioner.pid for kernel in (first, second)]
    assert len(set(ports)) == len(set(pids)) == 2
    assert [int(kernel.says("import os; print(os.getpid())")) for kernel in (first, second)] == pids


def test_encrypted_kernels_and_ports_that_were_chosen_take_no_spare(
    start: Start, warm: Starts
) -> None:
    wait_for_spare(start)
    before = len(warm.found())

    encrypted = start(manager=KernelManager(transport_encryption="required"))
    manager = KernelManager(cache_ports=False)
    for name in port_names:
        setattr(manager, name, free_port())
    chosen = start(manager=manager)

    assert encrypted.says("print('secret')") == "secret"
    assert chosen.says("print('there')") == "there"
    assert {found.kind for found in warm.found()[before:]} == {StartKind.FORKED}


def test_a_client_is_ready_with_nothing_left_to_read(start: Start, warm: Starts) -> None:
    kernel = start()

    assert type(kernel.client) is QuickBlockingClient
    assert not kernel.client.iopub_channel.msg_ready()
    assert not kernel.client.shell_channel.msg_ready()


def test_a_client_of_somebody_elses_making_is_left_alone(start: Start, warm: Starts) -> None:
    from jupyter_client.blocking.client import BlockingKernelClient

    class Mine(BlockingKernelClient):
        pass

    kernel = start(manager=KernelManager(client_factory=Mine))

    assert type(kernel.client) is Mine
    assert kernel.says("print('ready')") == "ready"


def test_waiting_for_a_kernel_that_dies_ends_with_it(start: Start, warm: Starts) -> None:
    kernel = start()
    kernel.provisioner.process.kill()
    kernel.provisioner.process.wait(20)

    with pytest.raises(RuntimeError, match="Kernel died before replying to kernel_info"):
        kernel.client.wait_for_ready(timeout=60)


def zygote_of(kernel: Kernel) -> Mapping[str, Any]:
    """Return what the zygote says of itself that has forked a kernel."""
    pid = kernel.provisioner.pid
    (zygote,) = [facts for facts in client.states() if pid in facts.get("kernels", ())]
    return zygote


def wait_for_spare(start: Start) -> None:
    """Have a zygote that has been of use, and so keeps a kernel ahead of need."""
    kernel = start()
    key = zygote_of(kernel)["key"]
    kernel.end()

    def has_spare() -> bool:
        (zygote,) = [facts for facts in client.states() if facts["key"] == key]
        return bool(zygote["spares"]["count"])

    until(has_spare, seconds=60)


def reason_of(kernel: Kernel, warm: Starts) -> str:
    """Return why a kernel is cold: it works, and the ledger says the same."""
    assert not kernel.provisioner.is_warm
    assert kernel.says("print('works')") == "works"
    last = warm.found()[-1]
    assert (last.kind, last.reason) == (StartKind.COLD, kernel.provisioner.why_cold)
    return last.reason


def test_a_kernel_of_another_language_is_cold(start: Start, warm: Starts) -> None:
    kernel = start(language="R")

    assert reason_of(kernel, warm) == "the kernel speaks R, and only Python's are kept warm"


def test_an_interpreter_with_options_is_started_cold(start: Start, warm: Starts) -> None:
    kernel = start(argv=["python", "-X", "utf8", *LAUNCHER[1:]])

    assert reason_of(kernel, warm) == (
        "the kernel is not started by python -m ipykernel_launcher: "
        f"{sys.executable} -X utf8 -m ..."
    )


def test_a_kernel_that_is_started_by_something_else_is_cold(start: Start, warm: Starts) -> None:
    kernel = start(argv=["/usr/bin/env", sys.executable, *LAUNCHER[1:]])

    assert reason_of(kernel, warm) == (
        "the kernel is not started by python -m ipykernel_launcher: "
        f"/usr/bin/env {sys.executable} -m ipykernel_launcher ..."
    )


def test_options_that_only_a_child_can_be_given_make_a_cold_kernel(
    start: Start, warm: Starts
) -> None:
    own = start(preexec_fn=lambda: os.nice(1))
    tied = start(preexec_fn=tie_to_owner(lambda: None))
    with Path(os.devnull).open() as null:
        passing = start(pass_fds=(null.fileno(),))

    assert own.provisioner.why_cold == "the kernel is started with options of its own: preexec_fn"
    assert tied.provisioner.is_warm
    assert reason_of(passing, warm) == "the kernel is started with options of its own: pass_fds"


def test_streams_that_were_asked_for_are_the_kernels(
    start: Start, warm: Starts, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("wb") as out:
        kernel = start(stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    piped = start(stdout=subprocess.PIPE)

    kernel.says("import os; os.write(1, b'one '); os.write(2, b'two')")

    assert "one two" in (tmp_path / "out").read_text()
    assert piped.provisioner.why_cold == "the kernel is started with a pipe as stdout"


def test_a_folder_that_is_not_there_fails_as_with_a_cold_kernel(
    start: Start, warm: Starts, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        start(cwd=str(tmp_path / "nowhere"))

    assert warm.found()[-1].kind is StartKind.COLD


def test_something_unforeseen_is_a_reason_too(
    start: Start, warm: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("nbprod.kernels.provisioner.read_command", fail)

    kernel = start()

    assert reason_of(kernel, warm) == (
        "something unforeseen went wrong (ZeroDivisionError: by zero)"
    )


def test_off_means_a_cold_kernel_and_no_trace(
    start: Start, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBPROD_WARM", "off")

    kernel = start()

    assert kernel.provisioner.why_cold == "NBPROD_WARM is off"
    assert kernel.says("print('works')") == "works"
    assert list(runtime.iterdir()) == []


def test_while_its_zygote_imports_a_kernel_is_cold_and_the_log_says_so_once(
    start: Start, runtime: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbprod.kernels.starts._said", set())

    first, second = start(), start()

    assert first.provisioner.why_cold == "the zygote is still importing"
    assert [second.says("print(1)"), first.says("print(2)")] == ["1", "2"]
    said = [text for text in caplog.messages if text.startswith("A cold kernel is used")]
    assert said == ["A cold kernel is used: the zygote is still importing"]


@pytest.fixture
def other_environment(tmp_path: Path) -> Path:
    """An environment beside ours: the same packages, and one that only it has."""
    folder = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = (folder / "lib").glob("python3*/site-packages")
    (ours,) = (path for path in sys.path if path.endswith("site-packages"))
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    (packages / "only_here.py").write_text("WORD = 'from the other'\n")
    return folder


def test_an_environment_without_our_version_has_cold_kernels(
    start: Start, warm: Starts, other_environment: Path
) -> None:
    python = str(other_environment / "bin/python")

    kernel = start(argv=[python, *LAUNCHER[1:]])

    assert reason_of(kernel, warm) == (
        f"nbprod {VERSION} is not installed for the kernel's interpreter {python}"
    )


def test_each_environment_has_a_zygote_of_its_own(
    start: Start, warm: Starts, other_environment: Path
) -> None:
    (packages,) = (other_environment / "lib").glob("python3*/site-packages")
    (ours,) = (Path(path) for path in sys.path if path.endswith("site-packages"))
    shutil.copytree(ours / f"nbprod-{VERSION}.dist-info", packages / f"nbprod-{VERSION}.dist-info")
    code = "import sys; print(sys.prefix, sys.executable)"

    here = start()
    there = start(argv=[str(other_environment / "bin/python"), *LAUNCHER[1:]])

    assert (here.provisioner.is_warm, there.provisioner.is_warm) == (True, True)
    assert here.says(code) == f"{sys.prefix} {sys.executable}"
    assert there.says(code) == f"{other_environment} {other_environment}/bin/python"
    assert there.says("import only_here; print(only_here.WORD)") == "from the other"


def test_a_spec_with_a_provisioner_of_its_own_stays_as_it_is() -> None:
    metadata = {"kernel_provisioner": {"provisioner_name": "yarn-provisioner"}}
    own, plain = KernelSpec(metadata=metadata), KernelSpec(metadata={"debugger": True})

    assert warm_spec(own) is own
    assert warm_spec(plain).metadata == {
        "debugger": True,
        "kernel_provisioner": {"provisioner_name": "nbprod-warm", "config": {}},
    }
    alone = warm_spec(plain, is_alone=True).metadata["kernel_provisioner"]
    assert alone == {"provisioner_name": "nbprod-warm", "config": {"is_alone": True}}
    assert plain.metadata == {"debugger": True}


def until(is_so: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.005)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def free_port() -> int:
    return int(LocalPortCache.instance().find_available_port("127.0.0.1"))
