"""What is in the way, or out to harm: folders, sockets, clients, limits. Nothing hangs."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from zygote_forks import Forks, until

from nbprod.core.errors import RuntimeFolderError
from nbprod.kernels import client, places
from nbprod.kernels.client import NotWarmError
from nbprod.kernels.protocol import DESCRIPTORS, LONGEST, Done, Inbox, Refused, State, send

Python = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def forks(runtime: Path, tmp_path: Path) -> Forks:
    return Forks(tmp_path, spares=0)


def connect(forks: Forks) -> socket.socket:
    return places.connect(forks.state()["key"], timeout=20)


@pytest.mark.parametrize(
    "bytes_",
    [b"\x00\xff\n", b"[]\n", b'{"kind": "fork"}\n', b'{"kind": "nothing"}\n', b"{" * 70_000],
    ids=["bytes", "a list", "half a request", "another kind", "no end"],
)
def test_a_client_that_talks_nonsense_is_cut_off_and_others_are_served(
    forks: Forks, bytes_: bytes
) -> None:
    with closing(connect(forks)) as peer:
        peer.sendall(bytes_)
        peer.shutdown(socket.SHUT_WR)

        assert peer.recv(1) == b""

    assert forks.run(forks.request("leave", "pass"))[0] == 5


def test_a_message_without_end_is_not_kept_for_ever(forks: Forks) -> None:
    with closing(connect(forks)) as peer, suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(LONGEST // 2**20 + 2):
            peer.sendall(b" " * 2**20)
        assert peer.recv(1) == b""

    assert forks.state()["is_safe"]


def test_descriptors_that_come_with_nonsense_are_closed(forks: Forks) -> None:
    pid = forks.state()["pid"]
    place = Path(f"/proc/{pid}/fd")
    before = len(list(place.iterdir()))

    for count in (1, DESCRIPTORS):
        with closing(connect(forks)) as peer:
            socket.send_fds(peer, [b"nonsense\n"], [0] * count)
            assert peer.recv(1) == b""

    until(lambda: len(list(place.iterdir())) <= before)


def test_a_request_without_streams_is_refused(forks: Forks) -> None:
    with closing(connect(forks)) as peer:
        send(peer, forks.request("leave", "pass"), [0])

        answer = Inbox(peer).receive()

    reason = "the request came without stdin, stdout and stderr"
    assert answer == (Refused(reason=reason), [])


def test_a_message_that_no_client_sends_is_not_answered(forks: Forks) -> None:
    with closing(connect(forks)) as peer:
        send(peer, Done(code=0))

        assert peer.recv(1) == b""


def test_a_hundred_clients_that_say_nothing_keep_nobody_waiting(forks: Forks) -> None:
    silent = [connect(forks) for _ in range(100)]
    begun = time.monotonic()

    try:
        assert forks.run(forks.request("leave", "pass"))[0] == 5
        assert isinstance(forks.state(), dict)
    finally:
        for peer in silent:
            peer.close()

    assert time.monotonic() - begun < 10


def test_a_limit_that_cannot_be_had_is_a_reason(forks: Forks) -> None:
    request = forks.request("leave", "pass", limits={"RLIMIT_NOFILE": (10**9, 10**9)})

    with pytest.raises(NotWarmError) as caught:
        forks.ask(request)

    assert caught.value.reason.startswith("the process could not be set up as asked (")


def test_a_limit_of_another_system_is_a_reason(forks: Forks) -> None:
    with pytest.raises(NotWarmError) as caught:
        forks.ask(forks.request("leave", "pass", limits={"RLIMIT_WISHES": (3, 3)}))

    assert "RLIMIT_WISHES" in caught.value.reason


def test_a_folder_of_another_user_is_not_entered(
    public_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = public_folder / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    monkeypatch.setenv("NBPROD_RUNTIME_DIR", str(folder))

    with pytest.raises(RuntimeFolderError) as caught:
        places.runtime_folder()

    assert str(caught.value) == (
        f"Nothing can be kept warm: {folder} cannot be used.\n"
        "It belongs to another user (uid 12345).\n"
        "Name a folder of your own: export NBPROD_RUNTIME_DIR=$HOME/.cache/nbprod/run"
    )


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_no_folder_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    place = tmp_path / "place"
    if kind == "link":
        place.symlink_to(tmp_path)
    else:
        place.touch()
    monkeypatch.setenv("NBPROD_RUNTIME_DIR", str(place))

    with pytest.raises(RuntimeFolderError) as caught:
        places.runtime_folder()

    expected = "It is a link, not a folder." if kind == "link" else "File exists."
    assert caught.value.problem == expected


def test_a_folder_that_others_could_enter_is_closed_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    monkeypatch.setenv("NBPROD_RUNTIME_DIR", str(folder))

    assert places.runtime_folder() == folder
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_folder_is_the_sessions_or_one_in_tmp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NBPROD_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    of_session = places.runtime_folder()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "absent"))

    assert of_session == tmp_path / "nbprod"
    assert places._chosen() == Path(f"/tmp/nbprod-{os.geteuid()}")


READ_ONLY = """
import os, sys
from pathlib import Path
from nbprod.kernels import client, places
from nbprod.kernels.settings import KernelSettings
drop_privileges()
os.environ |= {"NBPROD_RUNTIME_DIR": sys.argv[1], "NBPROD_WARM": "on"}
settings = KernelSettings(preload=())
request = client.request_here("kernel", [], environment=os.environ, cwd="/")
try:
    client.fork(request, [0, 1, 2], role="kernel", settings=settings, wait=20)
