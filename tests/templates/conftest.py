"""Small data, a tiny model, and templates executed by plain papermill: no store, no engine."""

import os
import sys
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path; what tests share lies beside them.
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "ml")]
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from labelled_texts import WORDS, make_examples  # noqa: E402
from template_runs import ROOT, TRAINING, Execute, Executed  # noqa: E402
from tiny_bert import save_tiny_bert  # noqa: E402


@pytest.fixture(scope="session")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with labelled texts and a model to fine-tune."""
    folder = tmp_path_factory.mktemp("team")
    frame = make_examples(900)
    frame["author"] = [f"author {number % 60}" for number in range(900)]
    frame.to_csv(folder / "texts.csv", index=False)
    save_tiny_bert(folder / "tiny", words=WORDS)
    return folder


@pytest.fixture(scope="session")
def execute(team: Path) -> Execute:
    """Execute a template of this repository in `team`."""

    def run(name: str, *, to: str = "", **parameters: object) -> Executed:
        import papermill

        folder = team / (to or name)
        folder.mkdir()
        changed = {
            "NBPROD_WORKSPACE": str(team),
            "NBPROD_RUN_FOLDER": str(folder),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "OMP_NUM_THREADS": "1",  # so small a model waits more for threads than it computes
        }
        before = {key: os.environ.get(key) for key in changed}
        os.environ.update(changed)
        try:
            papermill.execute_notebook(
                str(ROOT / "templates" / f"{name}.ipynb"),
                str(folder / "executed.ipynb"),
                parameters={"data": "texts.csv", **parameters},
                kernel_name="python3",
                progress_bar=False,
                cwd=str(ROOT / "templates"),
            )
        finally:
            for key, value in before.items():
                os.environ.pop(key, None) if value is None else os.environ.update({key: value})
        return Executed(folder / "executed.ipynb", folder)

    return run


@pytest.fixture(scope="session")
def baseline(execute: Execute) -> Executed:
    return execute("baseline_text_classifier", train_rows=500)


@pytest.fixture(scope="session")
def finetuned(execute: Execute) -> Executed:
    return execute("finetune_text_classifier", **TRAINING)
