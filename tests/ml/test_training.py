"""What Trainer is handed: two learning rates, frozen parts, and a folder without pickles."""

import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainingArguments

from nbprod.core.digest import digest_folder
from nbprod.core.errors import ModelNotFoundError
from nbprod.ml import training
from nbprod.ml.predictors import open_predictor
from nbprod.ml.session import start

LABELS = ["animal", "food", "tool"]


def train(
    model: Path, examples: pd.DataFrame, folder: Path, *, told: list[dict[str, object]]
) -> Path:
    """Fine-tune as the template does, for one short epoch, and save."""
    start(seed=0)
    torch.set_num_threads(1)  # so small a model waits more for its threads than it computes
    network, tokenizer = training.load_with_new_head(str(model), LABELS)
    sets = [
        training.TokenisedTexts(part, tokenizer, labels=LABELS, max_length=32)
        for part in (examples.iloc[:200], examples.iloc[200:])
    ]
    groups = training.parameter_groups(
        network, encoder_rate=3e-3, head_rate=1e-2, weight_decay=0.01
    )
    trainer = Trainer(
        model=network,
        args=TrainingArguments(
            output_dir=str(folder / "checkpoints"),
            num_train_epochs=6,
            per_device_train_batch_size=32,
            train_sampling_strategy="group_by_length",
            use_cpu=True,
            eval_strategy="steps",
            eval_steps=15,
            save_strategy="steps",
            save_steps=15,
            logging_steps=6,
            load_best_model_at_end=True,
            metric_for_best_model="macro_f1",
            disable_tqdm=True,
            report_to="none",
        ),
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=sets[0],
        eval_dataset=sets[1],
        compute_metrics=training.scores,
        optimizers=(torch.optim.AdamW(groups, fused=True), None),
        callbacks=[
            training.CheckAtTheEnd(),
            training.ReportProgress(tell=lambda **fields: told.append(fields)),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    curve = training.learning_curve(trainer.state.log_history)
    curve.to_json(folder / "curve.json", orient="records")
    return training.save_classifier(
        folder / "model",
        trainer.model,
        tokenizer,
        labels=LABELS,
        max_length=32,
        facts={"pretrained": "tiny"},
        training_ids=examples["example_id"].iloc[:200],
    )


@pytest.fixture(scope="module")
def trained(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, object]]]:
    from labelled_texts import make_examples

    folder, told = tmp_path_factory.mktemp("trained"), list[dict[str, object]]()
    train(tiny_model, make_examples(300), folder, told=told)
    return folder, told


def test_the_folder_holds_nothing_that_can_execute_code(trained: tuple[Path, object]) -> None:
    names = sorted(path.name for path in (trained[0] / "model").iterdir())

    assert names == [
        "config.json",
        "model.safetensors",
        "nbprod.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "training_ids.npy",
    ]
    assert str(trained[0].parent) not in (trained[0] / "model" / "config.json").read_text()


def test_the_same_training_gives_the_same_bytes(
    trained: tuple[Path, object], tiny_model: Path, examples: pd.DataFrame, here: Path
) -> None:
    shutil.copytree(tiny_model, here / "elsewhere")

    again = train(here / "elsewhere", examples, here, told=[])

    assert digest_folder(again) == digest_folder(trained[0] / "model")


def test_the_saved_model_answers_as_it_learned(
    trained: tuple[Path, object], examples: pd.DataFrame, here: Path
) -> None:
    shutil.copytree(trained[0] / "model", here / "model")
    asked = examples.iloc[200:]

    predictor, _ = open_predictor("model")
    answers = predictor.probabilities(asked["text"].tolist())

    assert predictor.labels == tuple(LABELS)
    assert answers.sum(axis=1) == pytest.approx(1)
    right = [LABELS[column] for column in answers.argmax(axis=1)] == asked["label"].to_numpy()
    assert right.mean() > 0.7  # a third is chance
    alone = predictor.probabilities([asked["text"].iloc[3]])
    assert alone[0] == pytest.approx(answers[3], abs=1e-5)  # padding changes nothing


