"""Notebooks to read, made from a few lines."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

#: (type, source) or (type, source, tags)
CellSpec = tuple[str, str] | tuple[str, str, list[str]]
MakeNotebook = Callable[..., Path]

FRONT_MATTER = """---
title: Count things
kind: explore
scraps:
  rows: {type: integer, required: true}
---"""
PARAMETERS = "rows: int = 3  # how many\nseed: int = 0  # of everything random"
GLUE = 'import nbprod\n\nnbprod.glue("rows", rows)'

#: A template without a finding, to which tests add one mistake.
GOOD: list[CellSpec] = [
    ("raw", FRONT_MATTER),
    ("markdown", "# Count things"),
    ("code", PARAMETERS, ["parameters"]),
    ("code", GLUE),
]


def notebook_json(cells: list[CellSpec], **changes: object) -> dict[str, object]:
    """Return a notebook of these cells, without outputs."""
    made = []
    for index, (kind, source, *tags) in enumerate(cells):
        cell: dict[str, object] = {
            "id": f"c{index}",
            "cell_type": kind,
            "source": source,
            "metadata": {"tags": tags[0]} if tags else {},
        }
        if kind == "code":
            cell |= {"outputs": [], "execution_count": None}
        made.append(cell)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook: dict[str, object] = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": kernel},
        "cells": made,
    }
    return notebook | changes


@pytest.fixture
def make_notebook(tmp_path: Path) -> MakeNotebook:
    """Write a notebook of the given cells into the test's folder, and return its path."""

    def make(cells: list[CellSpec], *, name: str = "count.ipynb", **changes: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(notebook_json(cells, **changes)), encoding="utf-8")
        return path

    return make


@pytest.fixture(autouse=True)
def _in_the_tests_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # errors name files relative to the current folder, as the person in it would
    monkeypatch.chdir(tmp_path)
