"""Read scraps out of an executed notebook, and hold them against what its template promised."""

import base64
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbprod.core.digest import digest_file, files_in
from nbprod.core.errors.scraps import MissingLibraryError, SidecarDamagedError
from nbprod.core.json import JSON
from nbprod.core.scraps import (
    SCRAP_METADATA,
    SCRAP_MIME_PREFIX,
    ContractBreach,
    Scrap,
    ScrapDeclaration,
    ScrapType,
    Sidecar,
)
from nbprod.notebook.encoders import ARRAY, ENCODER_KEY, FILE, FRAME, MODEL

if TYPE_CHECKING:
    from nbformat import NotebookNode

_OURS = {
    MODEL: ScrapType.MODEL,
    FRAME: ScrapType.FRAME,
    ARRAY: ScrapType.ARRAY,
    FILE: ScrapType.ANY,
}
#: What a declared type accepts besides itself.
_ACCEPTS = {ScrapType.NUMBER: {ScrapType.INTEGER}}


def read_scraps(notebook: "NotebookNode | Mapping[str, Any] | Path") -> dict[str, Scrap]:
    """Return the scraps of an executed notebook by name, in order; the last of a name counts.

    Reads what `nbprod.glue` and `scrapbook.glue` left alike, and papermill's old records.
    A path is read as plain JSON: nbformat takes 0.1 to 1.1 s to import.
    """
    document: Mapping[str, Any]
    if isinstance(notebook, Path):
        document = json.loads(notebook.read_text(encoding="utf-8", errors="surrogatepass"))
    else:
        document = notebook
    scraps: dict[str, Scrap] = {}
    for cell in document.get("cells", []):
        for output in cell.get("outputs", []):
            for scrap in _scraps_in(output, scraps):
                scraps.pop(scrap.name, None)
                scraps[scrap.name] = scrap
    return scraps


def _scraps_in(output: Mapping[str, Any], former: Mapping[str, Scrap]) -> Iterator[Scrap]:
    bundle: Mapping[str, Any] = output.get("data") or {}
    for mime, payload in bundle.items():
        if (
            mime.startswith(SCRAP_MIME_PREFIX)
            and isinstance(payload, Mapping)
            and isinstance(payload.get("name"), str)
        ):
            yield _scrap(payload["name"], str(payload.get("encoder", "json")), payload.get("data"))
        elif mime.startswith("application/papermill.record") and isinstance(payload, Mapping):
            for name, data in payload.items():
                yield _scrap(str(name), "json", data)
    marks = (output.get("metadata") or {}).get(SCRAP_METADATA) or {}
    name = marks.get("name")
    if marks.get("display") and isinstance(name, str):
        display = {mime: _joined(mime, value) for mime, value in bundle.items()}
        data = former.get(name)
        if data is None or data.type is ScrapType.DISPLAY:
            summary = display.get("text/plain", "")
            yield Scrap(
                name=name,
                encoder="display",
                type=ScrapType.DISPLAY,
                value=summary if isinstance(summary, str) else "",
                display=display,
            )
        else:
            yield Scrap(
                name=name,
                encoder=data.encoder,
                type=data.type,
                value=data.value,
                sidecar=data.sidecar,
                display=display,
            )


def _joined(mime: str, value: Any) -> Any:
    """Return a text that nbformat saved as a list of lines in one piece."""
    is_text = isinstance(value, list) and all(isinstance(line, str) for line in value)
    return "".join(value) if is_text and not mime.endswith("json") else value


def _scrap(name: str, encoder: str, data: Any) -> Scrap:
    if encoder == "text":
        return Scrap(name=name, encoder=encoder, type=ScrapType.TEXT, value=str(data))
    if encoder == "json":
        return _json_scrap(name, data)
    if encoder in ("pandas", "arrow"):
        return Scrap(name=name, encoder=encoder, type=ScrapType.FRAME, value=data)
    return Scrap(name=name, encoder=encoder, type=ScrapType.ANY, value=data)


def _json_scrap(name: str, data: Any) -> Scrap:
    value = _parse(data)
    ours = value.get(ENCODER_KEY) if isinstance(value, dict) else None
    if ours in _OURS and isinstance(value, dict):
        return Scrap(name=name, encoder=ours, type=_OURS[ours], value=data, sidecar=_sidecar(value))
    # A text that holds NaN stays the text that was stored: JSON, and every database, lacks NaN.
    kept = value if not isinstance(data, str) or _is_json(value) else data
    return Scrap(name=name, encoder="json", type=_type_of(value), value=kept)


def _parse(data: Any) -> Any:
    """Return what a json payload means: scrapbook parses a text, and keeps one that is no JSON."""
    if not isinstance(data, str):
        return data
    try:
        return json.loads(data)
    except ValueError:
        return data


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _type_of(value: Any) -> ScrapType:
    match value:
        case bool():
            return ScrapType.BOOLEAN
        case int():
            return ScrapType.INTEGER
        case float():
            return ScrapType.NUMBER
        case str():
            return ScrapType.TEXT
        case list() | dict():
            return ScrapType.JSON
        case _:
            return ScrapType.ANY


def _sidecar(value: Mapping[str, Any]) -> Sidecar | None:
    if "path" not in value:
        return None
    digest = str(value.get("digest", ""))
    return Sidecar(
        path=str(value["path"]),
        files=dict(value.get("files", {"": digest})),
        digest=digest,
        size_bytes=int(value.get("size_bytes", 0)),
    )