def test_whoever_watches_is_told_every_step(
    trained: tuple[Path, list[dict[str, object]]],
) -> None:
    told = trained[1]

    assert [fields["step"] for fields in told] == list(range(1, 43))
    assert {fields["steps"] for fields in told} == {42}
    assert set(told[-1]) == {
        "step",
        "steps",
        "epoch",
        "seconds",
        "loss",
        "eval_loss",
        "eval_accuracy",
        "eval_macro_f1",
    }


def test_the_learning_curve_has_a_row_for_every_check_and_the_last_step(
    trained: tuple[Path, object],
) -> None:
    curve = pd.read_json(trained[0] / "curve.json")

    checks = curve.dropna(subset=["macro_f1"])
    assert checks["step"].tolist() == [15, 30, 42]
    assert curve.dropna(subset=["loss"])["step"].tolist() == [6, 12, 18, 24, 30, 36, 42]
    assert training.best_check(curve)["macro_f1"] == checks["macro_f1"].max()


def test_encoder_and_head_learn_at_rates_of_their_own(tiny_model: Path, here: Path) -> None:
    network, _ = training.load_with_new_head(str(tiny_model), LABELS)
    names = {id(parameter): name for name, parameter in network.named_parameters()}

    groups = training.parameter_groups(network, encoder_rate=1e-4, head_rate=1e-2, weight_decay=0.1)

    by_rate = {
        (group["lr"], group["weight_decay"]): {names[id(one)] for one in group["params"]}
        for group in groups
    }
    assert by_rate[1e-2, 0.1] == {"bert.pooler.dense.weight", "classifier.weight"}
    assert by_rate[1e-2, 0.0] == {"bert.pooler.dense.bias", "classifier.bias"}
    assert all(name.endswith(("bias", "LayerNorm.weight")) for name in by_rate[1e-4, 0.0])
    assert sum(map(len, by_rate.values())) == len(names)


@pytest.mark.parametrize(("embeddings", "layers"), [(False, 0), (True, 0), (True, 1), (False, 2)])
def test_frozen_parts_do_not_learn(
    tiny_model: Path, here: Path, *, embeddings: bool, layers: int
) -> None:
    network, _ = training.load_with_new_head(str(tiny_model), LABELS)

    share = training.freeze(network, embeddings=embeddings, layers=layers)

    frozen = {name for name, one in network.named_parameters() if not one.requires_grad}
    expected = {
        name
        for name, _ in network.named_parameters()
        if (embeddings and name.startswith("bert.embeddings."))
        or any(name.startswith(f"bert.encoder.layer.{layer}.") for layer in range(layers))
    }
    assert frozen == expected
    assert math.isclose(share, 1.0) == (not expected)


def test_a_model_with_other_classes_gets_a_new_head(
    trained: tuple[Path, object], here: Path
) -> None:
    network, _ = training.load_with_new_head(str(trained[0] / "model"), ["x", "y"])

    assert network.config.id2label == {0: "x", 1: "y"}
    assert network.classifier.weight.shape == (2, 32)


def test_a_hub_model_without_a_network(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(ModelNotFoundError) as caught:
        training.load_with_new_head("some-team/some-model", LABELS)

    lines = str(caught.value).splitlines()
    assert lines[0] == "There is no model 'some-team/some-model'."
    assert lines[-1] == (
        "Name a folder with weights: nbprod run finetune_text_classifier -p model=FOLDER"
    )


def test_texts_longer_than_the_limit_are_cut(tiny_model: Path, here: Path) -> None:
    _, tokenizer = training.load_with_new_head(str(tiny_model), LABELS)
    rows = pd.DataFrame({"text": ["dog " * 40, "cat"], "label": ["animal", "food"]})

    tokenised = training.TokenisedTexts(rows, tokenizer, labels=LABELS, max_length=8)

    assert [len(tokenised[row]["input_ids"]) for row in range(len(tokenised))] == [8, 3]
    assert [tokenised[row]["labels"] for row in range(len(tokenised))] == [0, 1]
    assert training.token_counts(rows["text"], tokenizer).tolist() == [42, 3]


def test_the_curve_is_plain_json(trained: tuple[Path, object]) -> None:
    rows = json.loads((trained[0] / "curve.json").read_text())

    assert set(rows[0]) == {"step", "loss", "validation_loss", "accuracy", "macro_f1"}
