"""The files that outputs go to which are too large, or too many, for a notebook."""

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: How a file is named that holds a payload of a mime type; others end in .json or .txt.
_SUFFIXES = {
    "text/html": ".html",
    "text/markdown": ".md",
    "text/latex": ".tex",
    "text/plain": ".txt",
    "text/csv": ".csv",
    "image/svg+xml": ".svg",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "application/javascript": ".js",
    "application/pdf": ".pdf",
}


def size_of(value: Any) -> int:
    """Return the bytes that a payload takes in UTF-8, as text or as JSON."""
    text = _text(value)
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def head(text: str, size_bytes: int) -> str:
    """Return the beginning of a text that takes at most `size_bytes` in UTF-8."""
    return text.encode("utf-8", "surrogatepass")[:size_bytes].decode("utf-8", "ignore")


class Overflow:
    """Writes whole outputs into a folder, which is made with the first of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def shown(self, name: str) -> str:
        """Return the file's path as the notebook beside the folder names it."""
        return f"{self._folder.name}/{name}"

    def start(self, name: str, text: str = "") -> str:
        """Begin a file and return its name."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / name).write_bytes(text.encode("utf-8", "backslashreplace"))
        return name

    def append(self, name: str, text: str) -> None:
        """Add to a file that was begun."""
        with (self._folder / name).open("ab") as file:
            file.write(text.encode("utf-8", "backslashreplace"))

    def keep(self, stem: str, mime: str, payload: Any) -> str:
        """Write a payload whole, pictures decoded, and return the file's name."""
        suffix = _SUFFIXES.get(mime, ".txt" if isinstance(payload, str) else ".json")
        name = f"{stem}{suffix}"
        text = _text(payload)
        self.start(name, "")
        if not mime.startswith("text/") and suffix not in (".svg", ".js", ".json", ".txt"):
            try:
                (self._folder / name).write_bytes(base64.b64decode(text, validate=False))
            except (binascii.Error, ValueError):
                self.append(name, text)
            return name
        self.append(name, text)
        return name


def as_line(output: Mapping[str, Any]) -> str:
    """Return an output as a line of JSON."""
    return json.dumps(output, ensure_ascii=False) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
