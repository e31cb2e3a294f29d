import json
import os
import subprocess
import sys
from pathlib import Path

import model_files as make
import pytest

from nbprod.core.digest import digest_file
from nbprod.core.errors import ExportFolderError, ModelFormatError, ModelTamperedError
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.registry.export import export
from nbprod.registry.registry import Registry

BLOCKING = Verdict(
    gate="macro_f1 at least 0.55", outcome=Outcome.FAILED, reason="macro_f1 is 0.41.",
    numbers={"estimate": 0.41},
)  # fmt: skip


@pytest.fixture
def router(local_registry: Registry, tmp_path: Path) -> Registry:
    """A registry with one version that was refused, then promoted all the same."""
    local_registry.register(
        "router", make.model_folder(tmp_path / "m"), actor="ann", lineage={"git_commit": "abc"},
        scraps={"macro_f1": 0.41}, run="r1",
    )  # fmt: skip
    local_registry.refuse("router", 1, verdicts=(BLOCKING,), actor="ann")
    local_registry.promote(
        "router", 1, expected=None, verdicts=(BLOCKING,), actor="bob", is_override=True,
        reason="there is no other",
    )  # fmt: skip
    return local_registry


def test_an_export_is_plain_files_that_sha256sum_checks(router: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "router"

    entry = export(router, "router@champion", folder)

    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "config.json", "lineage.json", "model.safetensors", "tokenizer/vocab.txt", "verdicts.json",
    ]  # fmt: skip
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.partition(": ")[0] for line in done.stdout.splitlines()} == {
        "config.json", "lineage.json", "model.safetensors", "tokenizer/vocab.txt", "verdicts.json",
    }  # fmt: skip
    assert {file.path: digest_file(folder / file.path) for file in entry.files} == {
        file.path: file.sha256 for file in entry.files
    }
    assert os.access(folder / "config.json", os.W_OK)
    assert [path.name for path in folder.parent.iterdir()] == ["router"]


def test_an_export_says_where_the_model_came_from_and_what_the_gates_said(
    router: Registry, tmp_path: Path
) -> None:
    entry = export(router, "router@1", tmp_path / "out")

    lineage = json.loads((tmp_path / "out" / "lineage.json").read_text())
    decisions = json.loads((tmp_path / "out" / "verdicts.json").read_text())

    assert entry.created_at is not None
    assert lineage == {
        "name": "router",
        "version": 1,
        "digest": entry.digest,
        "files": ["config.json", "model.safetensors", "tokenizer/vocab.txt"],
        "run": "r1",
        "lineage": {"git_commit": "abc"},
        "scraps": {"macro_f1": 0.41},
        "source": f"folder {tmp_path / 'm'}",
        "created_at": entry.created_at.isoformat(),
        "created_by": "ann",
        "aliases": ["champion"],
    }
    assert [
        (decision["action"], decision["is_override"], decision["reason"], decision["actor"])
        for decision in decisions
    ] == [("promote", True, "there is no other", "bob"), ("refuse", False, "", "ann")]
    assert decisions[0]["verdicts"] == [
        {
            "gate": "macro_f1 at least 0.55",
            "outcome": "failed",
            "reason": "macro_f1 is 0.41.",
            "method": "",
            "numbers": {"estimate": 0.41},
        }
    ]


def test_an_export_overwrites_nothing(router: Registry, tmp_path: Path) -> None:
    folder = make.write(tmp_path / "out", {"mine.txt": "mine"})
    (tmp_path / "file").write_text("mine")

    with pytest.raises(ExportFolderError) as caught:
        export(router, "router", folder)
    with pytest.raises(ExportFolderError, match="A file of that name is there already"):
        export(router, "router", tmp_path / "file")
    (tmp_path / "empty").mkdir()
    export(router, "router", tmp_path / "empty")

    assert str(caught.value) == (
        f"router@1 was not exported to {folder}.\n"
        "It is not empty, and nothing is overwritten.\n"
        f"Name a folder that does not exist yet: nbprod export router@1 {folder}-2"
    )
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    assert (tmp_path / "empty" / "SHA256SUMS").exists()


def test_a_damaged_version_is_not_exported(router: Registry, tmp_path: Path) -> None:
    path = router.path("router") / "config.json"
    path.chmod(0o644)
    path.write_text("{}")

    with pytest.raises(ModelTamperedError):
        export(router, "router", tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_an_exported_folder_comes_back_as_the_version_it_was(
    router: Registry, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    export(router, "router", folder)
    with pytest.raises(ModelFormatError) as caught:
        router.register("router", folder, actor="ann")
    _, commands = str(caught.value).split("take the copy:\n")

    subprocess.run(["bash", "-e"], input=commands, text=True, check=True)

    again = router.register("router", tmp_path / "out-safe", actor="ann")
    assert again == router.get("router@1")


LOAD = """
import sys
from importlib.metadata import distributions
from transformers import AutoModelForSequenceClassification, AutoTokenizer
assert "nbprod" not in sys.modules
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], local_files_only=True)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], local_files_only=True)
assert "nbprod" not in sys.modules
print(model.config.hidden_size, tokenizer("a b")["input_ids"])
"""


def test_from_pretrained_reads_an_export_without_nbprod(
    local_registry: Registry, tmp_path: Path
) -> None:
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n")
    config = BertConfig(
        vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(tmp_path / "m")
    BertTokenizerFast(vocab=str(vocabulary)).save_pretrained(tmp_path / "m")
    local_registry.register("bert", tmp_path / "m", actor="ann")
    export(local_registry, "bert@1", tmp_path / "out")

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, str(tmp_path / "out")],
        cwd="/", capture_output=True, text=True, check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "8 [2, 5, 6, 3]\n"), done.stderr
