"""An MLflow server as its REST interface shows it, without the mlflow package (850 MB).

https://mlflow.org/docs/latest/api_reference/rest-api.html, and the artifact proxy that the
server's UI and client use: `/api/2.0/mlflow-artifacts/artifacts`.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import requests

from nbprod.core.errors import (
    MlflowAddressError,
    MlflowIncompleteError,
    MlflowModelError,
    MlflowUnreachableError,
)
from nbprod.registry.references import ModelReference

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
_BLOCK_BYTES = 1 << 20
_API = "api/2.0/mlflow"
_PROXY = "api/2.0/mlflow-artifacts/artifacts"
#: A listing deeper or longer than any model's is a loop or a mistake.
_MOST_FILES = 10_000


class Server:
    """One server, asked about one model."""

    def __init__(self, address: str | None, *, reference: ModelReference) -> None:
        """Find the server's address, and who we are to it, in the variables MLflow reads."""
        self.reference = reference
        address = (address or os.environ.get("MLFLOW_TRACKING_URI", "")).strip()
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MlflowAddressError(str(reference), _without_password(address))
        #: without a user's name and password: it is shown in messages and kept in lineage
        self.address = _without_password(address).rstrip("/")
        self._session = requests.Session()
        if parts.username:
            self._session.auth = (parts.username, parts.password or "")
        self._authenticate(os.environ)

    def _authenticate(self, environment: Mapping[str, str]) -> None:
        user = environment.get("MLFLOW_TRACKING_USERNAME")
        token = environment.get("MLFLOW_TRACKING_TOKEN")
        if user:
            self._session.auth = (user, environment.get("MLFLOW_TRACKING_PASSWORD", ""))
        elif token:
            self._session.headers["Authorization"] = f"Bearer {token}"
        if environment.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
            self._session.verify = False
        elif certificate := environment.get("MLFLOW_TRACKING_SERVER_CERT_PATH"):
            self._session.verify = certificate

    def __enter__(self) -> Self:
        """Return the server itself."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the connections."""
        self._session.close()

    def find_version(self) -> str:
        """Return the number of the version that the reference names.

        Raises:
            MlflowModelError: there is no such model, version or alias.
            MlflowIncompleteError: the server itself says that it is not ready.
        """
        name = self.reference.name
        if self.reference.alias:
            query = {"name": name, "alias": self.reference.alias}
            found = self._ask("registered-models/alias", query)
        else:
            query = {"name": name, "version": str(self.reference.version)}
            found = self._ask("model-versions/get", query)
        version = found["model_version"]
        status = version.get("status", "READY")
        if status != "READY":
            raise MlflowIncompleteError(
                str(self.reference), self.address, f"The server says it is {status}."
            )
        return str(version["version"])

    def artifact_path(self, version: str) -> str:
        """Return where the version's files are, as a path of the server's artifact proxy."""
        query = {"name": self.reference.name, "version": version}
        uri = str(self._ask("model-versions/get-download-uri", query)["artifact_uri"])
        if uri.startswith("runs:/"):
            run, _, below = uri.removeprefix("runs:/").partition("/")
            info = self._ask("runs/get", {"run_id": run})["run"]["info"]
            uri = f"{info['artifact_uri']}/{below}"
        parts = urlsplit(uri)
        if parts.scheme == "mlflow-artifacts":
            return parts.path.strip("/")
        if parts.scheme in ("http", "https") and f"/{_PROXY}/" in parts.path:
            return parts.path.partition(f"/{_PROXY}/")[2].strip("/")
        raise self._refused(
            f"Its files are at {_without_password(uri)}, which the server does not serve itself. "
            "Start it with --serve-artifacts and --artifacts-destination, and log the model again."
        )

    def list_files(self, place: str) -> dict[str, int]:
        """Return relative path -> bytes of every file below a path of the proxy, sorted."""
        return dict(sorted(self._walk(place, "")))

    def _walk(self, place: str, below: str) -> Iterator[tuple[str, int]]:
        folders = [below]
        seen = 0
        while folders:
            folder = folders.pop()
            answer = self._get(_PROXY, {"path": f"{place}/{folder}".rstrip("/")}).json()
            for entry in answer.get("files", ()):
                name = str(entry["path"]).rpartition("/")[2]
                seen += 1
                if name in ("", ".", "..") or not name.isprintable() or seen > _MOST_FILES:
                    raise self._refused(f"It lists a file that no model has: {name!r}.")
                path = f"{folder}/{name}".lstrip("/")
                if entry.get("is_dir"):
                    folders.append(path)
                else:
                    yield path, int(entry.get("file_size", 0))

    def listing_url(self, place: str) -> str:
        """Return the address under which the proxy lists a path."""
        return f"{self.address}/{_PROXY}?path={quote(place)}"

    def fetch(self, path: str, to: Path, *, size: int) -> None:
        """Download one file of the proxy.

        Raises:
            MlflowIncompleteError: what came is not as long as the server's listing says.
        """
        to.parent.mkdir(parents=True, exist_ok=True)
        received = 0
        # identity: the listing says the file's size, not that of a packed answer
        answer = self._get(f"{_PROXY}/{quote(path)}", {}, {"Accept-Encoding": "identity"})
        try:
            with answer, to.open("xb") as file:
                for block in answer.iter_content(_BLOCK_BYTES):
                    file.write(block)
                    received += len(block)
        except requests.RequestException as error:
            raise MlflowUnreachableError(
                self.address, f"The connection broke while {path} was sent."
            ) from error
        if received != size:
            raise MlflowIncompleteError(
                str(self.reference),
                self.address,
                f"{path} came with {received:,} bytes where the server lists {size:,}.",
            )

    def _ask(self, method: str, query: Mapping[str, str]) -> dict[str, Any]:
        answer = self._get(f"{_API}/{method}", query)
        try:
            found = answer.json()
            if isinstance(found, dict):
                return found
        except requests.JSONDecodeError:
            pass
        raise self._refused("Its answer is not JSON: is it an MLflow server?")

    def _get(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        try:
            answer = self._session.get(
                f"{self.address}/{path}",
                params=query,
                headers=headers,
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                stream=headers is not None,
            )
        except requests.Timeout as error:
            raise MlflowUnreachableError(
                self.address, f"It took more than {_CONNECT_SECONDS:.0f} seconds."
            ) from error
        except requests.RequestException as error:
            raise MlflowUnreachableError(self.address, _cause(error)) from error
        if answer.ok:
            return answer
        with answer:
            raise self._refused(_said(answer))

    def _refused(self, reason: str) -> MlflowModelError:
        return MlflowModelError(
            str(self.reference), self.address, reason, quote(self.reference.name)
        )


def _said(answer: requests.Response) -> str:
    """Return the server's own sentence, or its status."""
    try:
        message = answer.json()["message"]
    except (requests.JSONDecodeError, KeyError, TypeError):
        message = f"It answered {answer.status_code} {answer.reason}"
        if answer.status_code in (401, 403):
            message += ": set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    return f"{str(message).rstrip('.')}."


def _cause(error: BaseException) -> str:
    """Return what the operating system said, which requests wraps in three layers."""
    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, OSError) and reason.errno is not None and reason.strerror:
            return f"{reason.strerror}."
        reason = reason.__cause__ or reason.__context__
    return "The connection failed."


def _without_password(address: str) -> str:
    return re.sub(r"//[^/@]*@", "//", address)
