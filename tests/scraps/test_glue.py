"""What is glued in a real kernel is read back, by us and by scrapbook."""

import math
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import scrapbook

from nbprod.core.digest import digest_folder
from nbprod.core.scraps import ScrapType
from nbprod.notebook.scraps import load_value, read_scraps
from tests.scraps.conftest import Cells

GLUE_EVERYTHING = """\
import nbprod, numpy as np, pandas as pd
from datetime import date
from pathlib import Path
nbprod.glue("integer", 3)
nbprod.glue("number", 0.25)
nbprod.glue("float32", np.float32(0.5))
nbprod.glue("int64", np.int64(7))
nbprod.glue("truth", np.bool_(True))
nbprod.glue("nan", float("nan"))
nbprod.glue("infinite", -float("inf"))
nbprod.glue("nothing", None)
nbprod.glue("text", "123")
nbprod.glue("list", [1, (2.5, None), {"a": np.float64(1)}])
nbprod.glue("with_nan", {"a": [1.0, float("nan")]})
nbprod.glue("day", date(2026, 11, 21))
nbprod.glue("counts", {1: 2})
nbprod.glue("small", pd.DataFrame({"a": [1, 2], "b": ["x", None]}))
nbprod.glue("big", pd.DataFrame({"a": np.arange(50_000) ** 2, "b": np.random.rand(50_000)}))
nbprod.glue("array", np.array([[1, 2], [3, 4]], dtype="float32"))
nbprod.glue("big_array", np.arange(100_000))
model = nbprod.output("model")
(model / "deep").mkdir(parents=True)
(model / "weights.bin").write_bytes(b"w" * 1000)
(model / "deep" / "config.json").write_text("{}")
nbprod.glue("model", nbprod.output("model"))
Path("elsewhere").mkdir(); (Path("elsewhere") / "f.txt").write_text("hello")
nbprod.glue("moved", Path("elsewhere"))
nbprod.glue("file", Path("elsewhere/f.txt"))
"""


@pytest.fixture
def glued(run_cells: Cells, tmp_path: Path) -> Path:
    path = tmp_path / "glued.ipynb"
    nbformat.write(run_cells(GLUE_EVERYTHING), path)
    assert "Error" not in path.read_text()
    return path


def test_every_kind_of_scrap_comes_back(glued: Path, tmp_path: Path) -> None:
    scraps = read_scraps(glued)

    loaded = {name: load_value(scrap, tmp_path / "run") for name, scrap in scraps.items()}

    plain = ("integer", "number", "float32", "int64", "truth", "infinite", "nothing", "text")
    assert [loaded[name] for name in plain] == [3, 0.25, 0.5, 7, True, -math.inf, None, "123"]
    assert math.isnan(loaded["nan"])  # type: ignore[arg-type]  # a float, as glued
    assert loaded["list"] == [1, [2.5, None], {"a": 1.0}]
    assert repr(loaded["with_nan"]) == "{'a': [1.0, nan]}"
    assert (loaded["day"], loaded["counts"]) == ("2026-11-21", {"1": 2})
    pd.testing.assert_frame_equal(
        loaded["small"],  # type: ignore[arg-type]  # a frame, as glued
        pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
    )
    assert len(loaded["big"]) == 50_000  # type: ignore[arg-type]  # a frame, as glued
    array = loaded["array"]
    assert isinstance(array, np.ndarray)
    assert (array.dtype, array.tolist()) == (np.dtype("float32"), [[1, 2], [3, 4]])
    assert loaded["big_array"].sum() == sum(range(100_000))  # type: ignore[attr-defined]  # same
    assert loaded["model"] == tmp_path / "run/scraps/model"
    assert loaded["file"] == tmp_path / "run/scraps/file.txt"
    assert loaded["moved"].joinpath("f.txt").read_text() == "hello"  # type: ignore[attr-defined]


def test_scraps_have_the_types_that_contracts_name(glued: Path) -> None:
    found = {name: scrap.type for name, scrap in read_scraps(glued).items()}

    assert found == {
        "integer": ScrapType.INTEGER,
        "number": ScrapType.NUMBER,
        "float32": ScrapType.NUMBER,
        "int64": ScrapType.INTEGER,
        "truth": ScrapType.BOOLEAN,
        "nan": ScrapType.NUMBER,
        "infinite": ScrapType.NUMBER,
        "nothing": ScrapType.ANY,
        "text": ScrapType.TEXT,
        "list": ScrapType.JSON,
        "with_nan": ScrapType.JSON,
        "day": ScrapType.TEXT,
        "counts": ScrapType.JSON,
        "small": ScrapType.FRAME,
        "big": ScrapType.FRAME,
        "array": ScrapType.ARRAY,
        "big_array": ScrapType.ARRAY,
        "model": ScrapType.MODEL,
        "moved": ScrapType.MODEL,
        "file": ScrapType.ANY,
    }


