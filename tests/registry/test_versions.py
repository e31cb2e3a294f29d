from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import model_files as make
import pytest

from nbprod.core.digest import digest_folder
from nbprod.core.errors import (
    ArtifactMissingError,
    ModelFolderError,
    ModelFormatError,
    ModelNameError,
    ModelReferenceError,
    UnknownModelError,
    UnknownVersionError,
)
from nbprod.core.models import ModelFile, ModelVersion, RegisteredModel
from nbprod.registry.registry import Registry
from nbprod.store.artifacts import Artifacts


def test_a_version_is_numbered_and_keeps_what_it_came_from(
    registry: Registry, tmp_path: Path
) -> None:
    folder = make.model_folder(tmp_path / "m")
    before = datetime.now(UTC)

    version = registry.register(
        "router",
        folder,
        run="20261121-215723-4f1c9a",
        lineage={"git_commit": "abc", "git_dirty": False},
        scraps={"macro_f1": 0.71},
        description="Which subject?",
        actor="ann",
        text="run 20261121-215723-4f1c9a of finetune",
    )

    assert version.created_at is not None
    assert abs((version.created_at - before).total_seconds()) < 60
    assert replace(version, created_at=None, files=()) == ModelVersion(
        name="router",
        version=1,
        digest=digest_folder(folder),
        files=(),
        run="20261121-215723-4f1c9a",
        lineage={"git_commit": "abc", "git_dirty": False},
        scraps={"macro_f1": 0.71},
        source="run 20261121-215723-4f1c9a of finetune",
        created_by="ann",
    )
    assert [file.path for file in version.files] == [
        "config.json",
        "model.safetensors",
        "tokenizer/vocab.txt",
    ]
    assert version.size_bytes == sum(
        path.stat().st_size for path in folder.rglob("*") if path.is_file()
    )
    assert registry.get("router@1") == version


def test_registering_identical_files_returns_the_version_that_has_them(
    registry: Registry, tmp_path: Path
) -> None:
    first = registry.register("router", make.model_folder(tmp_path / "a"), actor="ann")
    other = registry.register("router", make.model_folder(tmp_path / "b", 1), actor="ann")

    again = registry.register("router", make.model_folder(tmp_path / "c"), actor="bob")
    under_another_name = registry.register("rater", tmp_path / "c", actor="bob")

    assert (other.version, again, under_another_name.version) == (2, first, 1)
    assert [version.version for version in registry.versions("router")] == [2, 1]


def test_a_version_can_be_made_of_files_that_are_stored_already(
    local_registry: Registry, tmp_path: Path
) -> None:
    folder = make.model_folder(tmp_path / "m")
    stored = Artifacts(".nbprod/artifacts", root=tmp_path).put_folder(folder)

    version = local_registry.register("router", stored, run="r1", actor="ann")

    assert version.digest == digest_folder(folder)
    assert version.source == "run r1"
    assert digest_folder(local_registry.path("router@1")) == version.digest


def test_stored_files_are_judged_like_a_folder(local_registry: Registry, tmp_path: Path) -> None:
    folder = make.write(tmp_path / "m", {"model.pkl": make.torch_zip(), "config.json": "{}"})
    stored = Artifacts(".nbprod/artifacts", root=tmp_path).put_folder(folder)
    stored["../../out.json"] = replace(stored["config.json"], path="../../out.json")

    with pytest.raises(ModelFormatError) as caught:
        local_registry.register("router", stored, run="r1", actor="ann", text="run r1 of tune")

    assert str(caught.value) == (
        "The model of run r1 of tune cannot be taken in as a model.\n"
        "Only formats that cannot execute code may enter the registry:\n"
        "  ../../out.json: its path leads out of the model\n"
        "  model.pkl: it is a zip that holds a pickle (archive/data.pkl)\n"
        "Let the template save it in a format that may enter. What it left: nbprod runs show r1"
    )
    assert local_registry.list() == []


def test_a_file_that_is_not_stored_makes_no_version(local_registry: Registry) -> None:
    missing = {"config.json": ModelFile(path="config.json", sha256="0" * 64, size_bytes=2)}

    with pytest.raises(ArtifactMissingError):
        local_registry.register("router", missing, actor="ann")
    with pytest.raises(ModelFolderError):
        local_registry.register("router", {}, actor="ann")

    assert local_registry.list() == []


