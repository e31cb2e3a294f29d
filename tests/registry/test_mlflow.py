import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import model_files as make
import pytest
from mlflow_server import MlflowServer

from nbprod.core.digest import digest_folder
from nbprod.core.errors import (
    MlflowAddressError,
    MlflowIncompleteError,
    MlflowModelError,
    MlflowUnreachableError,
    ModelFormatError,
    ModelReferenceError,
)
from nbprod.registry.mlflow import download
from nbprod.registry.registry import Registry

FLAT: dict[str, bytes | str] = {
    "config.json": '{"model_type": "bert"}',
    "model.safetensors": make.safetensors(),
    "tokenizer/vocab.txt": "a\nb\n",
}
#: As mlflow.transformers.log_model lays a pipeline out.
LOGGED: dict[str, bytes | str] = {
    "MLmodel": """
flavors:
  python_function: {loader_module: mlflow.transformers, python_version: 3.11.7}
  transformers:
    components: [tokenizer]
    model_binary: model
    task: text-classification
mlflow_version: 3.17.2
model_size_bytes: 170
""",
    "requirements.txt": "transformers==5.23.0\n",
    "model/config.json": '{"model_type": "bert"}',
    "model/model.safetensors": make.safetensors(),
    "components/tokenizer/tokenizer.json": '{"model": {}}',
    "components/tokenizer/config.json": '{"clash": true}',
}


