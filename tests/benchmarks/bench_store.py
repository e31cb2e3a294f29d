"""Measure the store: 10,000 runs with 10 scraps each, against reading their notebooks.

    .venv/bin/python tests/benchmarks/bench_store.py

`scrapbook.read_notebooks` reads 500 notebooks that say the same as 500 of the runs; its time is
extrapolated to all of them, which leaves out what 10,000 open notebooks need in memory. Rounds
are interleaved and medians taken, so that a busy machine slows both sides.
"""

import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import nbformat
import pandas as pd
import sqlalchemy as sa
from nbformat.v4 import new_code_cell, new_notebook, new_output

sys.path[:0] = [str(Path(__file__).parent)]

from figures import Figure, machine, table  # noqa: E402

from nbprod.core.runs import Lineage, Run  # noqa: E402
from nbprod.core.scraps import SCRAP_METADATA, SCRAP_MIME_PREFIX, Scrap, ScrapType  # noqa: E402
from nbprod.store import tables as t  # noqa: E402
from nbprod.store.frames import frame  # noqa: E402
from nbprod.store.rows import run_columns, scrap_columns  # noqa: E402
from nbprod.store.store import Store  # noqa: E402

RUNS = 10_000
SCRAPS = 10
NOTEBOOKS = 500
ROUNDS = 5


def main() -> dict[str, float]:
    """Print the table; return `list_seconds`, `frame_seconds`, `notebooks_seconds`, `ratio`."""
    found = measure()
    print(f"{table(as_figures(found))}\n\n{machine()}")
    return found


def figures() -> list[Figure]:
    """Return what `make bench-main` shows."""
    return as_figures(measure())


def as_figures(found: dict[str, float]) -> list[Figure]:
    """Return the measured seconds as figures of the README."""
    return [
        Figure(
            name="`runs list`, the latest 50 of 10,000 runs",
            ratio=f"{found['frame_seconds'] / found['list_seconds']:.0f} x faster than all",
            measured=f"{found['list_seconds'] * 1000:.1f} ms",
            goal="under 50 ms",
            holds=found["list_seconds"] < 0.05,
        ),
        Figure(
            name="`frame()` of 10,000 runs with 10 scraps each",
            ratio=f"{found['ratio']:.0f} x faster than `scrapbook.read_notebooks`",
            measured=(
                f"{found['frame_seconds']:.2f} s; scrapbook {found['notebooks_seconds']:.0f} s "
                f"(extrapolated from {NOTEBOOKS})"
            ),
            goal="under 2 s, at least 100 x faster",
            holds=found["frame_seconds"] < 2 and found["ratio"] >= 100,
        ),
    ]


def measure() -> dict[str, float]:
    """Fill a store and a folder with the same runs; time the three ways of reading them."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        values = [[random.Random(n).random() + k for k in range(SCRAPS)] for n in range(RUNS)]
        write_notebooks(folder / "notebooks", values[:NOTEBOOKS])
        with Store.open("sqlite:///store.db", root=folder) as store:
            fill(store, values)
            agree(frame(store), read_notebooks(folder / "notebooks"))  # and imports everything
            listing, framing, reading = [], [], []
            for _ in range(ROUNDS):
                listing.append(seconds(lambda: store.runs.list(limit=50)))
                framing.append(seconds(lambda: frame(store)))
                reading.append(seconds(lambda: read_notebooks(folder / "notebooks")))
    notebooks = statistics.median(reading) * RUNS / NOTEBOOKS
    return {
        "list_seconds": statistics.median(listing),
        "frame_seconds": statistics.median(framing),
        "notebooks_seconds": notebooks,
        "ratio": notebooks / statistics.median(framing),
    }


def seconds(action: Callable[[], object]) -> float:
    """Return how long `action` takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def fill(store: Store, values: list[list[float]]) -> None:
    """Write the runs as `finish` would have, in one transaction."""
    lineage = Lineage(template_digest="a" * 64, host="box", python="3.11.7")
    runs, scraps = [], []
    for number, row in enumerate(values):
        run = Run(
            id=f"20261121-{number:06d}-aaaaaa",
            template="train",
            parameters={"epochs": number % 7, "learning_rate": 3e-4, "data": "texts.csv"},
            lineage=lineage,
        )
        at = 1.79e9 + number
        runs.append(
            run_columns(run)
            | {"status": "succeeded", "created_at": at, "started_at": at, "finished_at": at + 9}
        )
        scraps += [
            scrap_columns(
                run.id,
                Scrap(name=f"metric_{k}", encoder="json", type=ScrapType.NUMBER, value=value),
            )
            for k, value in enumerate(row)
        ]
    with store.write() as connection:
        connection.execute(sa.insert(t.runs), runs)
        connection.execute(sa.insert(t.scraps), scraps)


def write_notebooks(folder: Path, values: list[list[float]]) -> None:
    """Write executed notebooks that hold the same scraps, and nothing else."""
    folder.mkdir()
    for number, row in enumerate(values):
        outputs = [glued(f"metric_{k}", value) for k, value in enumerate(row)]
        cell = new_code_cell("train()", execution_count=1, outputs=outputs)
        notebook = new_notebook(cells=[cell], metadata={"papermill": {"parameters": {}}})
        nbformat.write(notebook, folder / f"run-{number:06d}.ipynb")


def glued(name: str, value: float) -> nbformat.NotebookNode:
    """Return the output that `scrapbook.glue` leaves."""
    payload = {"name": name, "data": value, "encoder": "json", "version": 1}
    metadata = {SCRAP_METADATA: {"name": name, "data": True, "display": False}}
    data = {f"{SCRAP_MIME_PREFIX}json+json": payload}
    return new_output("display_data", data=data, metadata=metadata)


def read_notebooks(folder: Path) -> pd.DataFrame:
    """Read every notebook's scraps as scrapbook does, into a row each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scrapbook's import uses pkg_resources and more
        import scrapbook

        book = scrapbook.read_notebooks(str(folder))
    return pd.DataFrame(
        {
            name: {key: scrap.data for key, scrap in scraps.items()}
            for name, scraps in book.notebook_scraps.items()
        }
    ).T


def agree(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Fail unless both ways found the same numbers."""
    metrics = [f"metric_{k}" for k in range(SCRAPS)]
    left = ours.sort_values("id")[metrics].head(NOTEBOOKS).to_numpy()
    right = theirs.sort_index()[metrics].astype("float64").to_numpy()
    if left.shape != right.shape or (left != right).any():
        raise AssertionError("the store and the notebooks disagree")


if __name__ == "__main__":
    main()
