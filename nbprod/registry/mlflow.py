"""Take a model from an MLflow server: `models:/NAME@ALIAS`, `models:/NAME/3`.

Nothing of an MLflow server is taken on trust. It calls a half-written model READY and serves
files edited on its disk, so sizes are compared with the listing and with MLmodel, every file's
format is checked, and what was taken is kept and named by the digest of its content.
"""

import json
import secrets
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from nbprod.core.digest import digest_file, digest_json, digest_manifest
from nbprod.core.errors import MlflowIncompleteError, ModelReferenceError
from nbprod.core.models import ModelFile
from nbprod.registry import folder as folders
from nbprod.registry.formats import check_contents
from nbprod.registry.mlflow_server import Server
from nbprod.registry.references import ModelReference, Origin, parse_reference
from nbprod.store.disk import disk_errors

#: Written after MLmodel's `model_size_bytes` was counted.
_UNCOUNTED = frozenset({"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"})
_INDEX = "index"


def download(
    reference: str | ModelReference, *, tracking_uri: str | None, into: Path
) -> tuple[Path, str]:
    """Return a folder to load the model from, and the digest of its content.

    A model of the transformers flavour is laid out as `from_pretrained` wants it: what MLflow
    keeps in `model/` and `components/tokenizer/` stands at the top.

    Args:
        reference: `models:/NAME@ALIAS` or `models:/NAME/3`.
        tracking_uri: http(s) address of the server; None takes MLFLOW_TRACKING_URI.
        into: models are kept here as `<digest>/`; what was taken once is not taken again while
            the server lists the same files.

    Raises:
        MlflowAddressError: there is no address.
        MlflowUnreachableError: the server does not answer.
        MlflowModelError: it has no such model, version or alias, or does not serve its files.
        MlflowIncompleteError: what it has is not a whole model.
        ModelFormatError: a file's format could execute code, or it is cut off.
    """
    wanted = parse_reference(reference) if isinstance(reference, str) else reference
    if wanted.origin is not Origin.MLFLOW:
        raise ModelReferenceError(str(reference), "It does not name a model of an MLflow server.")
    with Server(tracking_uri, reference=wanted) as server:
        version = server.find_version()
        place = server.artifact_path(version)
        listing = server.list_files(place)
        if not listing:
            raise MlflowIncompleteError(
                str(wanted), server.address, f"Version {version} has no files there."
            )
        key = digest_json(
            {"server": server.address, "name": wanted.name, "version": version,
             "place": place, "files": dict(listing)}
        )  # fmt: skip
        if known := _kept(into, key):
            return known
        with disk_errors(into):
            into.mkdir(parents=True, exist_ok=True)
            new = into / f".new-{secrets.token_hex(8)}"
            try:
                return _take(server, place, listing, new, into, key)
            finally:
                shutil.rmtree(new, ignore_errors=True)


def _take(
    server: Server, place: str, listing: Mapping[str, int], new: Path, into: Path, key: str
) -> tuple[Path, str]:
    for path in listing:
        server.fetch(f"{place}/{path}", new / path, size=listing[path])
    _check_size(server, new, listing)
    names = layout(new, list(listing))
    check_contents(
        f"{server.reference} of {server.address}",
        {path: partial(_open, new / path) for path in listing},
        do=lambda _: (
            "Log it again in a format that may enter (transformers writes safetensors), and "
            f"see what is there: curl -s '{server.listing_url(place)}'"
        ),
    )
    for path, name in names.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / path).rename(new / name)
    for parent in sorted({(new / path).parent for path in listing}, reverse=True):
        while parent != new and not any(parent.iterdir()):
            parent.rmdir()
            parent = parent.parent
    files = {name: digest_file(new / name) for name in sorted(names.values())}
    for name in files:
        (new / name).chmod(0o444)
    digest = digest_manifest(files)
    final = into / digest
    if final.exists() and folders.problems(final, _manifest(files)):
        folders.remove(final)  # a copy that was edited: the server has it as it was
    folders.move_into_place(new, final)
    _remember(into, key, digest, files)
    return final, digest


def layout(folder: Path, paths: list[str]) -> dict[str, str]:
    """Return where each file goes, so that `from_pretrained` finds what it looks for.

    MLflow's transformers flavour keeps the model and each component in folders of their own,
    which MLmodel names. Files that would fall on another stay where they are.
    """
    names = {path: path for path in paths}
    flavor = _mlmodel(folder).get("flavors", {}).get("transformers")
    if not isinstance(flavor, dict):
        return names
    inner = [str(flavor.get("model_binary", "model"))]
    inner += [f"components/{component}" for component in flavor.get("components") or ()]
    taken = set(paths)
    for prefix in inner:
        for path in paths:
            name = path.removeprefix(f"{prefix}/")
            if name != path and name not in taken:
                taken.add(name)
                names[path] = name
    return names


def _mlmodel(folder: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load((folder / "MLmodel").read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    if not isinstance(found, dict) or not isinstance(found.get("flavors", {}), dict):
        return {}
    return found


def _check_size(server: Server, folder: Path, listing: Mapping[str, int]) -> None:
    """Compare what is there with what MLmodel says was logged."""
    promised = _mlmodel(folder).get("model_size_bytes")
    size = sum(size for path, size in listing.items() if path not in _UNCOUNTED)
    if isinstance(promised, int) and size < promised:
        raise MlflowIncompleteError(
            str(server.reference),
            server.address,
            f"Its files have {size:,} bytes where MLmodel says {promised:,}: "
            "it was not logged to the end.",
        )


def _kept(into: Path, key: str) -> tuple[Path, str] | None:
    """Return what was taken before, if it is whole and unchanged."""
    try:
        found = json.loads((into / _INDEX / f"{key}.json").read_text())
        folder = into / str(found["digest"])
        files = dict(found["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not folder.is_dir() or folders.problems(folder, _manifest(files)):
        return None
    return folder, str(found["digest"])


def _remember(into: Path, key: str, digest: str, files: Mapping[str, str]) -> None:
    index = into / _INDEX
    index.mkdir(exist_ok=True)
    new = index / f".{key}.{secrets.token_hex(4)}"
    new.write_text(json.dumps({"digest": digest, "files": dict(files)}))
    new.replace(index / f"{key}.json")


def _manifest(files: Mapping[str, str]) -> list[ModelFile]:
    return [ModelFile(path=path, sha256=sha256, size_bytes=0) for path, sha256 in files.items()]


def _open(path: Path) -> BinaryIO:
    return path.open("rb")
