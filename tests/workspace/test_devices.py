"""Two runs never share a GPU by accident. The inventory is declared: no device is needed."""

import json
import threading
from pathlib import Path

import nbformat
import pytest

import nbprod
from nbprod.core.errors import GpusBusyError
from nbprod.workspace import RunRecord, Workspace
from nbprod.workspace import lineage as lineages

TWO = json.dumps(
    [
        {"uuid": "GPU-aaaa", "name": "NVIDIA H100", "memory_bytes": 85 * 10**9},
        {"uuid": "GPU-bbbb", "name": "NVIDIA H100", "memory_bytes": 85 * 10**9},
    ]
)
SEES = (
    "import os, time\nimport nbprod\nnbprod.glue('visible', os.environ['CUDA_VISIBLE_DEVICES'])\n"
)


def write(folder: Path, name: str, front_matter: str, code: str) -> None:
    notebook = nbformat.v4.new_notebook()
    if front_matter:
        notebook.cells.append(nbformat.v4.new_raw_cell(f"---\n{front_matter}\n---"))
    notebook.cells.append(nbformat.v4.new_code_cell(code))
    nbformat.write(notebook, folder / "templates" / f"{name}.ipynb")


@pytest.fixture
def ws(workspace_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("NBPROD_GPU_INVENTORY", TWO)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    write(workspace_folder, "wants", "kind: finetune\nresources: {gpus: {prefer: 1}}", SEES)
    write(workspace_folder, "needs", "kind: finetune\nresources: {gpus: 2}", SEES)
    write(workspace_folder, "none", "kind: explore", SEES)
    write(workspace_folder, "plain", "", SEES)
    waits = "while not nbprod.path('go').exists():\n    time.sleep(0.05)\n"
    write(workspace_folder, "holds", "kind: finetune\nresources: {gpus: 1}", SEES + waits)
    return nbprod.open(workspace_folder)


def test_a_run_sees_the_gpus_it_leased_and_gives_them_back(ws: Workspace) -> None:
    seen = {name: ws.run(name) for name in ("wants", "needs", "none", "plain")}

    assert {name: run.scraps["visible"] for name, run in seen.items()} == {
        "wants": "GPU-aaaa",
        "needs": "GPU-aaaa,GPU-bbbb",
        "none": "",
        "plain": "GPU-aaaa",
    }
    assert ws.record(seen["wants"].id).lineage.devices == ("NVIDIA H100 (GPU-aaaa)",)


def test_two_runs_never_share_a_gpu(ws: Workspace, workspace_folder: Path) -> None:
    held: list[RunRecord] = []
    is_holding = threading.Event()
    holder = threading.Thread(
        target=lambda: held.append(
            ws.run(
                "holds", progress=lambda event: is_holding.set() if "scrap" in event.type else None
            )
        )
    )
    holder.start()
    assert is_holding.wait(60)

    other = ws.run("wants")
    with pytest.raises(GpusBusyError) as raised:
        ws.run("needs")
    (workspace_folder / "go").touch()
    holder.join(60)

    assert held[0].scraps["visible"] == "GPU-aaaa"
    assert other.scraps["visible"] == "GPU-bbbb"
    refused = ws.runs(template="needs")[0]
    assert (refused.status, refused.reason) == ("failed", str(raised.value))
    assert str(raised.value) == (
        f"The run needs 2 GPUs; 1 GPU free on {lineages.host()}.\n"
        f"2 GPUs in all; held by run {held[0].id}.\n"
        "Wait for the holder to end, or ask for less under `resources` in the template's "
        "front matter. See who runs: nbprod runs list --status running"
    )
