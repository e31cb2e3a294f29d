"""A workspace, small labelled texts, and a transformer small enough to train in a test."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest

# Not through MPLBACKEND: kernels that other tests start would inherit it, and show no figure.
mpl.use("agg")

# pytest's importlib mode puts no test folder on the path; what tests share lies beside them.
sys.path.insert(0, str(Path(__file__).parent))
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from labelled_texts import WORDS, make_examples
from tiny_bert import save_tiny_bert


@pytest.fixture
def examples() -> pd.DataFrame:
    return make_examples(300)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace to resolve relative paths against, which is also the current folder."""
    monkeypatch.setenv("NBPROD_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("NBPROD_RUN_FOLDER", str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(here: Path) -> Callable[[str, str | bytes], str]:
    """Write a file in the workspace and return its name."""

    def write_file(name: str, content: str | bytes) -> str:
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return write_file


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers, untrained, with a tokenizer that knows the words of the texts."""
    return save_tiny_bert(tmp_path_factory.mktemp("tiny"), words=WORDS)
