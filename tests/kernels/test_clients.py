"""Tools that know nothing of nbprod get warm kernels by the kernelspec alone."""

import json
import os
import secrets
import select
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
import websocket
from kernel_starts import Starts
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from zygote_forks import is_over, until

from nbprod.kernels.starts import StartKind

WARM = {StartKind.FORKED, StartKind.SPARE}
PROGRAMS = Path(sys.executable).parent


def notebook(folder: Path, *cells: str) -> Path:
    path = folder / "in.ipynb"
    metadata = {"kernelspec": {"name": "python3-warm", "display_name": "", "language": "python"}}
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=metadata
    )
    nbformat.write(made, path)
    return path


def run(folder: Path, *command: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=200, check=False
    )


def printed(path: Path) -> list[str]:
    """Return what each cell of an executed notebook printed."""
    cells = nbformat.read(path, as_version=4).cells
    texts = [
        "".join(output.get("text", "") for output in cell.outputs)
        for cell in cells
        if cell.cell_type == "code"
    ]
    return [text.strip() for text in texts]


def test_papermill_from_its_command_line(warm: Starts, tmp_path: Path) -> None:
    path = notebook(tmp_path, "who = 'nobody'", "print('for', who)")
    made = nbformat.read(path, as_version=4)
    made.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(made, path)

    ran = run(tmp_path, PROGRAMS / "papermill", "in.ipynb", "out.ipynb", "-p", "who", "you")

    assert ran.returncode == 0, ran.stderr
    assert printed(tmp_path / "out.ipynb") == ["", "", "for you"]
    assert warm.kinds() <= WARM
    assert len(warm.found()) == 1
    assert warm.found()[0].owner.startswith("papermill ")


def test_papermill_in_process(warm: Starts, tmp_path: Path) -> None:
    path = notebook(tmp_path, "print(1)", "1 / 0", "print(2)")

    with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        papermill.execute_notebook(path, tmp_path / "out.ipynb", progress_bar=False)

    assert printed(tmp_path / "out.ipynb")[-3:] == ["1", "", ""]
    assert warm.kinds() <= WARM


def test_nbclient(warm: Starts, tmp_path: Path) -> None:
    made = nbformat.read(notebook(tmp_path, "import os; print(os.getcwd())", "1 / 0"), as_version=4)
    client = NotebookClient(made, timeout=60, resources={"metadata": {"path": str(tmp_path)}})

    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        client.execute()

    assert made.cells[0].outputs[0].text.strip() == str(tmp_path)
    assert warm.kinds() <= WARM
    assert len(warm.found()) == 1


def test_nbconvert(warm: Starts, tmp_path: Path) -> None:
    notebook(tmp_path, "print(6 * 7)", "import os; print(os.getcwd())")
    words = ("nbconvert", "--execute", "--to", "notebook", "--output", "out", "in.ipynb")

    ran = run(tmp_path, PROGRAMS / "jupyter", *words)

    assert ran.returncode == 0, ran.stderr
    assert printed(tmp_path / "out.ipynb") == ["42", str(tmp_path)]
    assert warm.kinds() <= WARM
    assert len(warm.found()) == 1


def test_a_tool_that_finds_no_zygote_says_once_why_its_kernel_is_cold(
    runtime: Path, tmp_path: Path
) -> None:
    notebook(tmp_path, "print('works')")

    ran = run(tmp_path, PROGRAMS / "papermill", "in.ipynb", "out.ipynb", "--no-progress-bar")

    assert printed(tmp_path / "out.ipynb") == ["works"]
    assert ran.stderr.count("A cold kernel is used: the zygote is still importing") == 1


