"""Write a version as plain files that other tools read with nbprod uninstalled."""

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nbprod.core.digest import digest_bytes
from nbprod.core.errors import ExportFolderError
from nbprod.core.models import ModelVersion
from nbprod.registry.folder import move_into_place
from nbprod.store.disk import disk_errors, sync_folder

if TYPE_CHECKING:
    from nbprod.registry.registry import Registry

_BLOCK_BYTES = 1 << 20


def export(registry: "Registry", reference: str, folder: Path) -> ModelVersion:
    """Write a verified version into `folder`: its files, SHA256SUMS, lineage, verdicts.

    The folder appears complete or not at all. `sha256sum -c SHA256SUMS` checks it, and
    `from_pretrained` loads it: the model's files stand where they stood when it was registered.

    Args:
        registry: where the version is.
        reference: `NAME@ALIAS`, `NAME@3`, or NAME.
        folder: does not exist yet, or is empty.

    Raises:
        ExportFolderError: something is there already.
        ModelTamperedError: the version is not what was registered.
    """
    entry = registry.get(reference)
    folder = folder.expanduser().absolute()
    name = f"{entry.name}@{entry.version}"
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ExportFolderError(folder, name, "A file of that name is there already.")
    if folder.exists() and any(folder.iterdir()):
        raise ExportFolderError(folder, name, "It is not empty, and nothing is overwritten.")
    source = registry.path(f"{entry.name}@{entry.version}")
    records = {
        "lineage.json": _lineage(entry),
        "verdicts.json": _verdicts(registry, entry),
    }
    with disk_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
        try:
            _write(entry, source, records, new)
            if not move_into_place(new, folder):
                raise ExportFolderError(folder, name, "Something appeared in it meanwhile.")
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return entry


def _write(entry: ModelVersion, source: Path, records: Mapping[str, object], folder: Path) -> None:
    folder.mkdir()
    sums = {file.path: file.sha256 for file in entry.files}
    for file in entry.files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with (source / file.path).open("rb") as original, target.open("xb") as copy:
            shutil.copyfileobj(original, copy, _BLOCK_BYTES)
            copy.flush()
            os.fsync(copy.fileno())
    for name, value in records.items():
        content = (json.dumps(value, indent=2, ensure_ascii=False, default=_plain) + "\n").encode()
        sums[name] = digest_bytes(content)
        _write_file(folder / name, content)
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    _write_file(folder / "SHA256SUMS", lines.encode())
    for parent, _, _ in os.walk(folder):
        sync_folder(Path(parent))


def _write_file(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _lineage(entry: ModelVersion) -> dict[str, object]:
    """Return where the version came from: its record, the files apart (SHA256SUMS has them)."""
    record = asdict(entry)
    record["files"] = [file.path for file in entry.files]
    return record


def _verdicts(registry: "Registry", entry: ModelVersion) -> list[dict[str, object]]:
    """Return every decision about the version, newest first, with what the gates said."""
    return [
        asdict(decision)
        | {"verdicts": [asdict(verdict) for verdict in registry.verdicts(decision.id)]}
        for decision in registry.history(entry.name)
        if decision.version == entry.version
    ]


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
