"""The Python API, as a person uses it in a notebook or a script."""

import json
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest

import nbprod
from nbprod.core.errors import InvalidParameterError, ModelTamperedError, UnknownParameterError
from nbprod.core.runs import RunStatus
from nbprod.workspace import RunList, RunRecord, Workspace

POWER = """
import numpy as np
import pandas as pd

import nbprod

nbprod.glue("power", base**exponent)
nbprod.glue("table", pd.DataFrame({"n": [1, 2], "square": [1, 4]}))
nbprod.glue("many", np.arange(20_000.0))
if base > 100:
    raise ValueError("too much")
"""


def write(path: Path, *cells: str, parameters: str) -> None:
    made: list[Any] = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
    tagged = {"tags": ["parameters"]}
    made.insert(0, nbformat.v4.new_code_cell(parameters, metadata=tagged))
    path.write_text(json.dumps(nbformat.v4.new_notebook(cells=made)))


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("api") / "team"
    (root / "templates").mkdir(parents=True)
    (root / "nbprod.toml").write_text('[workspace]\nname = "team"\n')
    write(root / "templates" / "power.ipynb", POWER, parameters="base: int = 2\nexponent: int = 3")
    return nbprod.open(root)


@pytest.fixture(scope="module")
def run(ws: Workspace) -> RunRecord:
    return ws.run("power", parameters={"exponent": 5})


@pytest.fixture(scope="module")
def sweep(ws: Workspace, run: RunRecord) -> RunList:
    return ws.sweep("power", over={"exponent": [1, 2]}, parameters={"base": 3})


def test_a_run_is_its_status_scraps_and_files(ws: Workspace, run: RunRecord) -> None:
    assert run.status is RunStatus.SUCCEEDED
    assert run.status == "succeeded"
    assert run.scraps["power"] == 32
    assert run.parameters == {"base": 2, "exponent": 5}
    assert run.error is None
    assert run.seconds is not None
    assert run.seconds > 0
    assert run.notebook.is_file()
    assert "cell 2: ok" in run.log.read_text()
    assert repr(run) == f"<run {run.id}: power succeeded>"
    assert repr(run.scraps) == "<scraps: many, power, table>"


def test_scraps_come_back_as_what_they_were(run: RunRecord) -> None:
    table, many = run.scraps["table"], run.scraps["many"]

    assert isinstance(table, pd.DataFrame)
    pd.testing.assert_frame_equal(table, pd.DataFrame({"n": [1, 2], "square": [1, 4]}))
    assert isinstance(many, np.ndarray)
    np.testing.assert_array_equal(many, np.arange(20_000.0))
    assert run.scrap("many").sidecar is not None  # 160 KB do not belong into a notebook
    with pytest.raises(KeyError, match="'nothing'"):
        run.scraps["nothing"]


def test_a_sweep_is_a_run_for_each_combination(sweep: RunList) -> None:
    frame = sweep.frame()

    assert len(sweep) == 2
    assert list(frame["parameters.exponent"]) == [1, 2]
    assert list(frame["power"]) == [3, 9]
    assert set(frame["parameters.base"]) == {3}
    assert set(frame["status"]) == {"succeeded"}


def test_a_sweep_with_a_wrong_value_runs_nothing(ws: Workspace, sweep: RunList) -> None:
    before = len(ws.runs())

    with pytest.raises(InvalidParameterError, match='does not accept "two"'):
        ws.sweep("power", over={"exponent": [1, "two"]})

    assert len(ws.runs()) == before


def test_runs_are_a_frame_newest_first(ws: Workspace, run: RunRecord, sweep: RunList) -> None:
    runs = ws.runs(template="power", status=RunStatus.SUCCEEDED)
    frame = runs.frame()

    assert [found.id for found in runs][-1] == run.id
    assert list(frame["power"]) == [9, 3, 32]
    assert [found.scraps["power"] for found in runs[:2]] == [9, 3]
    assert len(ws.runs(template="nothing")) == 0
    everything = [found.id for found in ws.runs()]  # another test's failed run may be newest
    assert ws.record("latest").id == everything[0]
    assert ws.record(f"latest~{everything.index(run.id)}").id == run.id
    assert ws.record(run.id).scraps["power"] == 32


def test_a_failed_run_does_not_raise(ws: Workspace, sweep: RunList, run: RunRecord) -> None:
    seen = []

    failed = ws.run("power", parameters={"base": 101}, progress=lambda event: seen.append(event))

    assert (failed.status, failed.reason) == ("failed", "Cell 3 raised ValueError: too much")
    assert failed.error is not None
    assert failed.error.type == "ValueError"
    assert failed.scraps["power"] == 101**3
    assert str(seen[0].type) == "run_started"
    assert "run_finished" in [str(event.type) for event in seen]


def test_types_are_strict_where_text_is_not_the_only_way_to_say_it(ws: Workspace) -> None:
    with pytest.raises(InvalidParameterError) as wrong:
        ws.run("power", parameters={"exponent": "5"})
    with pytest.raises(UnknownParameterError) as unknown:
        ws.run("power", parameters={"exponnet": 5})

    assert str(wrong.value).startswith("Parameter 'exponent' of power does not accept \"5\".\n")
    assert str(unknown.value).startswith("power has no parameter 'exponnet'. Did you mean")


def test_models_are_looked_up_verified_and_never_loaded_damaged(
    ws: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    np.save(folder / "weights.npy", np.array([0.5]))
    (folder / "nbprod.json").write_text('{"kind": "test"}')
    entry = ws.models.register("router", folder, description="Made elsewhere")

    model = ws.models["router@1"]

    assert (entry.version, model.version, model.name, model.aliases) == (1, 1, "router", ())
    assert list(ws.models) == ["router"]
    assert np.load(model.path / "weights.npy")[0] == 0.5
    assert repr(model) == f"<model router version 1: {model.path}>"
    damaged = model.path / "weights.npy"
    damaged.chmod(0o644)
    damaged.write_bytes(b"x")
    with pytest.raises(ModelTamperedError):
        ws.models["router@1"]