class Server:
    """JupyterLab, over the interface that its page uses."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.token = secrets.token_hex(8)
        self.address = f"127.0.0.1:{port}"
        options = {
            "ip": "127.0.0.1",
            "port": port,
            "port_retries": 0,
            "root_dir": folder,
            "open_browser": False,
            "allow_root": True,
        }
        command = [f"--ServerApp.{name}={value}" for name, value in options.items()]
        self.log = (folder / "server.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *command],
            cwd=folder,
            env=os.environ | {"JUPYTER_TOKEN": self.token, "JUPYTER_CONFIG_DIR": str(folder)},
            stdout=self.log,
            stderr=self.log,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.asks("GET", "status")
                return
            except OSError:
                assert self.process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)  # it tells nobody when it listens

    def asks(self, method: str, path: str, content: object = None) -> Any:
        request = urllib.request.Request(
            f"http://{self.address}/api/{path}",
            method=method,
            data=None if content is None else json.dumps(content).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


class Channels:
    """A page's connection to a kernel."""

    def __init__(self, server: Server, kernel: str) -> None:
        self.socket = websocket.create_connection(
            f"ws://{server.address}/api/kernels/{kernel}/channels?token={server.token}", timeout=60
        )

    def send(self, kind: str, **content: object) -> str:
        request = secrets.token_hex(8)
        header = {"msg_id": request, "msg_type": kind, "version": "5.3"}
        header |= {"username": "", "session": request}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self.socket.send(json.dumps(message | {"channel": "shell", "buffers": []}))
        return request

    def execute(self, code: str) -> str:
        return self.send("execute_request", code=code, silent=False, store_history=True)

    def ready(self) -> None:
        """Wait until what the kernel publishes arrives: a new one's first words reach nobody."""
        self.socket.settimeout(1)
        for _ in range(60):
            try:
                list(self.messages(self.send("kernel_info_request")))
                break
            except websocket.WebSocketTimeoutException:
                continue
        self.socket.settimeout(60)

    def messages(self, request: str) -> Iterator[dict[str, Any]]:
        """Yield what the kernel says about a request, until it has replied and is idle."""
        missing = {"reply", "idle"}
        while missing:
            message = json.loads(self.socket.recv())
            if message["parent_header"].get("msg_id") != request:
                continue
            missing.discard(message["msg_type"].rpartition("_")[2])
            missing.discard(message["content"].get("execution_state"))
            yield message

    def says(self, code: str) -> str:
        found = self.messages(self.execute(code))
        texts = [item["content"]["text"] for item in found if item["msg_type"] == "stream"]
        return "".join(texts).strip()


@pytest.fixture
def server(warm: Starts, tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    yield started
    started.close()


def test_jupyterlab_starts_runs_interrupts_restarts_and_ends_a_kernel(
    server: Server, warm: Starts, tmp_path: Path
) -> None:
    specs = server.asks("GET", "kernelspecs")["kernelspecs"]
    assert specs["python3-warm"]["spec"]["display_name"] == "Python 3 (warm)"

    kernel = server.asks("POST", "kernels", {"name": "python3-warm"})["id"]
    channels = Channels(server, kernel)
    pid = int(channels.says("import os; print(os.getpid())"))
    assert channels.says("print(os.getcwd())") == str(tmp_path)

    request = channels.execute("import time\nprint('begun', flush=True)\ntime.sleep(60)")
    replies = []
    for message in channels.messages(request):
        if message["msg_type"] == "stream":
            server.asks("POST", f"kernels/{kernel}/interrupt")
        if message["msg_type"] == "execute_reply":
            replies.append(message["content"]["ename"])
    assert replies == ["KeyboardInterrupt"]

    channels.says("kept = 1")
    server.asks("POST", f"kernels/{kernel}/restart")
    channels.ready()
    assert channels.says("print('kept' in globals())") == "False"
    again = int(channels.says("import os; print(os.getpid())"))
    assert again != pid
    assert is_over(pid)

    server.asks("DELETE", f"kernels/{kernel}")
    assert server.asks("GET", "kernels") == []
    until(lambda: is_over(again), seconds=5)
    channels.socket.close()
    assert warm.kinds() <= WARM
    assert len(warm.found()) == 2


def test_jupyterlab_starts_a_kernel_anew_that_died(server: Server, warm: Starts) -> None:
    kernel = server.asks("POST", "kernels", {"name": "python3-warm"})["id"]
    channels = Channels(server, kernel)
    pid = int(channels.says("import os; print(os.getpid())"))

    channels.execute("os._exit(3)")
    deadline = time.monotonic() + 60
    while len(warm.found()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the server looks for dead kernels every three seconds
    channels.ready()

    assert int(channels.says("import os; print(os.getpid())")) != pid
    channels.socket.close()
    assert warm.kinds() <= WARM


def test_kernels_of_a_jupyterlab_that_is_killed_are_gone_within_a_second(
    server: Server, warm: Starts
) -> None:
    kernel = server.asks("POST", "kernels", {"name": "python3-warm"})["id"]
    channels = Channels(server, kernel)
    pid = int(channels.says("import os; print(os.getpid())"))
    pidfd = os.pidfd_open(pid)

    server.process.kill()
    killed = time.monotonic()

    assert select.select([pidfd], [], [], 10)[0]
    assert time.monotonic() - killed < 5
    os.close(pidfd)
    channels.socket.close()
