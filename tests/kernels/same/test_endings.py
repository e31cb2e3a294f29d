"""How kernels are interrupted, restarted and ended: by code, by signals, by others' deaths."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ways import PATIENCE, Kernels, Same, Way, is_alive, run, seconds_until_gone, started

from nbprod.kernels import client

SIGNALS = [
    """
    import os, signal, threading, time
    seen = []
    signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(signal.Signals(number).name))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)
    print(seen)
    """,
    """
    class Late(Exception):
        pass
    def ring(number, frame):
        raise Late("too slow")
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    time.sleep(30)
    """,
    """
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    time.sleep(30)
    """,
    """
    read, write = os.pipe()
    os.close(read)
    os.write(write, b"nobody reads")
    """,
    """
    import subprocess
    child = subprocess.Popen(["sleep", "30"])
    child.terminate()
    print(child.wait(), signal.getsignal(signal.SIGCHLD), signal.sigpending())
    subprocess.run("kill -0 $$ && trap", shell=True).returncode
    """,
    """
    import resource
    limit = resource.getrlimit(resource.RLIMIT_AS)
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**26, limit[1]))
    try:
        bytearray(2**28)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limit)
    """,
    "print('goes on')",
]


def test_signals_timers_and_limits_of_memory_are_the_notebooks_own(same: Same) -> None:
    executed = same(SIGNALS)

    assert executed.text(0) == "['SIGUSR1', 'SIGUSR1']\n"
    assert executed.errors() == [
        ("Late", "too slow"),
        ("KeyboardInterrupt", ""),
        ("BrokenPipeError", "[Errno 32] Broken pipe"),
        ("MemoryError", ""),
    ]
    assert executed.text(6) == "goes on\n"


DEATHS = {
    "os._exit": ("import os; os._exit(3)", 3),
    "a segmentation fault": ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
    "abort": ("import os; os.abort()", -signal.SIGABRT),
    "SIGTERM": ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "SIGKILL, as of the OOM killer": ("!kill -9 $PPID", -signal.SIGKILL),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_death_leaves_the_same_notebook_and_exit_status(same: Same, death: str) -> None:
    code, status = DEATHS[death]

    # What it says last is to be on its way before it dies.
    executed = same(["import time\nprint('before')", f"time.sleep(0.2)\n{code}", "print('never')"])

    assert executed.died
    assert executed.code == status
    assert executed.text(0) == "before\n"
    assert executed.counts[2] is None


ENDINGS = [
    """
    import atexit, threading, time, weakref
    def say(text):
        with open("said.txt", "a") as file:
            print(text, file=file)
    class Kept:
        pass
    kept = Kept()
    weakref.finalize(kept, say, "finalised")
    atexit.register(say, "first registered")
    atexit.register(say, "last registered")
    atexit.register(lambda: 1 / 0)
    written = open("unclosed.txt", "w"); written.write("buffered")
    """,
    """
    def work():
        time.sleep(0.3)
        say("a thread is waited for")
    threading.Thread(target=work).start()
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    """,
]


def test_handlers_run_and_files_are_written_when_a_kernel_is_asked_to_end(same: Same) -> None:
    executed = same(ENDINGS)

    assert executed.code == 0
    assert executed.files == {
        "said.txt": "a thread is waited for\nlast registered\nfirst registered\nfinalised\n",
        "unclosed.txt": "buffered",
    }


SLOW_LAST_WORDS = """
    import atexit, threading
    sender = get_ipython().kernel.iopub_thread
    schedule, waits = sender.schedule, threading.Event()
    def late(task):
        is_waiting = threading.current_thread().name == "Control" and task.__name__ == "set"
        if not (is_waiting and sender.thread.is_alive()):
            return schedule(task)
        waits.set()
        sender.thread.join(0.5)
        sender._events.append(task)
        if sender.thread.is_alive():
            sender._event_pipe.send(b"")
    sender.schedule = late
    _ = atexit.register(waits.wait, 0.5)
