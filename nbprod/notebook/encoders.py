"""From a Python value to what a scrap carries, in scrapbook's wire format.

`encode` returns a payload's `data` with the name of scrapbook's encoder that reads it:

- numbers, booleans, lists, mappings: "json"; texts: "text".
- JSON has no NaN and no infinity. Where a value holds one, or is None (which scrapbook's schema
  refuses), `data` is the JSON *text* in Python's spelling (`NaN`, `Infinity`). scrapbook's json
  encoder parses a text it finds, so both sides read the number back.
- a DataFrame whose Parquet form has at most 64 KiB: "pandas" (Parquet in base64).
- arrays, larger frames, folders and files: "json", a mapping whose key `nbprod` names our encoder
  (`nbprod.array`, `nbprod.frame`, `nbprod.model`, `nbprod.file`). scrapbook reads it as a mapping.
"""

import base64
import io
import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nbprod.core.digest import digest_bytes, digest_file, digest_manifest, files_in
from nbprod.core.errors.scraps import (
    MissingLibraryError,
    MissingPathScrapError,
    UnencodableScrapError,
)
from nbprod.core.json import JSON
from nbprod.core.runner import SCRAPS_FOLDER

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: Frames and arrays beyond this go to a file beside the notebook.
SIDECAR_BYTES = 64 * 1024
#: The key under which a "json" payload names the encoder of ours that made it.
ENCODER_KEY = "nbprod"
MODEL, FRAME, ARRAY, FILE = "nbprod.model", "nbprod.frame", "nbprod.array", "nbprod.file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A value, ready for the wire."""

    encoder: str  #: scrapbook's: "json", "text" or "pandas"
    data: JSON


def encode(name: str, value: object, *, folder: Callable[[], Path]) -> Encoded:
    """Return the value in scrapbook's format; sidecars are written below `folder()`/scraps.

    Raises:
        UnencodableScrapError: for a kind of value that has no encoder.
        MissingPathScrapError: for a Path to nothing.
        MissingLibraryError: for a frame where pyarrow is missing.
    """
    value = _unpack(value)
    if isinstance(value, str):
        return Encoded(encoder="text", data=str(value))
    if isinstance(value, Path):
        return Encoded(encoder="json", data=_encode_path(name, value, folder()))
    if _is_a(value, "pandas", "Series"):
        value = value.to_frame(name=value.name if value.name is not None else name)  # type: ignore[attr-defined]  # it is a Series
    if _is_a(value, "pandas", "DataFrame"):
        return _encode_frame(name, value, folder)  # type: ignore[arg-type]  # _is_a said so
    if _is_a(value, "numpy", "ndarray"):
        return _encode_array(name, value, folder)  # type: ignore[arg-type]  # _is_a said so
    return _json(_to_json(name, value, where=""))


def _json(value: Any) -> Encoded:
    if value is None or not _is_finite(value):
        return Encoded(encoder="json", data=json.dumps(value))
    return Encoded(encoder="json", data=value)


def _is_finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case list():
            return all(map(_is_finite, value))
        case dict():
            return all(map(_is_finite, value.values()))
        case _:
            return True


def _is_a(value: object, library: str, kind: str) -> bool:
    """Say whether `value` is of a library's class, without importing the library.

    A value can only be of it when the notebook has imported it already.
    """
    module = sys.modules.get(library)
    found = getattr(module, kind, None)
    return isinstance(found, type) and isinstance(value, found)


def _unpack(value: object) -> object:
    """Turn NumPy's and torch's scalars into Python's, and tensors into arrays."""
    if _is_a(value, "torch", "Tensor"):
        tensor: Any = value
        tensor = tensor.detach().cpu()
        if tensor.dim() == 0:
            return tensor.item()
        torch = sys.modules["torch"]
        # NumPy has no bfloat16; every bfloat16 is exactly a float32.
        return tensor.float().numpy() if tensor.dtype is torch.bfloat16 else tensor.numpy()
    if _is_a(value, "pandas", "Timestamp"):
        return value.isoformat()  # type: ignore[attr-defined]  # _is_a said so
    if value is not None and value is getattr(sys.modules.get("pandas"), "NA", None):
        return None
    if _is_a(value, "numpy", "datetime64"):
        return str(value)
    if _is_a(value, "numpy", "generic"):
        return value.item()  # type: ignore[attr-defined]  # _is_a said so
    if _is_a(value, "numpy", "ndarray") and value.ndim == 0:  # type: ignore[attr-defined]  # same
        return _unpack(value[()])  # type: ignore[index]  # same
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return value


def _to_json(name: str, value: object, *, where: str) -> Any:
    value = _unpack(value)
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {
            _key(name, key, where=where): _to_json(name, item, where=f"{where}[{key!r}]")
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_to_json(name, item, where=f"{where}[{index}]") for index, item in enumerate(value)]
    if _is_a(value, "numpy", "ndarray"):
        return _to_json(name, value.tolist(), where=where)  # type: ignore[attr-defined]  # same
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    raise UnencodableScrapError(
        name,
        f"{_article(kind)}" + (f" (at {where})" if where else ""),
        "A scrap must be readable without the class that made it.",
    )


