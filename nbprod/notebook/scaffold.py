"""Begin a new template from a starter that runs as it is, one for each kind."""

import os
import re
from importlib.resources import files
from pathlib import Path

from nbprod.core.errors.notebook import ScaffoldError, suggest
from nbprod.notebook.front_matter import Kind

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*")


def new_template(name: str, *, kind: str, folder: Path) -> Path:
    """Write the starter of `kind` to `folder/name.ipynb`, and return that path.

    Starters are kept as percent scripts, which a diff can show; people get a notebook.

    Raises:
        ScaffoldError: the name is none, the kind is unknown, or there is such a template already.
    """
    if not _NAME.fullmatch(name):
        raise ScaffoldError(
            f"A template cannot be named {name!r}.",
            "A name is letters, digits, _ and -, with / between folders; it becomes a file's name.",
            f"For example: nbprod templates new {_proposed(name)} --kind {kind}",
        )
    kinds = [one.value for one in Kind]
    if kind not in kinds:
        raise ScaffoldError(
            f"There is no kind of template {kind!r}.{suggest(kind, kinds)}",
            f"Kinds: {', '.join(kinds)}.",
            f"For example: nbprod templates new {name} --kind {Kind.EXPLORE.value}",
        )
    path = folder / f"{name}.ipynb"
    taken = next((one for one in (path, path.with_suffix(".py")) if one.exists()), None)
    if taken is not None:
        raise _exists(taken, name)
    text = _notebook(starter(Kind(kind)).replace("{{title}}", _title(name)))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # "x": two people may choose the same name at the same moment.
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise _exists(path, name) from error
    return path


def starter(kind: Kind) -> str:
    """Return the percent script that a new template of this kind begins as."""
    return files("nbprod.notebook").joinpath("starters", f"{kind.value}.percent").read_text("utf-8")


def _notebook(script: str) -> str:
    """Return the script as the text of a notebook, without a trace of how it was made."""
    import jupytext
    import nbformat

    from nbprod.notebook.document import whole_notebook

    cells = jupytext.reads(script, fmt="py:percent").cells
    for cell in cells:
        cell.pop("id", None)  # drawn at random by jupytext
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    raw = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}
    text: str = nbformat.writes(whole_notebook(raw))
    return text + "\n"


def _title(name: str) -> str:
    words = name.rpartition("/")[2].replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:]


def _proposed(name: str) -> str:
    stem = name.removesuffix(".ipynb").removesuffix(".py")
    return re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_") or "my_template"


def _exists(path: Path, name: str) -> ScaffoldError:
    return ScaffoldError(
        f"There is already a template at {os.path.relpath(path)}.",
        "A template that exists is never overwritten.",
        f"Look at it, or choose another name: nbprod templates show {name}",
    )
