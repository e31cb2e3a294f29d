"""The client of zygotes, against a server that really forks, and against ones that misbehave."""

import gc
import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nbprod.kernels import client, launch, places
from nbprod.kernels.client import NotWarmError
from nbprod.kernels.key import zygote_key
from nbprod.kernels.process import UNKNOWN, ForkedProcess
from nbprod.kernels.settings import KernelSettings
from nbprod.kernels.starts import StartKind, starts

SETTINGS = KernelSettings(preload=())
SERVER = Path(__file__).parent / "small_zygote.py"
Serve = Callable[[str], "subprocess.Popen[bytes]"]


def key() -> str:
    return zygote_key("kernel", python=sys.executable, preload=(), environment=os.environ)


@pytest.fixture
def serve(runtime: Path) -> Iterator[Serve]:
    """Start a server that answers in the way of its mode; return it once it listens."""
    with ExitStack() as stack:

        def start(mode: str) -> "subprocess.Popen[bytes]":
            server = subprocess.Popen([sys.executable, SERVER, key(), mode])
            stack.enter_context(server)
            stack.callback(server.kill)
            until(places.socket_path(key()).exists)
            return server

        yield start


def until(is_so: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.005)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def ask(*words: str, descriptors: tuple[int, int, int] = (0, 1, 2)) -> ForkedProcess:
    request = client.request_here("kernel", words, environment=os.environ, cwd="/")
    return client.fork(request, descriptors, role="kernel", settings=SETTINGS)


def why_not() -> str:
    with pytest.raises(NotWarmError) as caught:
        ask("exit", "0")
    return caught.value.reason


@pytest.mark.parametrize(
    ("words", "code"), [(("exit", "0"), 0), (("exit", "7"), 7), (("die", "9"), -9)]
)
def test_a_forked_process_ends_as_one_of_subprocess_does(
    serve: Serve, words: tuple[str, str], code: int
) -> None:
    serve("forking")

    process = ask(*words)

    assert (process.wait(20), process.poll(), process.returncode) == (code, code, code)
    assert process.is_exit_known


def test_a_running_process_has_no_exit_status_and_waiting_for_it_has_a_bound(serve: Serve) -> None:
    serve("forking")

    process = ask("stay")

    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    process.terminate()
    assert process.wait(20) == -signal.SIGTERM


