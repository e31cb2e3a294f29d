"""`nbprod.glue`: leave a named value in the notebook's own outputs."""

import warnings
from pathlib import Path
from typing import Any

from nbprod.core.errors.scraps import ScrapNameError, UnencodableScrapError
from nbprod.core.scraps import SCRAP_METADATA, SCRAP_MIME_PREFIX
from nbprod.notebook.encoders import encode
from nbprod.notebook.kernel import attempt_folder, send_display, shell

#: Version of scrapbook's payload schema.
SCHEMA_VERSION = 1


def glue(name: str, value: object, *, display: bool = False) -> None:
    """Record `value` under `name`; with `display`, also show it, under the same name.

    Takes numbers (NumPy's and torch's too), texts, lists, mappings, dates, DataFrames, arrays, and
    a `Path` to a file or a model's folder. A figure or another thing that can only be looked at
    is shown and recorded as a display. The same name glued again: the last one counts.
    `scrapbook.read_notebook` reads all of it.

    Raises:
        UnencodableScrapError: when no encoder takes the value and it cannot be displayed.
        MissingPathScrapError: when a path leads to nothing.
        ScrapNameError: for a name that is empty, too long or no text.
    """
    given: object = name  # a notebook's author may have swapped name and value
    if not isinstance(given, str) or not name.strip() or len(name) > 200 or "\n" in name:
        raise ScrapNameError(name)
    try:
        encoded = encode(name, value, folder=lambda: attempt_folder().resolve())
    except UnencodableScrapError:
        bundle, metadata = _display_bundle(value)
        if not display and not _is_picture(bundle):
            raise
        _send(name, bundle, {**metadata, **_marks(name, data=False, display=True)})
        return
    payload = {
        "name": name,
        "data": encoded.data,
        "encoder": encoded.encoder,
        "version": SCHEMA_VERSION,
    }
    mime = f"{SCRAP_MIME_PREFIX}{encoded.encoder}+json"
    _send(name, {mime: payload}, _marks(name, data=True, display=False))
    if display:
        bundle, metadata = _display_bundle(value)
        _send(name, bundle, {**metadata, **_marks(name, data=False, display=True)})


def _marks(name: str, *, data: bool, display: bool) -> dict[str, Any]:
    return {SCRAP_METADATA: {"name": name, "data": data, "display": display}}


def _send(name: str, bundle: dict[str, Any], metadata: dict[str, Any]) -> None:
    if not send_display(bundle, metadata):
        # As scrapbook does: a template run as a plain script still works.
        warnings.warn(
            f"No notebook kernel is running: the scrap {name!r} is recorded nowhere.", stacklevel=3
        )


def _display_bundle(value: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what IPython would show of a value, with its metadata."""
    if isinstance(value, Path) or shell() is None:
        return {"text/plain": str(value)}, {}
    from IPython.core import formatters

    show: Any = formatters.format_display_data
    bundle, metadata = show(value)
    return dict(bundle), dict(metadata)


def _is_picture(bundle: dict[str, Any]) -> bool:
    """Say whether there is more to show than the text every object has."""
    return any(mime != "text/plain" for mime in bundle)
