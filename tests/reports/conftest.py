import contextlib
from collections.abc import Callable
from pathlib import Path

import nbformat
import papermill
import pytest

NOTEBOOK = """
# # Fine-tune a text classifier
#
# Can a computer file a short description under the right subject?
# This notebook teaches a small language model to do it, and says how well it learned.
# %%
alpha = 0.1
# %%
import sys, warnings
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display

print("loading", end="\\r"); print("3,000 descriptions read")
print("a warning nobody wants", file=sys.stderr)
warnings.warn("deprecated thing")
# %% [markdown]
# ## What the data looks like
#
# Most subjects are small; a few hold **half** of everything. The balance matters because
# a model that always answers with the largest subject would look better than it is.
# %%
figure, axes = plt.subplots(figsize=(8, 3))
subjects = {"artifact": 900, "person": 700, "act": 500, "animal": 400, "plant": 300}
axes.bar(subjects.keys(), subjects.values(), color="#2f5d8a")
axes.set_ylabel("descriptions")
axes.spines[["top", "right"]].set_visible(False)
plt.show()
# %%
rows = [("artifact", 0.81, 0.84), ("person", 0.78, 0.75), ("act", 0.69, 0.66)]
pd.DataFrame(rows, columns=["subject", "precision", "recall"])
# %%
axes.set_title("only a value")
# %% [markdown]
# ## Learning
#
# The loss falls and then settles.
# %%
display({"application/vnd.nbprod.progress+json": {"step": 1, "steps": 10}}, raw=True)
payload = {"name": "macro_f1", "data": 0.7, "encoder": "json", "version": 1}
head = {"scrapbook": {"name": "macro_f1", "data": True, "display": False}}
display({"application/scrapbook.scrap.json+json": payload}, raw=True, metadata=head)
steps = np.arange(100)
figure, axes = plt.subplots(figsize=(8, 3))
axes.plot(steps, np.exp(-steps / 30) + .2, color="#b3372f")
axes.set_xlabel("step"); axes.set_ylabel("loss")
plt.show()
"""

FAILING = """
# %% [markdown]
# ## Confusion matrix
# %%
raise ValueError(f"only {alpha:.0%} of the rows have a label")
# %% [markdown]
# ## Calibration
# %%
print("never reached")
"""


def notebook_from(text: str) -> nbformat.NotebookNode:
    """Make a notebook of percent text; the first code cell holds the parameters."""
    cells = []
    for part in ("# %% [markdown]" + text).split("# %%")[1:]:
        head, _, source = part.partition("\n")
        if "[markdown]" in head:
            lines = [line.removeprefix("#").removeprefix(" ") for line in source.splitlines()]
            cells.append(nbformat.v4.new_markdown_cell("\n".join(lines).strip()))
        else:
            cells.append(nbformat.v4.new_code_cell(source.strip()))
    first = next(cell for cell in cells if cell.cell_type == "code")
    first.metadata["tags"] = ["parameters"]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=kernel)


@pytest.fixture(scope="session")
def execute(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Execute percent text through papermill and return the executed notebook's path."""

    def executed(text: str, **parameters: object) -> Path:
        folder = tmp_path_factory.mktemp("executed")
        nbformat.write(notebook_from(text), folder / "template.ipynb")
        with contextlib.suppress(papermill.PapermillExecutionError):
            papermill.execute_notebook(
                folder / "template.ipynb",
                folder / "executed.ipynb",
                parameters=parameters,
                progress_bar=False,
                cwd=folder,
            )
        return folder / "executed.ipynb"

    return executed


@pytest.fixture(scope="session")
def succeeded(execute: Callable[..., Path]) -> Path:
    return execute(NOTEBOOK, alpha=0.2)


@pytest.fixture(scope="session")
def failed(execute: Callable[..., Path]) -> Path:
    return execute(NOTEBOOK + FAILING)