def names(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_a_model_of_an_mlflow_server_arrives_as_it_was_logged(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    mlflow_server.log("the router", FLAT)
    expected = make.write(tmp_path / "expected", FLAT)

    by_alias = download(
        "models:/the router@champion", tracking_uri=mlflow_server.address, into=tmp_path / "d"
    )
    by_number = download(
        "models:/the router/1", tracking_uri=mlflow_server.address + "/", into=tmp_path / "d"
    )

    assert by_alias == by_number == (tmp_path / "d" / by_alias[1], digest_folder(expected))
    assert digest_folder(by_alias[0]) == by_alias[1]
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == sorted(
        [by_alias[1], "index"]
    )


def test_the_address_is_taken_from_the_environment_and_a_registry_takes_the_model(
    mlflow_server: MlflowServer, local_registry: Registry, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    mlflow_server.log("from-environment", FLAT)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.address)

    folder, digest = download("models:/from-environment/1", tracking_uri=None, into=tmp_path / "d")

    assert local_registry.register("router", folder, actor="ann").digest == digest


def test_a_transformers_flavour_is_laid_out_for_from_pretrained(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    mlflow_server.log("bert", LOGGED)

    folder, _ = download("models:/bert/1", tracking_uri=mlflow_server.address, into=tmp_path)

    assert names(folder) == [
        "MLmodel",
        "components/tokenizer/config.json",
        "config.json",
        "model.safetensors",
        "requirements.txt",
        "tokenizer.json",
    ]
    assert json.loads((folder / "config.json").read_text()) == {"model_type": "bert"}


def test_what_was_taken_once_is_kept_until_the_server_lists_something_else(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    place = mlflow_server.log("kept", FLAT)
    first = download("models:/kept/1", tracking_uri=mlflow_server.address, into=tmp_path)
    before = (first[0] / "config.json").stat().st_ino

    again = download("models:/kept/1", tracking_uri=mlflow_server.address, into=tmp_path)

    assert (again, (again[0] / "config.json").stat().st_ino) == (first, before)

    (place / "config.json").write_text('{"model_type": "edited on the server"}')
    edited, digest = download("models:/kept/1", tracking_uri=mlflow_server.address, into=tmp_path)

    assert digest != first[1]
    assert digest_folder(edited) == digest


def test_a_kept_copy_that_was_edited_is_taken_anew(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    mlflow_server.log("edited", FLAT)
    first, digest = download("models:/edited/1", tracking_uri=mlflow_server.address, into=tmp_path)
    (first / "config.json").chmod(0o644)
    (first / "config.json").write_text("{}")

    again = download("models:/edited/1", tracking_uri=mlflow_server.address, into=tmp_path)

    assert again == (first, digest)
    assert digest_folder(first) == digest


def test_a_model_with_pickles_is_not_taken(mlflow_server: MlflowServer, tmp_path: Path) -> None:
    mlflow_server.log("pickled", {"config.json": "{}", "python_model.pkl": make.torch_zip()})

    with pytest.raises(ModelFormatError) as caught:
        download("models:/pickled/1", tracking_uri=mlflow_server.address, into=tmp_path / "d")

    lines = str(caught.value).splitlines()
    assert lines[:3] == [
        f"models:/pickled/1 of {mlflow_server.address} cannot be taken in as a model.",
        "Only formats that cannot execute code may enter the registry:",
        "  python_model.pkl: it is a zip that holds a pickle (archive/data.pkl)",
    ]
    assert lines[3].startswith(
        "Log it again in a format that may enter (transformers writes safetensors), and see what "
        f"is there: curl -s '{mlflow_server.address}/api/2.0/mlflow-artifacts/artifacts?path=0/"
    )
    assert list((tmp_path / "d").iterdir()) == []


def test_a_half_written_model_that_the_server_calls_ready_is_not_taken(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    missing = {path: content for path, content in LOGGED.items() if "safetensors" not in path}
    mlflow_server.log("half", missing)
    mlflow_server.log("cut", {"config.json": "{}", "model.safetensors": make.safetensors()[:-9]})
    mlflow_server.log("empty", {"elsewhere/config.json": "{}"})
    (place,) = mlflow_server.files.rglob("elsewhere")
    for path in place.iterdir():
        path.unlink()

    with pytest.raises(MlflowIncompleteError) as half:
        download("models:/half/1", tracking_uri=mlflow_server.address, into=tmp_path / "d")
    with pytest.raises(ModelFormatError) as cut:
        download("models:/cut/1", tracking_uri=mlflow_server.address, into=tmp_path / "d")
    with pytest.raises(MlflowIncompleteError, match="Version 1 has no files there"):
        download("models:/empty/1", tracking_uri=mlflow_server.address, into=tmp_path / "d")

    assert str(half.value) == (
        f"models:/half/1 was not taken from the MLflow server at {mlflow_server.address}.\n"
        "Its files have 50 bytes where MLmodel says 170: it was not logged to the end.\n"
        "Log the model again and move the alias, then check the server: "
        f"curl -f {mlflow_server.address}/health"
    )
    assert cut.value.refusals == (
        ("model.safetensors", "it has 117 bytes where its header promises 126: it is not whole"),
    )
    assert list((tmp_path / "d").iterdir()) == []


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("models:/nobody@champion", "Registered Model with name=nobody not found."),
        ("models:/nobody/1", "Model Version (name=nobody, version=1) not found."),
        ("models:/known/7", "Model Version (name=known, version=7) not found."),
        ("models:/known@chempion", "Registered model alias chempion not found."),
    ],
)
def test_what_the_server_does_not_have_is_said_in_its_own_words(
    reference: str, reason: str, mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    mlflow_server.log("known", FLAT)
    name = "nobody" if "nobody" in reference else "known"

    with pytest.raises(MlflowModelError) as caught:
        download(reference, tracking_uri=mlflow_server.address, into=tmp_path)

    assert str(caught.value) == (
        f"The MLflow server at {mlflow_server.address} does not give {reference}.\n"
        f"{reason}\n"
        "See what it has: "
        f"curl -s '{mlflow_server.address}/api/2.0/mlflow/registered-models/get?name={name}'"
    )


def test_a_version_registered_by_its_run_is_found_among_the_files_of_the_run(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    place = mlflow_server.log("by-place", FLAT)
    run = place.parent.parent.name
    mlflow_server.register("by-run", f"runs:/{run}/model", run, alias="champion")

    by_place = download("models:/by-place/1", tracking_uri=mlflow_server.address, into=tmp_path)
    by_run = download("models:/by-run/1", tracking_uri=mlflow_server.address, into=tmp_path)

    assert by_run == by_place


def test_a_server_that_does_not_answer_is_named(free_address: str, tmp_path: Path) -> None:
    with pytest.raises(MlflowUnreachableError) as caught:
        download(
            "models:/router@champion",
            tracking_uri=free_address.replace("//", "//ann:secret@"),
            into=tmp_path / "d",
        )

    assert str(caught.value) == (
        f"The MLflow server at {free_address} does not answer.\n"
        "Connection refused.\n"
        "Start it or correct MLFLOW_TRACKING_URI, then check: "
        f"curl -f {free_address}/health"
    )
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "MLFLOW_TRACKING_URI is not set."),
        (
            "sqlite:///mlflow.db",
            "MLFLOW_TRACKING_URI is 'sqlite:///mlflow.db'; only http and https are read.",
        ),
    ],
)
def test_without_the_address_of_a_server_there_is_nowhere_to_ask(
    address: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)

    with pytest.raises(MlflowAddressError) as caught:
        download("models:/router@champion", tracking_uri=None, into=tmp_path)

    assert str(caught.value) == (
        "models:/router@champion needs an MLflow server.\n"
        f"{why}\n"
        "Say where it is: export MLFLOW_TRACKING_URI=http://127.0.0.1:5000"
    )
    with pytest.raises(ModelReferenceError):
        download("router@champion", tracking_uri=None, into=tmp_path)


class _Odd(BaseHTTPRequestHandler):
    """What a well-behaved MLflow server never answers: this border is not ours to break."""

    answers: dict[str, tuple[int, bytes]]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].rpartition("/")[2]
        status, body = self.answers[path]
        seen.append(self.headers.get("Authorization"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


seen: list[str | None] = []


@pytest.fixture
def odd_server() -> Iterator[tuple[str, dict[str, tuple[int, bytes]]]]:
    """A server that answers whatever the test says."""
    answers = {
        "get": (200, b'{"model_version": {"version": "1", "status": "READY"}}'),
        "get-download-uri": (200, b'{"artifact_uri": "mlflow-artifacts:/0/x"}'),
        "artifacts": (200, b'{"files": [{"path": "config.json", "file_size": 2}]}'),
        "config.json": (200, b"{}"),
    }
    _Odd.answers = answers
    seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Odd)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (
            {"config.json": (200, b"{")},
            MlflowIncompleteError,
            "0/x/config.json came with 1 bytes where the server lists 2.",
        ),
        (
            {"get": (200, b'{"model_version": {"version": "1", "status": "PENDING"}}')},
            MlflowIncompleteError,
            "The server says it is PENDING.",
        ),
        (
            {"artifacts": (200, b'{"files": [{"path": "..", "is_dir": true}]}')},
            MlflowModelError,
            "It lists a file that no model has: '..'.",
        ),
        (
            {"get": (200, b"<html>hello</html>")},
            MlflowModelError,
            "Its answer is not JSON: is it an MLflow server?",
        ),
        (
            {"get": (401, b"who are you?")},
            MlflowModelError,
            "It answered 401 Unauthorized: set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD.",
        ),
        (
            {"get-download-uri": (200, b'{"artifact_uri": "s3://key:secret@bucket/x"}')},
            MlflowModelError,
            "Its files are at s3://bucket/x, which the server does not serve itself. "
            "Start it with --serve-artifacts and --artifacts-destination, "
            "and log the model again.",
        ),
    ],
)
def test_an_odd_answer_is_refused_with_its_reason_and_nothing_is_kept(
    change: dict[str, tuple[int, bytes]],
    error: type[Exception],
    reason: str,
    odd_server: tuple[str, dict[str, tuple[int, bytes]]],
    tmp_path: Path,
) -> None:
    address, answers = odd_server
    answers.update(change)

    with pytest.raises(error) as caught:
        download("models:/router/1", tracking_uri=address, into=tmp_path / "d")

    assert str(caught.value).splitlines()[1] == reason
    assert not (tmp_path / "d").exists() or list((tmp_path / "d").iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "address", "header"),
    [
        ({}, "http://", None),
        ({"MLFLOW_TRACKING_TOKEN": "abc"}, "http://", "Bearer abc"),
        (
            {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "pw"},
            "http://",
            "Basic YW5uOnB3",
        ),
        ({}, "http://ann:pw@", "Basic YW5uOnB3"),
    ],
)
def test_who_asks_is_said_as_mlflow_does(
    variables: dict[str, str],
    address: str,
    header: str | None,
    odd_server: tuple[str, dict[str, tuple[int, bytes]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    download(
        "models:/router/1", tracking_uri=odd_server[0].replace("http://", address), into=tmp_path
    )

    assert set(seen) == {header}