def test_scrapbook_reads_what_nbprod_glued(glued: Path) -> None:
    read = scrapbook.read_notebook(str(glued)).scraps

    plain = ("integer", "number", "float32", "int64", "truth", "infinite", "nothing", "text")
    assert [read[name].data for name in plain] == [3, 0.25, 0.5, 7, True, -math.inf, None, "123"]
    assert math.isnan(read["nan"].data)
    assert math.isnan(read["with_nan"].data["a"][1])
    small = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    pd.testing.assert_frame_equal(read["small"].data, small)
    assert read["big"].data["rows"] == 50_000
    assert read["model"].data["path"] == "scraps/model"
    assert list(scrapbook.read_notebooks(str(glued.parent)).scraps) == list(read)


def test_a_model_reference_has_the_digest_of_every_file(glued: Path, tmp_path: Path) -> None:
    sidecar = read_scraps(glued)["model"].sidecar

    assert sidecar is not None
    assert (sidecar.path, sidecar.size_bytes) == ("scraps/model", 1002)
    assert sorted(sidecar.files) == ["deep/config.json", "weights.bin"]
    assert sidecar.digest == digest_folder(tmp_path / "run/scraps/model")


def test_a_notebook_with_only_scrapbook_works(run_cells: Cells) -> None:
    notebook = run_cells(
        "import scrapbook as sb, pandas as pd\n"
        "sb.glue('n', 5); sb.glue('t', 'x'); sb.glue('f', pd.DataFrame({'a': [1]}))\n"
        "sb.glue('shown', 'x', display=True)"
    )

    scraps = read_scraps(notebook)

    assert {name: scrap.type.value for name, scrap in scraps.items()} == {
        "n": "integer",
        "t": "text",
        "f": "frame",
        "shown": "text",
    }
    assert scraps["shown"].display == {"text/plain": "'x'"}
    assert load_value(scraps["f"], Path())["a"].tolist() == [1]  # type: ignore[index]  # a frame


def test_neither_capture_nor_clear_output_loses_a_scrap(run_cells: Cells) -> None:
    notebook = run_cells(
        "import nbprod, scrapbook as sb\nfrom IPython.display import clear_output",
        "%%capture\nnbprod.glue('captured', 1); print('hidden')",
        "%%capture kept\nsb.glue('captured_by_scrapbook', 2)",
        "nbprod.glue('cleared', 3); sb.glue('cleared_by_scrapbook', 4)\n"
        "clear_output(); clear_output(wait=True); print('x')",
    )

    values = {name: scrap.value for name, scrap in read_scraps(notebook).items()}

    assert values == {
        "captured": 1,
        "captured_by_scrapbook": 2,
        "cleared": 3,
        "cleared_by_scrapbook": 4,
    }
    assert [output.output_type for output in notebook.cells[1].outputs] == ["display_data"]


def test_the_last_of_a_name_counts_and_a_loop_keeps_one(run_cells: Cells) -> None:
    notebook = run_cells(
        "import nbprod\nfor i in range(500): nbprod.glue('loss', i)\nnbprod.glue('a', 1)",
        "nbprod.glue('a', 2)",
    )

    assert {n: scrap.value for n, scrap in read_scraps(notebook).items()} == {"loss": 499, "a": 2}
    assert len(notebook.cells[0].outputs) == 2
    assert scrapbook.models.Notebook(notebook).scraps["a"].data == 2


def test_a_figure_is_a_display_scrap(run_cells: Cells) -> None:
    notebook = run_cells(
        "import nbprod\nimport matplotlib.pyplot as plt\n"
        "figure, axes = plt.subplots(); axes.plot([1, 2]); plt.close(figure)\n"
        "nbprod.glue('curve', figure)"
    )

    scrap = read_scraps(notebook)["curve"]

    assert (scrap.type, scrap.encoder) == (ScrapType.DISPLAY, "display")
    assert scrap.display is not None
    assert scrap.display["image/png"].startswith("iVBOR")


def test_a_torch_scalar_and_tensor_are_numbers(run_cells: Cells) -> None:
    notebook = run_cells(
        "import nbprod, torch\n"
        "nbprod.glue('scalar', torch.tensor(0.5)); nbprod.glue('nested', {'a': torch.tensor(2)})\n"
        "nbprod.glue('bf16', torch.ones(2, dtype=torch.bfloat16))"
    )

    scraps = read_scraps(notebook)

    assert (scraps["scalar"].value, scraps["nested"].value) == (0.5, {"a": 2})
    assert load_value(scraps["bf16"], Path()).tolist() == [1, 1]  # type: ignore[attr-defined]


def test_what_no_encoder_takes_is_refused_in_words(run_cells: Cells) -> None:
    notebook = run_cells("import nbprod\nclass Config: pass\nnbprod.glue('config', Config())")

    error = notebook.cells[-1].outputs[-1]

    assert error.ename == "UnencodableScrapError"
    assert error.evalue.replace("\n", " ") == (
        "The scrap 'config' cannot be stored: it is a __main__.Config. "
        "A scrap must be readable without the class that made it. "
        "Glue numbers, texts, lists, mappings, DataFrames, NumPy arrays or a Path; "
        "for something to look at:     nbprod.glue('config', value, display=True)"
    )


def test_glue_outside_a_kernel_warns_and_goes_on() -> None:
    import nbprod

    with pytest.warns(UserWarning, match="No notebook kernel is running: the scrap 'x'"):
        nbprod.glue("x", 1)