"""


def test_no_end_is_stalled_and_every_handler_runs(kernels: Kernels, way: Way) -> None:
    """Eight in a row; in the last ones the thread that sends output is slow, as on busy cores.

    A cold kernel in that state stands still for 10 s or longer, and is killed before its handlers.
    """
    cell = """
        import atexit, multiprocessing
        _ = atexit.register(lambda: open("said.txt", "w").write("handler"))
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(abs, (-1,))
    """
    ends = []

    for number in range(8):
        cells = [cell, SLOW_LAST_WORDS] if number > 3 else [cell]
        ends.append(kernels.execute(cells, way))

    assert [(end.code, end.files) for end in ends] == [(0, {"said.txt": "handler"})] * 8
    assert max(end.seconds_to_end for end in ends) < 9  # a stall takes 10


@pytest.mark.parametrize("of", [Way.COLD, Way.FORKED, Way.SPARE])
def test_a_kernel_can_be_interrupted_and_restarted(kernels: Kernels, of: Way) -> None:
    with started(kernels, of) as (manager, kernel):
        before = manager.provisioner.process.pid
        assert run(kernel, "import os; kept = 1; print(kept)") == "1\n"

        sleep = "import time; print('sleeps'); time.sleep(60)"
        request = kernel.execute(sleep, stop_on_error=False)  # else what comes next may be aborted
        _wait_for(kernel, "sleeps")
        manager.interrupt_kernel()
        assert _reply(kernel, request)["ename"] == "KeyboardInterrupt"
        request = kernel.execute("!echo child sleeps; sleep 60")
        _wait_for(kernel, "child sleeps")
        manager.interrupt_kernel()
        assert _reply(kernel, request)["status"] in ("ok", "error")
        assert run(kernel, "print(kept)") == "1\n"

        ports = kernel.get_connection_info()
        manager.restart_kernel(now=False)
        kernel.wait_for_ready(timeout=PATIENCE)

        assert manager.get_connection_info() == ports
        assert manager.provisioner.process.pid != before
        assert not is_alive(before)
        assert run(kernel, "print(kept)") == "NameError"
        assert (
            run(kernel, "import os; print(os.getpid())") == f"{manager.provisioner.process.pid}\n"
        )
        assert manager.provisioner.is_warm if of is not Way.COLD else True


OWNER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from ways import MEMORY_HISTORY, Kernels, Way, way_of
import json
environment, folder, way, code = json.loads(sys.argv[2])
kernels = Kernels(environment, Path(folder))
kernels.settle(Way(way))
manager = kernels.manager(Way(way))
manager.start_kernel(env=environment, cwd=folder, extra_arguments=MEMORY_HISTORY)
kernel = manager.client()
kernel.start_channels()
kernel.wait_for_ready(timeout=60)
kernel.execute(code)
while "busy" not in kernel.get_iopub_msg(timeout=60)["content"].get("text", ""):
    pass
print(way_of(manager), manager.provisioner.process.pid, flush=True)
time.sleep(120)
"""
BUSY = {
    "waits": "print('busy', flush=True)",
    "computes": "print('busy', flush=True)\nwhile True: pass",
    "holds the interpreter": "import ctypes; print('busy', flush=True)\n"
    "import time; time.sleep(0.2); ctypes.PyDLL(None).sleep(60)",
}


@pytest.mark.parametrize("doing", BUSY)
def test_a_kernel_is_gone_within_a_second_of_its_owner(
    kernels: Kernels, way: Way, doing: str
) -> None:
    import json

    kernels.folder.mkdir(parents=True, exist_ok=True)
    given = json.dumps([dict(kernels.environment), str(kernels.folder), way, BUSY[doing]])
    here = str(Path(__file__).parent)
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, here, given], stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout is not None
        came, pid = owner.stdout.readline().split()
        assert came == way
        time.sleep(0.3 if doing == "holds the interpreter" else 0)  # until it does
    finally:
        owner.kill()
        owner.wait()
        if owner.stdout is not None:
            owner.stdout.close()

    seconds_until_gone(int(pid), limit=5)  # raises where it is still there


def test_a_running_kernel_outlives_its_zygote(kernels: Kernels, way: Way) -> None:
    light = Kernels({**kernels.environment, "NBPROD_PRELOAD": ""}, kernels.folder)
    with started(light, way) as (manager, kernel):
        process = manager.provisioner.process
        zygote = next(
            state["pid"] for state in client.states() if process.pid in state.get("kernels", ())
        )
        os.kill(zygote, signal.SIGKILL)
        seconds_until_gone(zygote, limit=5)

        assert run(kernel, "print(6 * 7)") == "42\n"
        assert process.poll() is None
        request = kernel.execute("import time; print('sleeps'); time.sleep(60)")
        _wait_for(kernel, "sleeps")
        manager.interrupt_kernel()
        assert _reply(kernel, request)["ename"] == "KeyboardInterrupt"
        assert run(kernel, "import atexit, os; _ = atexit.register(open, 'ended', 'w')") == ""

        manager.shutdown_kernel()

        assert not is_alive(process.pid)
        assert (light.folder / "ended").exists()
    with started(light, way) as (_, kernel):  # of the next zygote
        assert run(kernel, "print('again')") == "again\n"


def _wait_for(kernel: Any, text: str) -> None:
    printed = ""  # it may come in pieces
    while text not in printed:
        printed += kernel.get_iopub_msg(timeout=PATIENCE)["content"].get("text", "")


def _reply(kernel: Any, request: str) -> dict[str, str]:
    while True:
        message = kernel.get_shell_msg(timeout=PATIENCE)
        if message["parent_header"]["msg_id"] == request:
            return dict(message["content"])
