"""Outputs that were cut are the run's artifacts, whole."""

from hashlib import sha256
from pathlib import Path

import nbprod

FLOOD = """\
# %% [raw]
# ---
# title: Talks a lot
# outputs: {max_count: 10}
# ---

# %%
print("x" * 5_000)
for number in range(20):
    display(number)
"""


def test_what_is_cut_is_stored_by_digest(workspace_folder: Path) -> None:
    (workspace_folder / "templates" / "flood.py").write_text(FLOOD)
    settings = workspace_folder / "nbprod.toml"
    settings.write_text(settings.read_text() + '[runs]\noutputs = {max_bytes = "1KB"}\n')
    ws = nbprod.open(workspace_folder)

    run = ws.run("flood")

    text = "x" * 5_000 + "\n"
    stored = {path: (digest, size) for path, digest, size in ws.store.runs.artifacts(run.id)}
    assert sorted(stored) == ["outputs/cell-2-more.jsonl", "outputs/cell-2-stdout.txt"]
    assert stored["outputs/cell-2-stdout.txt"] == (sha256(text.encode()).hexdigest(), len(text))
    lines = (run.folder / "outputs/cell-2-more.jsonl").read_text().splitlines()
    assert len(lines) == 11  # the text counts as one