except client.NotWarmError as error:
    print(error.reason)
"""


def test_a_folder_that_cannot_be_written_is_a_reason(
    public_folder: Path, unprivileged_python: Python
) -> None:
    folder = public_folder / "run"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    folder.chmod(0o500)

    found = unprivileged_python(READ_ONLY, folder)

    assert found.stdout.strip() == (
        f"Nothing can be kept warm: {folder} cannot be used. It cannot be written. Name a folder "
        "of your own: export NBPROD_RUNTIME_DIR=$HOME/.cache/nbprod/run"
    )


FULL = """
import os, sys, time
from pathlib import Path
from nbprod.kernels import client, places
from nbprod.kernels.settings import KernelSettings
os.environ |= {"NBPROD_RUNTIME_DIR": "/mnt/run", "NBPROD_WARM": "on"}
places.runtime_folder()
with open("/mnt/filler", "wb", buffering=0) as filler:
    try:
        while True:
            filler.write(b"x" * 4096)
    except OSError:
        pass
for number in range(int(sys.argv[1])):  # no room for another name, either
    try:
        Path(f"/mnt/{number}").touch()
    except OSError:
        break
settings = KernelSettings(preload=())
request = client.request_here("kernel", [], environment=os.environ, cwd="/")
begun = time.monotonic()
try:
    client.fork(request, [0, 1, 2], role="kernel", settings=settings, wait=20)
    print("forked")
except client.NotWarmError as error:
    print(error.reason)
print(time.monotonic() - begun < 30)
for state in client.states():
    client.stop()
"""


@pytest.mark.parametrize("names", [0, 2000], ids=["no bytes", "no names"])
def test_a_full_disk_is_a_reason_and_nothing_hangs(
    python_on_small_disk: Python, names: int
) -> None:
    found = python_on_small_disk(FULL, str(names), kib=64)

    reason, in_time = found.stdout.strip().splitlines()
    assert in_time == "True", found.stderr
    assert "No space left on device" in reason, found.stderr


NO_PROCESSES = """
import json, os, resource, sys, time
from nbprod.kernels import client, places, zygote
from nbprod.kernels.key import zygote_key
from nbprod.kernels.preload import preload
from nbprod.kernels.settings import KernelSettings
preload("kernel", ())  # while its files can be read
drop_privileges()
os.environ |= {"NBPROD_RUNTIME_DIR": sys.argv[1], "NBPROD_WARM": "on", "HOME": sys.argv[1]}
settings = KernelSettings(preload=(), spares=0)
key = zygote_key("kernel", python=sys.executable, preload=(), environment=os.environ)
pid = os.fork()
if not pid:
    given = json.dumps(settings.as_json())
    zygote.main(["--role", "kernel", "--key", key, "--settings", given])
