"""A template after its execution by plain papermill: what it left and what it shows."""

from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: A fine-tune that learns something from 500 rows and a BERT of two layers.
TRAINING = {
    "model": "tiny",
    "train_rows": 500,
    "epochs": 6,
    "learning_rate": 3e-3,
    "head_learning_rate": 1e-2,
    "freeze_embeddings": False,
    "patience": 50,
    "keep_checkpoints": True,
}
Execute = Callable[..., "Executed"]


class Executed:
    """A template after its execution, and the folder it wrote to."""

    def __init__(self, path: Path, folder: Path) -> None:
        import nbformat

        self.path = path
        self.folder = folder
        self.notebook = nbformat.read(path, as_version=4)

    @property
    def scraps(self) -> Mapping[str, object]:
        """Return the scraps as scrapbook reads them: the format is the one that others use."""
        import scrapbook

        return dict(scrapbook.read_notebook(str(self.path)).scraps.data_dict)

    @property
    def streams(self) -> list[str]:
        """Return what was written to stderr."""
        return [
            output.text
            for cell in self.notebook.cells
            for output in cell.get("outputs", [])
            if output.output_type == "stream" and output.name == "stderr"
        ]

    @property
    def pictures(self) -> int:
        """Return how many plots are shown."""
        return sum(
            "image/png" in output.get("data", {})
            for cell in self.notebook.cells
            for output in cell.get("outputs", [])
        )
