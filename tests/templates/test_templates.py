"""The four templates do what they promise, under plain papermill and in a row."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import papermill
import pytest
import yaml
from template_runs import ROOT, TRAINING, Execute, Executed

from nbprod.core.digest import digest_folder
from nbprod.core.evidence import hash_id

#: Scraps that only an evaluation with a champion leaves.
OF_A_CHAMPION = {"champion_accuracy", "champion_macro_f1", "champion_latency_p95_ms"}


def declared(name: str) -> dict[str, dict[str, object]]:
    """Return the scraps that a template's front matter declares."""
    cells = json.loads((ROOT / "templates" / f"{name}.ipynb").read_text())["cells"]
    matter = yaml.safe_load("".join(cells[0]["source"]).strip().strip("-"))
    scraps: dict[str, dict[str, object]] = matter["scraps"]
    return scraps


@pytest.fixture(scope="session")
def explored(execute: Execute) -> Executed:
    return execute("explore_text", check_rows=300)


@pytest.fixture(scope="session")
def evaluated(execute: Execute, baseline: Executed, finetuned: Executed) -> Executed:
    return execute(
        "evaluate_classifier",
        model=str(finetuned.folder / "scraps" / "model"),
        baseline=str(baseline.folder / "scraps" / "model"),
        champion=str(baseline.folder / "scraps" / "model"),
        latency_rounds=20,
    )


@pytest.fixture(params=["explored", "baseline", "finetuned", "evaluated"])
def executed(request: pytest.FixtureRequest) -> Executed:
    value: Executed = request.getfixturevalue(request.param)
    return value


def test_each_leaves_exactly_the_scraps_it_declares(executed: Executed) -> None:
    name = executed.folder.name

    assert set(executed.scraps) == set(declared(name))


def test_numbers_lie_in_their_declared_ranges(executed: Executed) -> None:
    outside = {}
    for name, contract in declared(executed.folder.name).items():
        value = executed.scraps[name]
        low, high = contract.get("range", (None, None))
        if (low is not None and value < low) or (high is not None and value > high):
            outside[name] = value

    assert outside == {}


def test_no_library_complains_in_the_executed_notebook(executed: Executed) -> None:
    assert executed.streams == []


def test_plots_are_shown(executed: Executed) -> None:
    expected = {
        "explore_text": 2,
        "baseline_text_classifier": 1,
        "finetune_text_classifier": 2,
        "evaluate_classifier": 6,
    }

    assert executed.pictures == expected[executed.folder.name]


def test_the_exploration_counts_what_is_there(explored: Executed) -> None:
    scraps = explored.scraps

    assert (scraps["rows"], scraps["classes"], scraps["empty_texts"]) == (900, 3, 0)
    assert list(scraps["doubts"].columns) == ["example_id", "text", "label", "suggested", "doubt"]


def test_training_learns_and_says_what_it_began_as(finetuned: Executed, team: Path) -> None:
    assert finetuned.scraps["macro_f1"] > 0.6  # a third is chance
    card = json.loads((finetuned.folder / "scraps" / "model" / "nbprod.json").read_text())
    assert card["pretrained"] == f"sha256:{digest_folder(team / 'tiny')}"
    assert card["labels"] == ["animal", "food", "tool"]


def test_both_models_learned_from_the_same_rows(baseline: Executed, finetuned: Executed) -> None:
    one, other = (
        np.load(executed.folder / "scraps" / "model" / "training_ids.npy", allow_pickle=False)
        for executed in (baseline, finetuned)
    )

    assert len(one) == 500
    assert np.array_equal(one, other)


def test_the_evaluation_leaves_evidence_that_gates_can_join(
    evaluated: Executed, baseline: Executed, finetuned: Executed
) -> None:
    scraps = evaluated.scraps

    predictions = scraps["predictions"]
    assert list(predictions.columns) == [
        "example_id",
        "role",
        "label",
        "predicted",
        "score",
        "label_score",
        "length",
    ]
    rows = {role: set(part["example_id"]) for role, part in predictions.groupby("role")}
    assert rows["candidate"] == rows["baseline"] == rows["champion"]
    assert len(rows["candidate"]) == scraps["test_rows"]
    folders = {
        role: executed.folder / "scraps" / "model"
        for role, executed in (("candidate", finetuned), ("baseline", baseline))
    }
    assert {role: scraps["models"][role] for role in folders} == {
        role: {"digest": digest_folder(folder), "path": str(folder)}
        for role, folder in folders.items()
    }
    assert len(set(scraps["fingerprints"].values())) == 1
    assert scraps["latency"].groupby("role").size().to_dict() == {
        "baseline": 20,
        "candidate": 20,
        "champion": 20,
    }


def test_no_test_row_was_learned_from(evaluated: Executed, finetuned: Executed) -> None:
    learned = np.load(
        finetuned.folder / "scraps" / "model" / "training_ids.npy", allow_pickle=False
    )
    asked = {hash_id(example) for example in evaluated.scraps["predictions"]["example_id"]}

    assert not asked & set(learned.tolist())


def test_a_first_evaluation_needs_no_champion_and_groups_reach_its_evidence(
    execute: Execute, baseline: Executed
) -> None:
    executed = execute(
        "evaluate_classifier",
        to="first",
        model=str(baseline.folder / "scraps" / "model"),
        baseline=str(baseline.folder / "scraps" / "model"),
        group_column="author",
        split_by="grouped",
        latency_rounds=10,
    )

    predictions = executed.scraps["predictions"]
    assert set(executed.scraps) == set(declared("evaluate_classifier")) - OF_A_CHAMPION
    assert predictions["group"].str.startswith("author").all()
    assert predictions["group"].nunique() < 30


def test_an_interrupted_training_is_resumed_from_its_checkpoint(
    execute: Execute, finetuned: Executed
) -> None:
    checkpoints = finetuned.folder / "scraps" / "checkpoints"
    newest = max(checkpoints.iterdir(), key=lambda folder: int(folder.name.rpartition("-")[2]))

    resumed = execute(
        "finetune_text_classifier",
        to="resumed",
        resume_from=str(newest),
        **(TRAINING | {"epochs": 7, "keep_checkpoints": False}),
    )

    curve = pd.DataFrame(resumed.scraps["learning_curve"])
    assert newest.name == "checkpoint-96"
    assert curve.dropna(subset=["macro_f1"])["step"].tolist()[-4:] == [96, 102, 108, 112]
    assert sorted(path.name for path in (resumed.folder / "scraps").iterdir()) == ["model"]


def test_a_missing_file_fails_with_the_way_on(execute: Execute) -> None:
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        execute("explore_text", to="missing", data="text.csv")

    assert caught.value.ename == "DataNotFoundError"
    assert caught.value.evalue.splitlines()[0] == "There is no data at 'text.csv'."


def test_a_raw_registry_reference_is_refused(execute: Execute) -> None:
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        execute("evaluate_classifier", to="raw", model="registry:subject-router@champion")

    assert caught.value.ename == "UnresolvedReferenceError"
    assert caught.value.evalue.endswith("nbprod models path subject-router@champion")
