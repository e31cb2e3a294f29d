"""A workspace with three small templates: one looks, one trains, one evaluates. All really run."""

import json
import textwrap
from pathlib import Path
from typing import Any

import nbformat
import pytest

from nbprod.workspace import Workspace

SETTINGS = """
[workspace]
name = "team"

[runs]
lease_seconds = 2.0

[models.router]
gates = [
  {scrap = "accuracy", min = 0.60},
  {scrap = "accuracy", beats = "baseline", confidence = 0.95},
]
"""

LOOK = [
    """
    ---
    title: Look at the rows
    scraps:
      rows: {type: integer, unit: rows}
      names: {type: json}
      sample: {type: frame}
    ---
    """,
    "count: int = 3  # rows to make\nfail: bool = False\nseconds: float = 0.0",
    """
    import time

    import pandas as pd

    import nbprod

    time.sleep(seconds)
    if fail:
        raise ValueError(f"{count} rows are not enough")
    nbprod.glue("rows", count)
    nbprod.glue("names", ["a", "b"])
    nbprod.glue("sample", pd.DataFrame({"x": [1, 2]}))
    """,
]

TRAIN = [
    """
    ---
    title: Train
    kind: finetune
    scraps:
      quality: {type: number, range: [0, 1]}
      model: {type: model, required: true}
    ---
    """,
    "quality: float = 0.9\nnote: str = ''\nrows: int = 1",
    """
    import json

    import numpy as np

    import nbprod

    folder = nbprod.output("model")
    folder.mkdir(parents=True)
    np.save(folder / "weights.npy", np.array([quality]))
    np.save(folder / "training_ids.npy", np.array([], dtype=np.uint64))
    (folder / "nbprod.json").write_text(json.dumps({"kind": "test", "labels": ["a", "b"]}))
    nbprod.glue("quality", quality)
    nbprod.glue("model", folder)
    """,
]

EVALUATE = [
    """
    ---
    title: Evaluate
    kind: evaluate
    scraps:
      accuracy: {type: number, range: [0, 1], higher_is_better: true, required: true}
      baseline_accuracy: {type: number}
      champion_accuracy: {type: number}
      predictions: {type: frame, required: true}
      models: {type: json}
      fingerprints: {type: json}
    report: {title: Is it better?}
    ---
    """,
    "model: str = ''\nbaseline: str | None = None\nchampion: str | None = None",
    """
    from pathlib import Path

    import numpy as np
    import pandas as pd

    import nbprod
    from nbprod.core.digest import digest_folder

    roles = {"candidate": model, "baseline": baseline, "champion": champion}
    roles = {role: Path(path) for role, path in roles.items() if path}
    frames = []
    for role, path in roles.items():
        quality = float(np.load(path / "weights.npy")[0])
        ids = np.arange(600)
        label = ids % 4
        right = (ids * 37) % 100 < quality * 100
        predicted = np.where(right, label, (label + 1) % 4)
        frames.append(pd.DataFrame({
            "example_id": ids.astype(str), "role": role, "label": label.astype(str),
            "predicted": predicted.astype(str), "score": 0.9,
        }))
        prefix = "" if role == "candidate" else f"{role}_"
        nbprod.glue(f"{prefix}accuracy", float(right.mean()))
    nbprod.glue("predictions", pd.concat(frames, ignore_index=True))
    nbprod.glue("models", {
        role: {"digest": digest_folder(path), "path": str(path)} for role, path in roles.items()
    })
    nbprod.glue("fingerprints", {role: "f" * 64 for role in roles})
    """,
]

JOB = """\
job: router
description: Train and judge.
steps:
  - {id: look, run: look, parameters: {count: 5}}
  - {id: base, run: train, parameters: {quality: 0.5}}
  - id: tune
    run: train
    parameters: {quality: 0.9, rows: "${look.rows}", note: "${look.rows} rows, run ${job.number}"}
  - id: evaluate
    run: evaluate
    parameters:
      model: "${tune.model}"
      baseline: "${base.model}"
      champion: "registry:router@champion?"
  - {promote: router, from: tune, evidence: evaluate}
  - {report: true}
"""


def template(folder: Path, name: str, cells: list[str]) -> None:
    """Write a notebook of front matter, parameters and code."""
    front_matter, parameters, *rest = (textwrap.dedent(cell).strip() for cell in cells)
    made: list[Any] = [
        nbformat.v4.new_raw_cell(front_matter),
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *(nbformat.v4.new_code_cell(cell) for cell in rest),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=made, metadata=kernel)
    (folder / f"{name}.ipynb").write_text(json.dumps(notebook))


def make_workspace(root: Path) -> Workspace:
    for name in ("templates", "notebooks", "scheduler"):
        (root / name).mkdir(parents=True)
    (root / "nbprod.toml").write_text(SETTINGS)
    template(root / "templates", "look", LOOK)
    template(root / "templates", "train", TRAIN)
    template(root / "templates", "evaluate", EVALUATE)
    (root / "scheduler" / "router.yaml").write_text(JOB)
    return Workspace(root)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    made = make_workspace(tmp_path / "team")
    monkeypatch.chdir(made.root)
    return made
