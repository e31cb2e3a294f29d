"""The notebooks that every contender executes, and what they must have put out.

A case prints and does nothing else that a script could not do, so that `python script.py` can be
held to the same text; what a run with scraps costs is measured by the load.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Lines of 100 characters, so that an output looks like a log and not like one endless line.
LINE = 100
MB = 1_000_000

HEAVY = """\
import pandas as pd
import torch
from transformers import Trainer, TrainingArguments
"""
HEAVY_USE = """\
frame = pd.DataFrame({"x": range(5)})
print(int(frame.x.sum()), torch.arange(5).sum().item(), Trainer.__name__)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One notebook. What its cells print is known beforehand."""

    name: str
    title: str  #: as the table and the chart have it
    cells: tuple[str, ...]
    printed: tuple[str, ...]  #: by cell
    kernel: str = "python3"

    def write(self, folder: Path) -> Path:
        """Write the notebook, and the same code as a script beside it; return the notebook."""
        notebook = folder / f"{self.name}.ipynb"
        notebook.write_text(json.dumps(notebook_of(self.cells, kernel=self.kernel), indent=1))
        notebook.with_suffix(".py").write_text("\n".join(self.cells))
        return notebook


def notebook_of(
    cells: Sequence[str], *, front_matter: str = "", kernel: str = "python3"
) -> dict[str, Any]:
    """Return an unexecuted notebook of code cells, after a raw cell where there is front matter."""
    code = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(cells)
    ]
    first = {"cell_type": "raw", "id": "front", "metadata": {}, "source": front_matter}
    return {
        "cells": [first, *code] if front_matter else code,
        "metadata": {
            "kernelspec": {"name": kernel, "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def text_of(size: int, *, mark: str) -> str:
    """Return `size` bytes of numbered lines; the same ones that `printing` makes a cell print."""
    return "".join(_lines(size, mark))


def printing(size: int, *, mark: str) -> str:
    """Return the source of a cell that prints `text_of(size, mark=mark)` at once."""
    count = size // LINE
    width = LINE - 1
    return (
        f'print("".join(f"{{n:07d}} {mark}".ljust({width}, ".") + "\\n" '
        f'for n in range({count})), end="")'
    )


def _lines(size: int, mark: str) -> Iterator[str]:
    for number in range(size // LINE):
        yield f"{number:07d} {mark}".ljust(LINE - 1, ".") + "\n"


def _counting(count: int) -> dict[str, tuple[str, ...]]:
    return {
        "cells": tuple(f"value = {number}\nprint(value)" for number in range(count)),
        "printed": tuple(f"{number}\n" for number in range(count)),
    }


def _writing(count: int, size: int) -> dict[str, tuple[str, ...]]:
    marks = [f"cell {number}" for number in range(count)]
    return {
        "cells": tuple(printing(size, mark=mark) for mark in marks),
        "printed": tuple(text_of(size, mark=mark) for mark in marks),
    }


def cases() -> Mapping[str, Case]:
    """Return the notebooks of the README's table by name, in its order."""
    found = [
        Case(name="empty", title="empty", cells=("pass",), printed=("",)),
        Case(name="cells20", title="20 cells", **_counting(20)),
        Case(name="cells200", title="200 cells", **_counting(200)),
        Case(
            name="heavy",
            title="torch, transformers, pandas",
            cells=(HEAVY, HEAVY_USE),
            printed=("", "10 10 Trainer\n"),
        ),
        Case(name="outputs", title="100 x 200 KB", **_writing(100, MB // 5)),
        Case(name="large", title="one output of 50 MB", **_writing(1, 50 * MB)),
    ]
    return {case.name: case for case in found}


def quick_cases() -> Mapping[str, Case]:
    """Return small ones of the same kinds, for the test of the program itself."""
    found = [
        Case(name="empty", title="empty", cells=("pass",), printed=("",)),
        Case(name="outputs", title="5 x 200 KB", **_writing(5, MB // 5)),
    ]
    return {case.name: case for case in found}


def printed_in(notebook: Path) -> tuple[str, ...]:
    """Return what each code cell of an executed notebook printed, streams joined.

    Raises:
        ValueError: a cell holds something else than text on stdout.
    """
    content = json.loads(notebook.read_text())
    return tuple(
        _printed(cell["outputs"]) for cell in content["cells"] if cell["cell_type"] == "code"
    )


def _printed(outputs: Sequence[Mapping[str, Any]]) -> str:
    pieces = []
    for output in outputs:
        if output["output_type"] != "stream" or output["name"] != "stdout":
            raise ValueError(f"An output that no cell asked for: {json.dumps(output)[:500]}")
        text = output["text"]
        pieces.append(text if isinstance(text, str) else "".join(text))
    return "".join(pieces)


def difference(case: Case, printed: Sequence[str]) -> str:
    """Say how `printed` differs from what the case prints; "" where it does not."""
    if len(printed) != len(case.printed):
        return f"{len(printed)} cells instead of {len(case.printed)}"
    for number, (got, expected) in enumerate(zip(printed, case.printed, strict=True)):
        if got != expected:
            return (
                f"cell {number + 1} printed {len(got):,} characters instead of "
                f"{len(expected):,}: {got[:60]!r}"
            )
    return ""
