"""A workspace whose job trains, judges, promotes and reports in seconds, with real evidence.

A model is a number, the share of its answers that are right; training writes it, evaluating
reads it back from the model's folder and answers 600 questions with it.
"""

from pathlib import Path

from tests.acceptance.conftest import Cli, make_workspace, write_notebook

SETTINGS = """
[models.router]
description = "Which of four ways should a message go?"
gates = [
  {scrap = "accuracy", min = 0.60},
  {scrap = "accuracy", not_worse_than = "champion", margin = 0.05, confidence = 0.95},
  {scrap = "accuracy", beats = "baseline", confidence = 0.95},
  {scrap = "latency_p95_ms", max = 150},
]
"""

TRAIN = """
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
"""

EVALUATE = """
from pathlib import Path

import numpy as np
import pandas as pd

import nbprod
from nbprod.core.digest import digest_folder

roles = {"candidate": model, "baseline": baseline, "champion": champion}
roles = {role: Path(path) for role, path in roles.items() if path}
ids = np.arange(600)
truth = ids % 4
labels = np.random.default_rng(0).permutation(truth) if shuffle else truth
frames = []
for role, path in roles.items():
    quality = float(np.load(path / "weights.npy")[0])
    right = (ids * 37) % 100 < quality * 100
    predicted = np.where(right, truth, (truth + 1) % 4)
    frames.append(pd.DataFrame({
        "example_id": ids.astype(str), "role": role, "label": labels.astype(str),
        "predicted": predicted.astype(str), "score": 0.9,
    }))
    prefix = "" if role == "candidate" else f"{role}_"
    nbprod.glue(f"{prefix}accuracy", float((predicted == labels).mean()))
rounds = range(40)
latency = pd.DataFrame(
    [(n, role, 4.0 + n / 10) for n in rounds for role in roles],
    columns=["round", "role", "milliseconds"],
)
mine = latency[latency["role"] == "candidate"]["milliseconds"]
nbprod.glue("latency_p95_ms", float(mine.quantile(0.95)))
nbprod.glue("latency", latency)
nbprod.glue("predictions", pd.concat(frames, ignore_index=True))
nbprod.glue("models", {
    role: {"digest": digest_folder(path), "path": str(path)} for role, path in roles.items()
})
nbprod.glue("fingerprints", {role: "f" * 64 for role in roles})
"""

JOB = """\
job: router
description: Train and judge.
steps:
  - {{id: base, run: train, parameters: {{quality: 0.5}}}}
  - {{id: tune, run: train, parameters: {{quality: {quality}}}}}
  - id: evaluate
    run: evaluate
    parameters:
      model: "${{tune.model}}"
      baseline: "${{base.model}}"
      champion: "registry:router@champion?"
      shuffle: {shuffle}
  - {{promote: router, from: tune, evidence: evaluate}}
  - {{report: true}}
"""
#: The same without evidence: enough to see that the model is the champion already.
SHORT_JOB = """\
job: router
steps:
  - {{id: tune, run: train, parameters: {{quality: {quality}}}}}
  - {{promote: router, from: tune}}
"""


def make_router(folder: Path) -> Cli:
    """Make the workspace; its job is written by `write_job`."""
    team = make_workspace(folder, settings=SETTINGS)
    templates = folder / "templates"
    write_notebook(
        templates / "train.ipynb",
        TRAIN,
        parameters="quality: float = 0.9",
        front_matter="""
            title: Train
            kind: finetune
            scraps:
              quality: {type: number, range: [0, 1]}
              model: {type: model, required: true}
        """,
    )
    write_notebook(
        templates / "evaluate.ipynb",
        EVALUATE,
        parameters="""
            model: str = ""
            baseline: str | None = None
            champion: str | None = None
            shuffle: bool = False  # labels at random: nothing may pass
        """,
        front_matter="""
            title: Evaluate
            kind: evaluate
            scraps:
              accuracy: {type: number, range: [0, 1], higher_is_better: true, required: true}
              predictions: {type: frame, required: true}
        """,
    )
    return team


def write_job(team: Cli, *, quality: float, shuffle: bool = False, is_short: bool = False) -> None:
    """Let the job train a model of that quality."""
    text = (SHORT_JOB if is_short else JOB).format(quality=quality, shuffle=str(shuffle).lower())
    (team.folder / "scheduler" / "router.yaml").write_text(text)
