"""Notebooks are committed clean, and every template passes its own check."""

import json
from pathlib import Path

from nbprod.notebook.checks import check
from nbprod.notebook.template import load_template

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted([*(ROOT / "templates").glob("*.ipynb"), *(ROOT / "notebooks").glob("*.ipynb")])
TEMPLATES = sorted([*(ROOT / "templates").glob("*.ipynb"), *(ROOT / "templates").glob("*.py")])


def test_there_are_templates_and_worked_examples() -> None:
    expected = {
        "baseline_text_classifier",
        "evaluate_classifier",
        "explore_text",
        "finetune_text_classifier",
        "01_first_run",
        "02_sweep_and_compare",
    }

    assert sorted(expected - {path.stem for path in [*NOTEBOOKS, *TEMPLATES]}) == []


def test_no_notebook_is_committed_with_outputs() -> None:
    executed = [
        f"{path.name}: cell {number}"
        for path in NOTEBOOKS
        for number, cell in enumerate(json.loads(path.read_text())["cells"], start=1)
        if cell.get("outputs") or cell.get("execution_count")
    ]

    assert executed == []


def test_no_notebook_remembers_the_machine_it_was_written_on() -> None:
    noise = [
        f"{path.name}: {key}"
        for path in NOTEBOOKS
        for key in json.loads(path.read_text())["metadata"]
        if key not in {"kernelspec", "language_info", "nbprod", "jupytext"}
    ]

    assert noise == []


def test_every_template_passes_its_check() -> None:
    findings = {path.name: check(load_template(path)) for path in TEMPLATES}

    assert {name: list(found) for name, found in findings.items() if found} == {}


def test_templates_stay_readable() -> None:
    long = [
        f"{path.name}: {len(cells)} cells"
        for path in sorted((ROOT / "templates").glob("*.ipynb"))
        if len(cells := json.loads(path.read_text())["cells"]) > 25
    ]

    assert long == []