while not places.socket_path(key).exists():
    time.sleep(0.01)
resource.prlimit(pid, resource.RLIMIT_NPROC, (0, 0))
request = client.request_here("posix:abort", [], environment=os.environ, cwd="/")
try:
    client.fork(request, [0, 1, 2], role="kernel", settings=settings)
except client.NotWarmError as error:
    print(error.reason)
print(client.states()[0]["is_safe"], len(client.stop()), os.waitpid(pid, 0)[1])
"""


def test_no_free_process_ids_are_a_reason(public_folder: Path, unprivileged_python: Python) -> None:
    folder = public_folder / "run"
    folder.mkdir()
    os.chown(folder, 65534, 65534)

    found = unprivileged_python(NO_PROCESSES, folder)

    assert found.stdout.splitlines() == [
        "its zygote cannot fork: Resource temporarily unavailable",
        "True 1 0",
    ], found.stderr


THEIRS = """
import os, socket, sys
from nbprod.kernels import places
drop_privileges()
os.environ["NBPROD_RUNTIME_DIR"] = sys.argv[1]
listener = places.listen("0" * 20)
print("listening", flush=True)
sys.stdin.read()
"""


def test_a_socket_on_which_another_user_listens_is_not_talked_to(
    public_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = public_folder / "run"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    drop = "def drop_privileges():\n    os.setresuid(65534, 65534, 65534)\n"
    program = [sys.executable, "-c", f"import os\n{drop}{THEIRS}", str(folder)]
    theirs = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with theirs:
        assert theirs.stdout is not None
        assert theirs.stdout.readline() == b"listening\n"
        os.chown(folder, os.geteuid(), os.getegid())  # as if they had got in
        monkeypatch.setenv("NBPROD_RUNTIME_DIR", str(folder))

        with pytest.raises(PermissionError, match="Another user listens there"):
            places.connect("0" * 20, timeout=10)

        assert theirs.stdin is not None
        theirs.stdin.close()


OURS = """
import os, socket, sys
drop_privileges()
peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
peer.settimeout(20)
peer.connect(sys.argv[1])
try:
    peer.sendall(b'{"kind": "describe"}\\n')
    print(peer.recv(1000))
except OSError as error:
    print(b"")
"""


def test_another_user_who_found_a_way_in_is_not_served(
    forks: Forks, unprivileged_python: Python
) -> None:
    path = places.socket_path(forks.state()["key"])
    path.parent.chmod(0o711)
    path.chmod(0o666)

    found = unprivileged_python(OURS, path)

    assert found.stdout == "b''\n", found.stderr
    path.parent.chmod(0o700)
    assert isinstance(forks.state(), dict)


def test_a_path_longer_than_an_address_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long" * 40)
    monkeypatch.setenv("NBPROD_RUNTIME_DIR", str(folder))

    with closing(places.listen("1" * 20)) as listener:
        listener.settimeout(10)
        with closing(places.connect("1" * 20, timeout=10)) as peer:
            there, _ = listener.accept()
            with closing(there):
                send(there, State(facts={"is": "here"}))
                assert Inbox(peer).receive() == (State(facts={"is": "here"}), [])


def test_a_zygote_that_is_stopped_by_a_signal_costs_a_bounded_wait_and_is_replaced(
    forks: Forks, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    pid = forks.state()["pid"]
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.5)
    os.kill(pid, signal.SIGSTOP)

    with pytest.raises(NotWarmError, match=r"its zygote did not answer within 0 s"):
        forks.ask(forks.request("leave", "pass"), wait=0)
    monkeypatch.undo()
    monkeypatch.setenv("NBPROD_RUNTIME_DIR", forks.environment["NBPROD_RUNTIME_DIR"])
    monkeypatch.setenv("NBPROD_WARM", "on")

    assert forks.run(forks.request("leave", "pass"))[0] == 5
