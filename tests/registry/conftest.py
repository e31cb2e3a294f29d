import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path; the files made for these tests are a
# module beside them, which the worker processes import as well.
sys.path.insert(0, str(Path(__file__).parent))

from mlflow_server import MlflowServer, find_program
from model_files import open_registry

from nbprod.registry.registry import Registry


@pytest.fixture
def registry(store_url: str, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry: once on SQLite, once on PostgreSQL."""
    registry, store = open_registry(store_url, tmp_path)
    with store:
        yield registry


@pytest.fixture
def local_registry(tmp_path: Path) -> Iterator[Registry]:
    """An empty registry on SQLite, for what the database has no part in."""
    registry, store = open_registry("sqlite:///.nbprod/store.db", tmp_path)
    with store:
        yield registry


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A real MLflow server, version 3.17.2, that serves its artifacts."""
    program = find_program()
    if program is None:
        text = "There is no MLflow server to test against: make .venv-mlflow/.installed"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    folder = tmp_path_factory.mktemp("mlflow")
    options = ["--artifacts-destination", str(folder / "files")]
    server = MlflowServer(program, folder, *options, port=free_port())
    yield server
    server.stop()


@pytest.fixture
def free_address() -> str:
    """An address at which nothing listens."""
    return f"http://127.0.0.1:{free_port()}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
