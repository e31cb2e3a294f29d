"""A real MLflow server, and models logged on it over REST as its own client would."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import requests

ROOT = Path(__file__).parents[2]
#: An MLflow server starts in 5 s on quiet cores; it creates its database at first.
START_SECONDS = 240
API = "api/2.0/mlflow"


def find_program() -> Path | None:
    """Return the mlflow program of NBPROD_MLFLOW, or of .venv-mlflow beside the Makefile."""
    given = os.environ.get("NBPROD_MLFLOW")
    program = Path(given) if given else ROOT / ".venv-mlflow" / "bin" / "mlflow"
    return program if program.exists() else None


class MlflowServer:
    """`mlflow server` on a free port, with its files in `folder`."""

    def __init__(self, program: Path, folder: Path, *options: str, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.files = folder / "files"
        self._log = (folder / "log").open("w")
        command = [
            program, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", *options,
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, cwd=folder, stdout=self._log, stderr=self._log, start_new_session=True,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.2)  # it tells nobody that it is up

    def _is_up(self) -> bool:
        try:
            return requests.get(f"{self.address}/health", timeout=5).ok
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """End the server and the workers it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def post(self, method: str, **fields: object) -> dict[str, dict[str, str]]:
        answer = requests.post(f"{self.address}/{API}/{method}", json=fields, timeout=60)
        assert answer.ok, answer.text
        found: dict[str, dict[str, str]] = answer.json()
        return found

    def log(self, name: str, files: dict[str, bytes | str], *, alias: str = "champion") -> Path:
        """Register a model with these files under `name`; return where the server keeps them."""
        run = self.post("runs/create", experiment_id="0")["run"]["info"]  # type: ignore[index]
        place = f"{run['artifact_uri']}/model".removeprefix("mlflow-artifacts:/")  # type: ignore[index]
        for path, content in files.items():
            url = f"{self.address}/api/2.0/mlflow-artifacts/artifacts/{place}/{path}"
            raw = content.encode() if isinstance(content, str) else content
            assert requests.put(url, data=raw, timeout=60).ok
        self.register(name, f"mlflow-artifacts:/{place}", str(run["run_id"]), alias=alias)  # type: ignore[index]
        return self.files / place

    def register(self, name: str, source: str, run: str, *, alias: str) -> None:
        requests.post(
            f"{self.address}/{API}/registered-models/create", json={"name": name}, timeout=60
        )
        version = self.post("model-versions/create", name=name, source=source, run_id=run)
        number = version["model_version"]["version"]
        self.post("registered-models/alias", name=name, alias=alias, version=number)