def test_a_refused_folder_leaves_nothing_behind(local_registry: Registry, tmp_path: Path) -> None:
    folder = make.write(tmp_path / "m", {"config.json": "{}", "model.bin": make.torch_zip()})

    with pytest.raises(ModelFormatError):
        local_registry.register("router", folder, actor="ann")
    with pytest.raises(ModelNameError):
        local_registry.register("../router", folder, actor="ann")

    assert local_registry.list() == []
    assert not (tmp_path / ".nbprod" / "artifacts").exists()


def test_a_file_that_turns_into_a_pickle_after_the_check_is_found_in_the_store(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make.model_folder(tmp_path / "m")
    put_file = Artifacts.put_file

    def swap_first(self: Artifacts, path: Path) -> tuple[str, int]:
        if path.name == "config.json":
            path.write_bytes(make.torch_zip())
        return put_file(self, path)

    monkeypatch.setattr(Artifacts, "put_file", swap_first)

    with pytest.raises(ModelFormatError) as caught:
        local_registry.register("router", folder, actor="ann")

    assert caught.value.refusals == (
        ("config.json", "it is a zip that holds a pickle (archive/data.pkl)"),
    )
    assert local_registry.list() == []


def test_declared_types_let_a_skops_file_in_and_stay_on_record(
    local_registry: Registry, tmp_path: Path
) -> None:
    node = make.node("mine.steps", "Cleaner", "ObjectNode")
    folder = make.write(tmp_path / "m", {"pipeline.skops": make.skops(node)})

    with pytest.raises(ModelFormatError):
        local_registry.register("router", folder, actor="ann")
    local_registry.register("router", folder, actor="ann", trusted=["mine.steps.Cleaner"])

    assert local_registry.get("router@1").created_by == "ann"


def test_names_are_listed_with_their_aliases_and_latest_description(
    registry: Registry, tmp_path: Path
) -> None:
    registry.register("b", make.model_folder(tmp_path / "1"), actor="ann", description="old")
    registry.register("a", tmp_path / "1", actor="ann")
    registry.register("b", make.model_folder(tmp_path / "2", 2), actor="ann", description="new")
    registry.promote("b", 2, expected=None, verdicts=(), actor="ann")
    registry.promote("b", 1, alias="challenger", expected=None, verdicts=(), actor="ann")

    listed = [replace(model, created_at=None) for model in registry.list()]

    assert listed == [
        RegisteredModel(name="a", last_version=1),
        RegisteredModel(
            name="b", description="new", last_version=2, aliases={"champion": 2, "challenger": 1}
        ),
    ]
    assert registry.get("b").version == 2
    assert registry.get("b@challenger").aliases == ("challenger",)


def test_what_does_not_exist_is_said_with_what_does(registry: Registry, tmp_path: Path) -> None:
    registry.register("router", make.model_folder(tmp_path / "1"), actor="ann")
    registry.register("router", make.model_folder(tmp_path / "2", 2), actor="ann")

    assert registry.find("router@champion") is None
    assert registry.find("rooter@1") is None
    with pytest.raises(UnknownModelError) as unknown_model:
        registry.get("rooter@champion")
    with pytest.raises(UnknownVersionError) as unknown_version:
        registry.get("router@3")
    with pytest.raises(UnknownVersionError) as unknown_alias:
        registry.path("registry:router@champion?")
    with pytest.raises(ModelReferenceError) as foreign:
        registry.get("models:/router/3")

    assert str(unknown_model.value) == (
        "No model named 'rooter' is registered here.\n"
        "Registered: router.\n"
        "Take one of those, or promote a run's model first: nbprod models list"
    )
    assert str(unknown_version.value) == (
        "router@3 does not exist.\n"
        "router has versions 1 to 2.\n"
        "See its versions and aliases: nbprod models show router"
    )
    assert str(unknown_alias.value).splitlines()[0] == "router@champion does not exist."
    assert str(foreign.value).splitlines()[1] == ("It is a model of an MLflow server, not of ours.")
    assert registry.versions("rooter") == []
    assert registry.history("rooter") == []