def _article(kind: str) -> str:
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def _key(name: str, key: object, *, where: str) -> str:
    key = _unpack(key)
    if isinstance(key, str):
        return str(key)
    if key is None or isinstance(key, (bool, int, float)):
        # As json.dumps does; a Counter's integer keys are common.
        return json.dumps(key)
    raise UnencodableScrapError(
        name,
        f"a mapping with the key {key!r}" + (f" (at {where})" if where else ""),
        "JSON mappings have texts as keys; numbers are turned into text, nothing else is.",
    )


# frames and arrays


def _encode_frame(name: str, frame: "pd.DataFrame", folder: Callable[[], Path]) -> Encoded:
    content = io.BytesIO()
    try:
        frame.to_parquet(content, engine="pyarrow")
    except ImportError as error:
        raise MissingLibraryError(f"Gluing the frame {name!r}", "pyarrow") from error
    except (ValueError, TypeError, ArithmeticError) as error:
        raise UnencodableScrapError(
            name, "a DataFrame that Parquet cannot hold", f"{type(error).__name__}: {error}"
        ) from error
    parquet = content.getvalue()
    if len(parquet) <= SIDECAR_BYTES:
        # scrapbook's own encoder for frames, so that it hands back a frame too.
        return Encoded(encoder="pandas", data=base64.b64encode(parquet).decode())
    return Encoded(
        encoder="json",
        data={
            ENCODER_KEY: FRAME,
            **_write_sidecar(name, ".parquet", parquet, folder()),
            "rows": len(frame),
            "columns": [str(column) for column in frame.columns],
        },
    )


def _encode_array(name: str, array: "np.ndarray[Any, Any]", folder: Callable[[], Path]) -> Encoded:
    import numpy as np

    if array.dtype.hasobject:
        raise UnencodableScrapError(
            name,
            "a NumPy array of Python objects",
            "Only pickle could store it, and loading a pickle runs code.",
        )
    shape: JSON = [int(size) for size in array.shape]
    described: dict[str, JSON] = {"dtype": array.dtype.str, "shape": shape}
    is_plain = array.dtype.kind in "biuf" and array.dtype.itemsize <= 8
    if is_plain and array.nbytes <= SIDECAR_BYTES:
        return _json({ENCODER_KEY: ARRAY, **described, "values": array.tolist()})
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    sidecar = _write_sidecar(name, ".npy", content.getvalue(), folder())
    return Encoded(encoder="json", data={ENCODER_KEY: ARRAY, **sidecar, **described})


def file_name(name: str) -> str:
    """Return a scrap's name as one that every file system takes."""
    safe = quote(name, safe=" ()[]{}+,;=@!$&'").replace("~", "%7E")
    return safe if not safe.startswith(".") else "%2E" + safe[1:]


def _write_sidecar(name: str, suffix: str, content: bytes, folder: Path) -> dict[str, JSON]:
    path = folder / SCRAPS_FOLDER / (file_name(name)[:150] + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return {
        "path": path.relative_to(folder).as_posix(),
        "digest": digest_bytes(content),
        "size_bytes": len(content),
    }


# folders and files


def _encode_path(name: str, path: Path, folder: Path) -> dict[str, JSON]:
    if not path.exists():
        raise MissingPathScrapError(name, str(path), "does not exist")
    if path.is_file():
        path = _bring(path, folder, name=name, suffix=path.suffix)
        return {
            ENCODER_KEY: FILE,
            "path": path.relative_to(folder).as_posix(),
            "digest": digest_file(path),
            "size_bytes": path.stat().st_size,
        }
    if not any(True for _ in files_in(path)):
        raise MissingPathScrapError(name, str(path), "is a folder without files")
    path = _bring(path, folder, name=name, suffix="")
    files = dict(files_in(path))
    digests = {relative: digest_file(file) for relative, file in files.items()}
    return {
        ENCODER_KEY: MODEL,
        "path": path.relative_to(folder).as_posix(),
        "digest": digest_manifest(digests),
        "files": dict(digests),
        "size_bytes": sum(file.stat().st_size for file in files.values()),
    }


def _bring(path: Path, folder: Path, *, name: str, suffix: str) -> Path:
    """Return the path below `folder`/scraps: as it is when it lies there, else a copy.

    A copy, not a link: the notebook may go on writing to its own files, and what was glued must
    stay what was digested.
    """
    path, folder = path.resolve(), folder.resolve()
    home = folder / SCRAPS_FOLDER
    if path.is_relative_to(home) and path != home:
        return path
    place = home / (file_name(name)[:150] + suffix)
    home.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    if path.is_dir():
        shutil.copytree(path, temporary)
        shutil.rmtree(place, ignore_errors=True)
    else:
        shutil.copy2(path, temporary)
    temporary.replace(place)
    return place
