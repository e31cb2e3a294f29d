import os
import shutil
from collections.abc import Callable
from pathlib import Path

import model_files as make
import pytest

from nbprod.core.digest import digest_folder
from nbprod.core.errors import ModelTamperedError
from nbprod.registry.registry import Registry


@pytest.fixture
def folder(local_registry: Registry, tmp_path: Path) -> Path:
    """The materialised folder of router version 2, which is champion after version 1."""
    for seed in range(2):
        local_registry.register("router", make.model_folder(tmp_path / str(seed), seed), actor="a")
    local_registry.promote("router", 1, expected=None, verdicts=(), actor="a")
    local_registry.promote("router", 2, expected=1, verdicts=(), actor="a")
    return local_registry.path("router@champion")


def edit(path: Path, content: str) -> None:
    path.chmod(0o644)
    path.write_text(content)


def originals(tmp_path: Path) -> dict[str, Path]:
    return {path.name: path for path in (tmp_path / ".nbprod/artifacts").rglob("?" * 64)}


def test_a_version_is_a_folder_of_read_only_files(
    folder: Path, local_registry: Registry, tmp_path: Path
) -> None:
    assert folder == tmp_path / ".nbprod/models/router/2"
    assert digest_folder(folder) == local_registry.get("router@2").digest
    assert {oct(path.stat().st_mode & 0o777) for path in folder.rglob("*") if path.is_file()} == {
        "0o444"
    }
    assert [path.name for path in folder.parent.iterdir()] == ["2"]
    assert local_registry.path("router@2") == local_registry.verify("router@2") == folder


def test_editing_the_folder_does_not_touch_the_original(
    folder: Path, local_registry: Registry
) -> None:
    edit(folder / "config.json", "{}")

    with pytest.raises(ModelTamperedError) as caught:
        local_registry.path("router@2")

    assert caught.value.is_original_intact


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "edited": (
        lambda folder: edit(folder / "config.json", "{}"),
        "config.json was changed: its sha256 is 44136fa355b3…, registered was DIGEST…",
    ),
    "missing": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "added": (lambda folder: (folder / "notes.py").write_text(""), "notes.py was added"),
    "replaced": (
        lambda folder: (
            (folder / "config.json").unlink(),
            (folder / "config.json").symlink_to("/etc/hostname"),
        ),
        "config.json was replaced by a link",
    ),
    "replaced by a pipe": (
        lambda folder: ((folder / "config.json").unlink(), os.mkfifo(folder / "config.json")),
        "config.json was replaced by a link",
    ),
    "a folder linked in": (
        lambda folder: (folder / "more").symlink_to("/etc"),
        "more was added",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_that_was_edited_by_hand_is_not_loaded_and_the_file_is_named(
    change: str, folder: Path, local_registry: Registry
) -> None:
    do, problem = CHANGES[change]
    (registered,) = [
        file.sha256 for file in local_registry.get("router@2").files if file.path == "config.json"
    ]
    do(folder)

    with pytest.raises(ModelTamperedError) as caught:
        local_registry.path("router@champion")

    assert str(caught.value) == (
        "router version 2 is not what was registered; it was not loaded.\n"
        f"In {folder}:\n"
        f"  {problem.replace('DIGEST', registered[:12])}\n"
        "The original is intact in the artifact store. "
        "Put it back: nbprod models verify router@2 --repair"
    )
    assert local_registry.repair("router@2") == folder
    assert digest_folder(local_registry.path("router@2")) == local_registry.get("router@2").digest


def test_without_an_intact_original_the_way_out_is_the_version_before(
    folder: Path, local_registry: Registry, tmp_path: Path
) -> None:
    edit(folder / "config.json", "{}")
    (sha256,) = [
        file.sha256 for file in local_registry.get("router@2").files if file.path == "config.json"
    ]
    originals(tmp_path)[sha256].unlink()

    with pytest.raises(ModelTamperedError) as caught:
        local_registry.path("router@2")
    with pytest.raises(ModelTamperedError):
        local_registry.repair("router@2")

    assert str(caught.value).splitlines()[-1] == (
        "No intact copy is left in the artifact store. Restore it from a backup, "
        "or serve the version before: nbprod models rollback router"
    )
    local_registry.rollback("router", actor="a", reason="damaged")
    assert local_registry.path("router@champion").name == "1"


def test_a_damaged_original_is_found_when_the_folder_is_made(
    folder: Path, local_registry: Registry, tmp_path: Path
) -> None:
    (sha256,) = [
        file.sha256
        for file in local_registry.get("router@2").files
        if file.path == "model.safetensors"
    ]
    path = originals(tmp_path)[sha256]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    with pytest.raises(ModelTamperedError):  # the folder is as it was, its original is not
        local_registry.verify("router@2")
    shutil.rmtree(folder)

    with pytest.raises(ModelTamperedError) as caught:
        local_registry.path("router@2")

    assert str(caught.value) == (
        "router version 2 is not what was registered; it was not loaded.\n"
        "In the artifact store:\n"
        "  model.safetensors was changed\n"
        "No intact copy is left in the artifact store. Restore it from a backup, "
        "or serve the version before: nbprod models rollback router"
    )
    assert list(folder.parent.iterdir()) == []


def test_a_missing_original_is_put_back_from_an_intact_folder(
    folder: Path, local_registry: Registry, tmp_path: Path
) -> None:
    for path in originals(tmp_path).values():
        path.unlink()

    local_registry.repair("router@2")

    assert local_registry.verify("router@2") == folder


def test_what_a_dead_process_left_is_removed_after_a_day(
    folder: Path, local_registry: Registry
) -> None:
    old, young = folder.parent / ".new-old", folder.parent / ".new-young"
    for leftover in (old, young):
        leftover.mkdir()
        (leftover / "config.json").write_text("{")
    os.utime(old, (0, 0))

    local_registry.path("router@1")

    assert sorted(path.name for path in folder.parent.iterdir()) == [".new-young", "1", "2"]


def test_files_of_a_remote_artifact_store_are_fetched(tmp_path: Path) -> None:
    from nbprod.store.artifacts import Artifacts
    from nbprod.store.store import Store

    with Store.open("sqlite:///store.db", root=tmp_path) as store:
        artifacts = Artifacts(f"memory://{tmp_path.name}", root=tmp_path)
        registry = Registry(store, artifacts, tmp_path / "models")
        registry.register("router", make.model_folder(tmp_path / "m"), actor="ann")

        path = registry.verify("router@1")

    assert digest_folder(path) == digest_folder(tmp_path / "m")
