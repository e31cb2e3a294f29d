"""What a promotion may rest on, and what comes of it. Runs are real; models are small folders."""

import json
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

import nbprod
from nbprod.core.errors import (
    ArtifactDamagedError,
    ModelFormatError,
    ModelTamperedError,
    NoModelScrapError,
    RunNotSucceededError,
    SidecarDamagedError,
)
from nbprod.core.evidence import hash_id
from nbprod.core.verdicts import Verdict
from nbprod.workspace import Decision, RunRecord, Workspace

SETTINGS = """
[workspace]
name = "team"

[models.router]
description = "Which way should a message go?"
gates = [{scrap = "accuracy", min = 0.60}]
"""

#: A model is a number: the share of its answers that are right.
TRAIN = """
import numpy as np

import nbprod
from nbprod.core.evidence import hash_id

for name in names:
    folder = nbprod.output(name)
    folder.mkdir(parents=True)
    np.save(folder / "weights.npy", np.array([quality]))
    ids = np.array([hash_id(str(n)) for n in learned], dtype=np.uint64)
    np.save(folder / "training_ids.npy", ids)
    (folder / "nbprod.json").write_text('{"kind": "test"}')
    nbprod.glue(name, folder)
"""

EVALUATE = """
from pathlib import Path

import numpy as np
import pandas as pd

import nbprod
from nbprod.core.digest import digest_folder

quality = float(np.load(Path(model) / "weights.npy")[0])
ids = np.arange(5000)
label = ids % 4
predicted = np.where(ids % 100 < quality * 100, label, (label + 1) % 4)
nbprod.glue("accuracy", float((predicted == label).mean()))
nbprod.glue("predictions", pd.DataFrame({
    "example_id": ids.astype(str), "role": "candidate", "label": label.astype(str),
    "predicted": predicted.astype(str), "score": np.linspace(0.1, 0.9, len(ids)),
}))
nbprod.glue("models", {"candidate": {"digest": digest_folder(Path(model)), "path": model}})
nbprod.glue("fingerprints", {"candidate": "f" * 64})
if fails:
    raise ValueError("the power went")
"""


