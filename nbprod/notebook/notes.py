"""Outputs that we, not the kernel, put below a cell."""

import html
from collections.abc import Mapping
from typing import Any

from nbprod.core.scraps import SCRAP_METADATA, SCRAP_MIME_PREFIX
from nbprod.core.words import bytes_size


def note(text: str) -> dict[str, Any]:
    """Return an output that says something about its cell."""
    return {
        "output_type": "display_data",
        "data": {"text/plain": text, "text/markdown": f"*{_escape(text)}*"},
        "metadata": {"nbprod": {"note": True}},
    }


def cut_mark(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands in an output's place, or below what is left of it.

    `fields` are those of OUTPUT_CUT. The end of a stream is shown too: it often says how a long
    computation went.
    """
    tail = str(fields.get("tail") or "")
    sentence = _sentence(fields) + (" It ends with:" if tail else "")
    mark = note(sentence)
    if tail:
        fence = "```"
        while fence in tail:
            fence += "`"
        mark["data"]["text/plain"] += f"\n{tail}"
        mark["data"]["text/markdown"] += f"\n\n{fence}text\n{tail}\n{fence}"
    mark["metadata"]["nbprod"]["cut"] = {
        key: fields.get(key) for key in ("what", "file", "kept", "whole", "unit")
    }
    return mark


def without_bulk(output: dict[str, Any], largest: int) -> dict[str, Any]:
    """Return the output, or where it has more than `largest` characters a note in its place."""
    if is_scrap(output):
        return output
    data = output.get("data") or {"text": output.get("text") or output.get("traceback") or ""}
    size = sum(len(str(payload)) for payload in data.values())
    if size <= largest:
        return output
    return note(f"An output of about {bytes_size(size)} is shown here when the run has ended.")


def is_scrap(output: Mapping[str, Any]) -> bool:
    """Say whether an output carries a scrap: its data, its display, or both."""
    metadata = output.get("metadata") or {}
    return SCRAP_METADATA in metadata or any(
        mime.startswith(SCRAP_MIME_PREFIX) for mime in output.get("data") or {}
    )


def _sentence(fields: Mapping[str, Any]) -> str:
    what, file = fields.get("what"), fields.get("file")
    kept, whole = int(fields.get("kept") or 0), int(fields.get("whole") or 0)
    if fields.get("unit") == "outputs":
        return f"Cut: {whole - kept:,} outputs more than the {kept:,} above are in {file}."
    size = bytes_size(whole)
    size = f"{bytes_size(kept)} of {size} are above" if kept else size
    return f"Cut: {what}, {size}; the whole is in {file}."


def _escape(text: str) -> str:
    escaped = html.escape(text, quote=False).replace("\n", " ")
    for character in "\\`*_[]":
        escaped = escaped.replace(character, "\\" + character)
    return escaped