def test_a_process_gets_the_descriptors_folder_and_variables_of_the_request(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve("forking")
    monkeypatch.setenv("FAVOURITE", "late")
    out, into = os.pipe()

    process = ask("say", "FAVOURITE", descriptors=(0, into, 2))
    os.close(into)
    process.wait(20)

    with os.fdopen(out, "rb") as answer:
        assert json.load(answer) == ["late", "/"]


def test_a_request_says_what_a_child_would_inherit() -> None:
    mask = os.umask(0o027)
    os.umask(mask)

    request = client.request_here("kernel", ["-f", "x"], environment={"A": "b"}, cwd="/")

    assert (request.umask, request.nice) == (mask, os.nice(0))
    assert request.affinity == sorted(os.sched_getaffinity(0))
    assert {"RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_CORE"} <= request.limits.keys()


def test_a_command_has_its_result_before_it_has_ended(serve: Serve) -> None:
    serve("forking")

    process = ask("done", "3")

    assert process.wait_done(20) == 3
    assert process.poll() is None
    process.kill()
    assert process.wait(20) == -signal.SIGKILL


def test_a_killed_zygote_leaves_its_processes_running_and_their_end_is_seen(serve: Serve) -> None:
    server = serve("forking")
    process = ask("stay")

    server.kill()
    server.wait()

    assert process.poll() is None
    process.kill()
    # The pidfd knows on Linux 6.15 and later, where whoever reaps the orphan is quick enough.
    assert process.wait(20) in (-signal.SIGKILL, UNKNOWN)
    assert process.is_exit_known is (process.returncode != UNKNOWN)


def test_a_stopped_zygote_does_not_hide_that_a_process_has_ended(serve: Serve) -> None:
    server = serve("forking")
    process = ask("stay")

    server.send_signal(signal.SIGSTOP)
    process.kill()

    assert process.wait(20) == UNKNOWN
    assert not process.is_exit_known


def test_leaving_a_process_tells_it_so(serve: Serve) -> None:
    serve("forking")
    process = ask("stay")
    pidfd = os.pidfd_open(process.pid)

    process.close()

    until(lambda: not Path(f"/proc/{process.pid}").exists())
    os.close(pidfd)


def test_a_process_ends_with_its_owner_and_not_with_a_fork_of_it(serve: Serve) -> None:
    serve("forking")
    process = ask("stay")
    with warnings.catch_warnings():
        # Python 3.12 warns of forks where other tests have left idle threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        signal.pause()
    try:
        pidfd = os.pidfd_open(process.pid)

        assert process.poll() is None
        process.close()

        assert select.select([pidfd], [], [], 10)[0]
        os.close(pidfd)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_no_descriptor_is_left_open_by_processes_that_ended(serve: Serve) -> None:
    serve("forking")
    ask("exit", "0").wait(20)
    gc.collect()  # what other tests have left is not to go meanwhile
    before = open_descriptors()

    for _ in range(5):
        ask("exit", "0").wait(20)

    assert open_descriptors() <= before


def test_starts_stand_in_the_ledger(serve: Serve, runtime: Path) -> None:
    serve("forking")

    ask("exit", "0").wait(20)

    (start,) = starts(runtime)
    assert (start.role, start.key, start.kind, start.reason) == (
        "kernel",
        key(),
        StartKind.FORKED,
        "",
    )
    assert 0 < start.seconds < 20


def test_a_refusal_is_the_reason_is_said_once_and_stands_in_the_ledger(
    serve: Serve,
    runtime: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nbprod.kernels.starts._said", set())
    serve("refusing")
    reason = "somemodule started a thread"

    with caplog.at_level(logging.WARNING, logger="nbprod.kernels"):
        reasons = [why_not(), why_not()]

    assert reasons == [reason, reason]
    assert caplog.messages == [f"A cold kernel is used: {reason}"]
    assert [(start.kind, start.reason) for start in starts(runtime)] == [
        (StartKind.COLD, reason)
    ] * 2


def test_off_means_that_nothing_is_looked_for_or_written(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NBPROD_WARM", "off")

    assert why_not() == "NBPROD_WARM is off"
    assert list(runtime.iterdir()) == []
    assert caplog.messages == []


def test_elsewhere_than_on_linux_kernels_are_cold(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")

    assert why_not() == "warm kernels need Linux"


def test_an_answer_that_is_no_message_is_a_reason(serve: Serve) -> None:
    serve("garbage")

    assert why_not().startswith("its zygote's answer could not be read (")


def test_a_zygote_that_leaves_without_an_answer_is_a_reason(serve: Serve) -> None:
    serve("leaving")

    assert why_not() == "its zygote was out of date as often as it was started"


def test_who_warms_up_asks_again_where_a_zygote_was_just_leaving(serve: Serve) -> None:
    server = serve("leaving once")

    facts = client.warm_up(role="kernel", settings=SETTINGS, environment=os.environ)

    assert facts == {"pid": server.pid, "mode": ""}


def test_a_stale_zygote_that_stays_is_a_reason(serve: Serve) -> None:
    serve("stale")

    assert why_not() == "its zygote was out of date as often as it was started"


def test_a_zygote_that_never_answers_costs_a_bounded_wait(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.3)
    server = serve("silent")

    begun = time.monotonic()
    reason = why_not()

    assert reason == "its zygote did not answer within 0 s"
    assert time.monotonic() - begun < 5
    assert server.poll() is None  # it is no zygote by its command line: nothing that we may kill


def test_a_folder_that_is_not_ours_is_a_reason(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = runtime / "link"
    link.symlink_to(runtime)
    monkeypatch.setenv("NBPROD_RUNTIME_DIR", str(link))

    assert why_not() == (
        f"Nothing can be kept warm: {link} cannot be used. It is a link, not a folder. "
        "Name a folder of your own: export NBPROD_RUNTIME_DIR=$HOME/.cache/nbprod/run"
    )


def test_zygotes_are_described_and_stopped(serve: Serve) -> None:
    server = serve("forking")

    described = client.states()
    left = client.stop()

    assert described == [{"pid": server.pid, "mode": "forking"}]
    assert left == [key()]
    server.wait(20)


def test_a_socket_that_nobody_serves_is_shown_as_such(serve: Serve) -> None:
    server = serve("forking")
    server.kill()
    server.wait()

    assert client.states() == [{"key": key(), "problem": "nobody listens: it was killed"}]
    assert client.stop() == []
    assert client.states() == []


def test_a_zygote_that_cannot_start_is_given_up_after_some_tries(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "zygote_command", lambda *_, **__: ["/bin/false"])
    monkeypatch.setattr(launch, "HEAD_START", 0.0)

    reasons = [why_not() for _ in range(launch.TRIES + 1)]

    importing = "the zygote is still importing"
    assert reasons == [
        *[importing] * launch.TRIES,
        f"its zygote ended 4 times as it started, see {places.log_path(key())}; "
        "nbprod kernels warm tries again",
    ]


def test_a_zygote_that_answered_was_no_vain_try(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "zygote_command", lambda *_, **__: ["/bin/false"])
    monkeypatch.setattr(launch, "HEAD_START", 0.0)
    for _ in range(launch.TRIES):
        launch._may_try(key())
    serve("refusing")

    why_not()

    assert launch._may_try(key())


def test_what_zygotes_of_long_ago_left_is_removed(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "zygote_command", lambda *_, **__: ["/bin/true"])
    for name, age in (("old", 8), ("young", 6)):
        for kind in ("lock", "log", "tries"):
            path = runtime / f"{name}.{kind}"
            path.touch()
            os.utime(path, (0, time.time() - age * 86_400))

    why_not()

    assert {path.stem for path in runtime.iterdir()} == {"young", key(), "starts"}


def test_many_who_need_a_zygote_at_once_start_one(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "zygote_command", lambda *_, **__: ["/bin/true"])

    reasons = {why_not() for _ in range(5)}

    kinds = [start.kind for start in starts(runtime)]
    assert reasons == {"the zygote is still importing"}
    assert kinds.count(StartKind.ZYGOTE) == 1
