"""Outputs that we, not the kernel, put below a cell."""

import html
from collections.abc import Mapping
from typing import Any

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
