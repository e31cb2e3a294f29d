"""Where nothing can be kept warm, a kernel is cold, soon, and with the reason."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nbprod.kernels import client, places
from nbprod.kernels.client import NotWarmError
from nbprod.kernels.key import zygote_key
from nbprod.kernels.settings import KernelSettings

Python = Callable[..., "subprocess.CompletedProcess[str]"]

#: Asks for a kernel and prints why there is none.
ASK = """
import os, resource, subprocess, sys
from nbprod.kernels import client
from nbprod.kernels.settings import KernelSettings

def ask():
    os.environ["NBPROD_WARM"] = "on"
    request = client.request_here("kernel", ["-f", "x"], environment=os.environ, cwd="/")
    try:
        client.fork(request, [0, 1, 2], role="kernel", settings=KernelSettings(preload=()))
    except client.NotWarmError as error:
        print(error.reason)
"""


def why_not() -> str:
    request = client.request_here("kernel", ["-f", "x"], environment=os.environ, cwd="/")
    with pytest.raises(NotWarmError) as caught:
        client.fork(request, [0, 1, 2], role="kernel", settings=KernelSettings(preload=()))
    return caught.value.reason


def test_a_full_disk_is_a_reason(python_on_small_disk: Python) -> None:
    code = """
os.environ["NBPROD_RUNTIME_DIR"] = "/mnt/run"
os.mkdir("/mnt/run", 0o700)
with open("/mnt/full", "wb", buffering=0) as full:
    try:
        while full.write(b"x" * 4096): pass
    except OSError:
        pass
ask()
"""
    ran = python_on_small_disk(ASK + code, kib=256)

    assert ran.stderr.count("Traceback") == 0
    assert ran.stdout == "its zygote could not be started ([Errno 28] No space left on device)\n"


def test_a_read_only_disk_is_a_reason(python_on_small_disk: Python) -> None:
    code = """
os.environ["NBPROD_RUNTIME_DIR"] = "/mnt/run"
subprocess.run(["mount", "-o", "remount,ro", "/mnt"], check=True)
ask()
"""
    ran = python_on_small_disk(ASK + code, kib=256)

    assert ran.stdout == (
        "Nothing can be kept warm: /mnt/run cannot be used. Read-only file system. "
        "Name a folder of your own: export NBPROD_RUNTIME_DIR=$HOME/.cache/nbprod/run\n"
    )


def test_a_folder_that_cannot_be_written_is_a_reason(
    unprivileged_python: Python, public_folder: Path
) -> None:
    code = f"""
os.environ["NBPROD_RUNTIME_DIR"] = {str(public_folder / "run")!r}
drop_privileges()
os.umask(0)
os.mkdir(os.environ["NBPROD_RUNTIME_DIR"], 0o500)
ask()
"""
    public_folder.chmod(0o777)

    ran = unprivileged_python(ASK + code)

    assert ran.stdout == (
        f"Nothing can be kept warm: {public_folder}/run cannot be used. It cannot be written. "
        "Name a folder of your own: export NBPROD_RUNTIME_DIR=$HOME/.cache/nbprod/run\n"
    )


def test_no_free_process_ids_are_a_reason(unprivileged_python: Python, public_folder: Path) -> None:
    code = f"""
os.environ["NBPROD_RUNTIME_DIR"] = {str(public_folder / "run")!r}
drop_privileges()
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
ask()
"""
    public_folder.chmod(0o777)

    ran = unprivileged_python(ASK + code)

    assert ran.stdout == (
        "its zygote could not be started ([Errno 11] Resource temporarily unavailable)\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have a socket that is another's")
def test_a_socket_that_another_user_serves_is_not_spoken_to(runtime: Path) -> None:
    key = zygote_key("kernel", python=sys.executable, preload=(), environment=os.environ)
    code = """
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
os.setresuid(65534, 65534, 65534)
server.listen()
print("listening", flush=True)
peer, _ = server.accept()
print(peer.recv(100))
"""
    command = [sys.executable, "-c", code, places.socket_path(key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"

        try:
            reason = why_not()

            assert reason == "its zygote cannot be reached (Another user listens there.)"
            assert server.stdout.readline() == "b''\n"  # not a word, and no descriptor
        finally:
            server.kill()


@pytest.mark.parametrize("kind", ["file", "link", "socket"])
def test_what_lies_where_the_socket_should_be_makes_room_for_a_zygote(
    runtime: Path, kind: str
) -> None:
    settings = KernelSettings(preload=())
    key = zygote_key("kernel", python=sys.executable, preload=(), environment=os.environ)
    place = places.socket_path(key)
    match kind:
        case "file":
            place.write_text("no socket")
        case "link":
            place.symlink_to("/etc/passwd")
        case "socket":
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(str(place))

    facts = client.warm_up(role="kernel", settings=settings, environment=os.environ)

    assert (facts["key"], facts["is_safe"]) == (key, True)
    assert Path("/etc/passwd").read_text().startswith("root:")


def test_a_folder_where_the_socket_should_be_is_a_reason(runtime: Path) -> None:
    key = zygote_key("kernel", python=sys.executable, preload=(), environment=os.environ)
    places.socket_path(key).mkdir()

    assert why_not() == "the zygote is still importing"