@dataclass
class Team:
    """A workspace, and the runs that a test asks for."""

    ws: Workspace

    def train(
        self, *, quality: float = 0.9, learned: tuple[int, ...] = (), names: tuple[str, ...] = ()
    ) -> RunRecord:
        return self._run(
            "train", quality=quality, learned=list(learned), names=list(names or ("model",))
        )

    def evaluate(self, candidate: RunRecord, *, fails: bool = False) -> RunRecord:
        return self._run("evaluate", model=str(candidate.scraps["model"]), fails=fails)

    def _run(self, template: str, **parameters: Any) -> RunRecord:
        return self.ws.run(template, parameters=parameters)

    def promote(self, **how: Any) -> Decision:
        return self.ws.promote("router", **how)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A workspace with a trained model and its evaluation, to be copied: the ids of both runs."""
    root = tmp_path_factory.mktemp("promotion") / "team"
    (root / "templates").mkdir(parents=True)
    (root / "nbprod.toml").write_text(SETTINGS)
    _write(
        root / "templates" / "train.ipynb",
        TRAIN,
        'quality: float = 0.9\nlearned: list[int] = []\nnames: list[str] = ["model"]',
    )
    _write(root / "templates" / "evaluate.ipynb", EVALUATE, 'model: str = ""\nfails: bool = False')
    team = Team(nbprod.open(root))
    trained = team.train()
    evaluated = team.evaluate(trained)
    assert (trained.status, evaluated.status) == ("succeeded", "succeeded")
    return root, trained.id, evaluated.id


@pytest.fixture
def team(judged: tuple[Path, str, str], tmp_path: Path) -> Team:
    shutil.copytree(judged[0], tmp_path / "team")
    return Team(nbprod.open(tmp_path / "team"))


@pytest.fixture
def candidate(team: Team, judged: tuple[Path, str, str]) -> RunRecord:
    return team.ws.record(judged[1])


@pytest.fixture
def evidence(team: Team, judged: tuple[Path, str, str]) -> RunRecord:
    return team.ws.record(judged[2])


def _write(path: Path, code: str, parameters: str) -> None:
    cells = [
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(code.strip()),
    ]
    path.write_text(json.dumps(nbformat.v4.new_notebook(cells=cells)))


def overwrite(path: Path, change: Callable[[Path], object]) -> None:
    path.chmod(0o644)
    change(path)


def reasons(decision: Decision) -> list[tuple[str, str]]:
    return [(str(verdict.outcome), verdict.reason) for verdict in decision.verdicts]


def test_a_run_that_failed_is_no_evidence(team: Team, candidate: RunRecord) -> None:
    failed = team.evaluate(candidate, fails=True)
    assert set(failed.scraps) >= {"predictions", "models", "fingerprints", "accuracy"}

    with pytest.raises(RunNotSucceededError) as caught:
        team.promote(run=candidate.id, evidence=failed.id)

    assert str(caught.value) == (
        f"No promotion can rest on run {failed.id} of evaluate: it is failed.\n"
        "Cell 3 raised ValueError: the power went. What it left may be half of what it would have "
        "left.\n"
        f"See what happened, then run it again: nbprod runs show {failed.id}"
    )
    with pytest.raises(RunNotSucceededError):
        team.promote(run=failed.id)
    assert team.ws.registry.versions("router") == []


def test_edited_predictions_decide_nothing(
    team: Team, candidate: RunRecord, evidence: RunRecord
) -> None:
    frame = evidence.scraps["predictions"]
    sidecar = evidence.scrap("predictions").sidecar
    assert sidecar is not None
    path = evidence.folder / sidecar.path
    overwrite(path, lambda file: frame.assign(predicted=frame["label"]).to_parquet(file))

    with pytest.raises(SidecarDamagedError, match=r"predictions\.parquet was changed"):
        team.promote(run=candidate.id)

    assert team.ws.registry.versions("router") == []


@pytest.mark.parametrize("folder_is", ["edited", "deleted"])
def test_what_a_model_learned_from_is_read_as_it_was_stored(team: Team, folder_is: str) -> None:
    crammer = team.train(learned=(1, 2, 3))
    team.evaluate(crammer)
    folder = crammer.folder / "scraps" / "model"
    if folder_is == "deleted":
        shutil.rmtree(folder)
    else:
        nothing = np.array([], dtype=np.uint64)
        overwrite(folder / "training_ids.npy", lambda file: np.save(file, nothing))

    decision = team.promote(run=crammer.id)

    assert decision.movement == "blocked"
    assert reasons(decision) == [
        (
            "unknown",
            "The candidate was trained on 3 of the evaluation rows: its score on them says "
            "nothing about rows it has not seen.",
        )
    ]


def test_a_training_record_that_rotted_on_the_disk_is_not_believed(
    team: Team, candidate: RunRecord
) -> None:
    sidecar = candidate.scrap("model").sidecar
    assert sidecar is not None
    sha256 = sidecar.files["training_ids.npy"]
    stored = team.ws.root / ".nbprod" / "artifacts" / sha256[:2] / sha256
    stored.unlink()
    np.save(stored.with_suffix(".npy"), np.array([hash_id("9")], dtype=np.uint64))
    stored.with_suffix(".npy").rename(stored)

    with pytest.raises(ArtifactDamagedError):
        team.promote(run=candidate.id)


def test_a_training_record_in_another_form_is_no_record(team: Team, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    np.save(folder / "weights.npy", np.array([0.9]))
    np.save(folder / "training_ids.npy", np.array(["1", "2"]))
    entry = team.ws.models.register("router", folder)
    run = team.ws.run("evaluate", parameters={"model": str(folder)})
    assert run.status == "succeeded"

    decision = team.promote(version=entry.version)

    assert reasons(decision) == [
        (
            "unknown",
            "The candidate left no record of the rows it was trained on (training_ids.npy in its "
            "folder), so it may have seen the evaluation rows.",
        )
    ]


def test_a_dry_run_writes_nothing(team: Team, candidate: RunRecord, evidence: RunRecord) -> None:
    version = team.ws.models.register("router", candidate.folder / "scraps" / "model").version
    before = _state(team.ws.root)

    by_run = team.promote(run=candidate.id, dry_run=True)
    by_version = team.promote(version=version, dry_run=True)

    assert (by_run.movement, by_run.version) == ("would promote", None)
    assert (by_version.movement, by_version.version) == ("would promote", version)
    assert by_run.verdicts == by_version.verdicts
    assert _state(team.ws.root) == before


def _state(root: Path) -> tuple[list[str], list[Path]]:
    """Return every row of the database, and every other file of the workspace."""
    database = root / ".nbprod" / "store.db"
    with sqlite3.connect(database) as connection:
        rows = list(connection.iterdump())
    files = [path for path in root.rglob("*") if not path.name.startswith("store.db")]
    return rows, sorted(files)


def test_a_version_that_cannot_be_loaded_does_not_become_champion(
    team: Team, candidate: RunRecord
) -> None:
    sidecar = candidate.scrap("model").sidecar
    assert sidecar is not None
    sha256 = sidecar.files["weights.npy"]
    stored = team.ws.root / ".nbprod" / "artifacts" / sha256[:2] / sha256
    content = stored.read_bytes()
    stored.unlink()
    stored.write_bytes(content[:-8] + b"\0" * 8)

    with pytest.raises(ModelTamperedError, match=r"weights\.npy was changed"):
        team.promote(run=candidate.id)

    assert team.ws.registry.find("router@champion") is None
    assert team.ws.registry.history("router") == []


def test_a_job_does_not_bring_back_what_was_rolled_back(team: Team, candidate: RunRecord) -> None:
    other = team.train(quality=0.8)
    team.evaluate(other)
    team.promote(run=other.id)
    team.promote(run=candidate.id)
    team.ws.registry.rollback("router", actor="ann", reason="it files parcels as letters")
    when = team.ws.registry.history("router")[0].at

    again = team.promote(run=candidate.id)

    assert (again.movement, again.version, again.former) == ("blocked", 2, 1)
    assert [(str(verdict.outcome), verdict.gate) for verdict in again.verdicts] == [
        ("passed", "accuracy at least 0.6"),
        ("failed", "not rolled back before"),
    ]
    assert again.verdicts[-1].reason == (
        f"This is version 2, byte for byte, and ann rolled it back on {when:%Y-%m-%d}: it files "
        "parcels as letters. If it shall serve again, say so: nbprod models promote router 2"
    )
    assert team.ws.registry.get("router@champion").version == 1

    by_hand = team.promote(version=2)

    assert (by_hand.movement, by_hand.version) == ("promoted", 2)
    assert team.promote(run=candidate.id).movement == "unchanged"


def test_a_run_with_several_models_is_asked_which(team: Team) -> None:
    two = team.train(names=("large", "small"))

    with pytest.raises(NoModelScrapError) as caught:
        team.promote(run=two.id)

    assert str(caught.value) == (
        f"Run {two.id} of train left 2 models; which one is meant?\n"
        "They are the scraps large, small; none is named 'model'.\n"
        "Glue the one to promote as 'model' in the template, then see the run: "
        f"nbprod runs show {two.id}"
    )


def test_a_run_without_a_model_is_refused(team: Team, evidence: RunRecord) -> None:
    with pytest.raises(NoModelScrapError) as caught:
        team.promote(run=evidence.id)

    assert str(caught.value) == (
        f"Run {evidence.id} of evaluate left no model to register.\n"
        "Its scraps are: accuracy, fingerprints, models, predictions; none is a model.\n"
        "Glue the model's folder in the template, then see the run: "
        f"nbprod runs show {evidence.id}"
    )


def test_an_override_is_told_from_a_promotion_that_needed_none(
    team: Team, candidate: RunRecord
) -> None:
    worse = team.train(quality=0.3)
    team.evaluate(worse)

    needless = team.promote(run=candidate.id, override=True, reason="to be sure")
    needed = team.promote(run=worse.id, override=True, reason="the old one is offensive")

    assert (needless.movement, needed.movement) == ("promoted", "overridden")
    late, early = team.ws.registry.history("router")
    assert (early.is_override, early.reason) == (False, "to be sure")
    assert (late.is_override, late.reason) == (True, "the old one is offensive")
    assert _plain(team.ws.registry.verdicts(late.id)) == _plain(needed.verdicts)


def _plain(verdicts: tuple[Verdict, ...]) -> list[Verdict]:
    return [replace(verdict, numbers=dict(verdict.numbers)) for verdict in verdicts]


def test_a_folder_is_registered_with_what_nbprod_toml_says_of_it(
    team: Team, tmp_path: Path
) -> None:
    folder = tmp_path / "made elsewhere"
    folder.mkdir()
    schema = {"__class__": "Router", "__module__": "ours", "__loader__": "ObjectNode"}
    with zipfile.ZipFile(folder / "model.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    with pytest.raises(ModelFormatError, match=r"it builds ours\.Router, which nobody declared"):
        team.ws.models.register("router", folder)
    settings = team.ws.root / "nbprod.toml"
    settings.write_text(settings.read_text() + 'trusted = ["ours.Router"]\n')
    ws = nbprod.open(team.ws.root)

    entry = ws.models.register("router", str(folder))

    (model,) = ws.registry.list()
    assert (entry.created_by, entry.aliases, entry.source) == (ws.actor, (), str(folder))
    assert model.description == "Which way should a message go?"