def load_value(scrap: Scrap, folder: Path) -> object:
    """Return the value itself: a number, text, list, mapping, DataFrame, array or Path.

    `folder` is the attempt's, which sidecars are relative to; their digests are checked. Of a
    display there is only its mime bundle.

    Raises:
        SidecarDamagedError: when a sidecar's file is missing or was changed.
        MissingLibraryError: for a frame where pyarrow is missing.
    """
    if scrap.sidecar is not None:
        path = verified_path(scrap, folder)
        match scrap.encoder:
            case "nbprod.frame":
                return _read_parquet(scrap.name, path)
            case "nbprod.array":
                import numpy as np

                return np.load(path, allow_pickle=False)
            case _:
                return path
    match scrap.encoder:
        case "pandas" | "arrow":
            return _read_parquet(scrap.name, io.BytesIO(base64.b64decode(str(scrap.value))))
        case "nbprod.array":
            import numpy as np

            stored = _parse(scrap.value)
            return np.array(stored["values"], dtype=stored["dtype"]).reshape(stored["shape"])
        case "display":
            return scrap.display
        case "json":
            return _parse(scrap.value)
        case _:
            return scrap.value


def _read_parquet(name: str, source: Any) -> Any:
    import pandas as pd

    try:
        return pd.read_parquet(source, engine="pyarrow")
    except ImportError as error:
        raise MissingLibraryError(f"Reading the frame {name!r}", "pyarrow") from error


def verified_path(scrap: Scrap, folder: Path) -> Path:
    """Return where a scrap's files are, after comparing each with its recorded digest."""
    sidecar = scrap.sidecar
    if sidecar is None:
        raise SidecarDamagedError(scrap.name, str(folder), ["it has no files"])
    path = folder / sidecar.path
    problems = []
    for relative, digest in sidecar.files.items():
        file = path / relative if relative else path
        if not file.is_file():
            problems.append(f"{relative or sidecar.path} is missing")
        elif digest_file(file) != digest:
            problems.append(f"{relative or sidecar.path} was changed")
    if path.is_dir():
        known = set(sidecar.files)
        problems += [f"{name} was added" for name, _ in files_in(path) if name not in known]
    if problems:
        raise SidecarDamagedError(scrap.name, str(path), problems)
    return path


def check_contract(
    declared: Sequence[ScrapDeclaration],
    scraps: Mapping[str, Scrap],
    *,
    is_stopped: bool = False,
) -> list[ContractBreach]:
    """Return every way in which the scraps differ from what the template declares.

    A missing scrap is a breach only where it is required; one of the wrong type or out of range
    always is, NaN being out of every range; an undeclared one is only reported. A run that
    `nbprod.stop` ended (`is_stopped`) owes no scraps of the cells it did not run.
    """
    breaches = []
    for declaration in declared:
        scrap = scraps.get(declaration.name)
        if scrap is None:
            if declaration.required and not is_stopped:
                breaches.append(
                    ContractBreach(
                        scrap=declaration.name,
                        message=f"The scrap {declaration.name!r} is required and was never glued.",
                    )
                )
            continue
        message = _type_breach(declaration, scrap) or _range_breach(declaration, scrap)
        if message:
            breaches.append(ContractBreach(scrap=declaration.name, message=message))
    names = {declaration.name for declaration in declared}
    if declared:
        breaches += [
            ContractBreach(
                scrap=name,
                message=f"The scrap {name!r} was glued but is not declared in the front matter.",
                is_fatal=False,
            )
            for name in scraps
            if name not in names
        ]
    return breaches


def _type_breach(declaration: ScrapDeclaration, scrap: Scrap) -> str:
    wanted, found = declaration.type, scrap.type
    is_shown = wanted is ScrapType.DISPLAY and scrap.display is not None
    if wanted in (ScrapType.ANY, found) or is_shown or found in _ACCEPTS.get(wanted, set()):
        return ""
    shown = "" if scrap.sidecar or found is ScrapType.FRAME else f": {_short(scrap.value)}"
    return f"The scrap {scrap.name!r} should be {_a(wanted)} and is {_a(found)}{shown}."


def _a(kind: ScrapType) -> str:
    match kind:
        case ScrapType.INTEGER | ScrapType.ARRAY:
            return f"an {kind}"
        case ScrapType.JSON:
            return "a list or mapping"
        case ScrapType.ANY:
            return "of no declared type"
        case _:
            return f"a {kind}"


def _short(value: JSON) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _range_breach(declaration: ScrapDeclaration, scrap: Scrap) -> str:
    value = _parse(scrap.value) if scrap.encoder == "json" else None
    if declaration.range is None or isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    low, high = declaration.range
    unit = f" {declaration.unit}" if declaration.unit else ""
    if math.isnan(value):
        is_out = True
    else:
        is_out = (low is not None and value < low) or (high is not None and value > high)
    if not is_out:
        return ""
    match low, high:
        case None, None:
            bounds = "a number"
        case None, _:
            bounds = f"at most {high:g}{unit}"
        case _, None:
            bounds = f"at least {low:g}{unit}"
        case _:
            bounds = f"between {low:g} and {high:g}{unit}"
    return f"The scrap {scrap.name!r} is {value}{unit}, outside its range: {bounds}."
