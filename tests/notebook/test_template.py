import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from nbprod.core.errors import FrontMatterError, ParametersCellError, UnreadableTemplateError
from nbprod.notebook.binding import Mode
from nbprod.notebook.document import MINOR
from nbprod.notebook.front_matter import FrontMatter, Kind
from nbprod.notebook.template import Origin, load_template
from tests.notebook.conftest import FRONT_MATTER, GOOD, PARAMETERS, MakeNotebook

PERCENT = """\
# %% [raw]
# ---
# title: Count things
# kind: explore
# scraps:
#   rows: {type: integer, required: true}
# ---

# %% [markdown]
# # Count things

# %% tags=["parameters"]
rows: int = 3  # how many
seed: int = 0  # of everything random

# %%
import nbprod

nbprod.glue("rows", rows)
"""


def test_a_template_is_read_with_all_it_says(make_notebook: MakeNotebook) -> None:
    path = make_notebook(GOOD)

    template = load_template(path, name="count")

    assert template.name == "count"
    assert template.title == "Count things"
    assert template.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert template.front_matter.kind is Kind.EXPLORE
    assert [parameter.name for parameter in template.parameters] == ["rows", "seed"]
    assert template.has_parameters_cell
    assert template.kernel == "python3"
    assert template.language == "python"
    assert template.origin is Origin.FILE
    assert [cell.type for cell in template.cells] == ["raw", "markdown", "code", "code"]


def test_any_papermill_notebook_is_a_template(make_notebook: MakeNotebook) -> None:
    path = make_notebook([("code", "alpha = 0.1", ["parameters"]), ("code", "print(alpha)")])

    template = load_template(path)

    assert template.front_matter == FrontMatter()
    assert template.name == "count.ipynb"
    assert template.bind({"alpha": "0.2"}, mode=Mode.TEXT).typed == {"alpha": 0.2}


def test_a_notebook_without_metadata_or_tags_is_a_template(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": ["a = 1\n", "b = 2"], "metadata": {}}]
    path = tmp_path / "bare.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 0, "cells": cells}))

    template = load_template(path)

    assert (template.has_parameters_cell, template.parameters) == (False, ())
    assert template.cells[0].source == "a = 1\nb = 2"


def test_the_notebook_is_a_fresh_copy_of_what_was_digested(make_notebook: MakeNotebook) -> None:
    path = make_notebook(GOOD)
    template = load_template(path)
    path.write_text("overwritten")

    first = template.notebook()
    first.cells.clear()
    second = template.notebook()

    nbformat.validate(second)
    assert [cell.source for cell in second.cells] == [source for _, source, *_ in GOOD]


def test_an_older_minor_version_is_upgraded_for_execution(make_notebook: MakeNotebook) -> None:
    path = make_notebook(GOOD, nbformat_minor=2)
    old = json.loads(path.read_text())
    for cell in old["cells"]:
        del cell["id"]
    path.write_text(json.dumps(old))

    found = load_template(path).notebook()

    nbformat.validate(found)
    assert found.nbformat_minor == 5
    assert [cell.id for cell in found.cells] == ["cell-0", "cell-1", "cell-2", "cell-3"]


def test_ids_that_are_missing_or_stand_twice_are_replaced_without_a_warning(
    make_notebook: MakeNotebook,
) -> None:
    path = make_notebook(GOOD)
    raw = json.loads(path.read_text())
    raw["cells"][1]["id"] = raw["cells"][0]["id"]
    del raw["cells"][2]["id"]
    path.write_text(json.dumps(raw))

    found = load_template(path).notebook()

    assert [cell.id for cell in found.cells] == ["c0", "cell-1", "cell-2", "c3"]


def test_what_tools_leave_out_is_filled_in_for_execution(tmp_path: Path) -> None:
    path = tmp_path / "bare.ipynb"
    path.write_text('{"nbformat": 4, "cells": [{"cell_type": "code", "source": ["a\\n", "b"]}]}')

    found = load_template(path).notebook()

    nbformat.validate(found)
    assert found.cells[0].source == "a\nb"


def _bare(path: Path) -> None:
    path.write_text('{"nbformat": 4, "cells": [{"cell_type": "code", "source": ["a\\n", "b"]}]}')


def _surrogate(path: Path) -> None:
    cell = {"cell_type": "markdown", "metadata": {}, "source": "a \udc80 b", "id": "x"}
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "cells": [cell]}))


def _percent(path: Path) -> None:
    path.write_text(PERCENT)


@pytest.mark.parametrize(
    ("name", "write"), [("a.ipynb", _bare), ("b.ipynb", _surrogate), ("c.py", _percent)]
)
def test_a_snapshot_is_the_same_notebook_as_a_file(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    template = load_template(tmp_path / name)
    snapshot = tmp_path / "snapshot.ipynb"

    snapshot.write_bytes(template.snapshot())

    assert nbformat.read(snapshot, as_version=4) == template.notebook()
    assert template.snapshot() == template.snapshot()


def test_a_snapshot_is_made_without_loading_nbformat(make_notebook: MakeNotebook) -> None:
    path = make_notebook(GOOD, nbformat_minor=4)
    code = (
        "import sys; from pathlib import Path; from nbprod.notebook.template import load_template;"
        "load_template(Path(sys.argv[1])).snapshot(); print('nbformat' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"
    assert nbformat.v4.nbformat_minor == MINOR


def test_a_percent_script_is_the_same_template(tmp_path: Path, make_notebook: MakeNotebook) -> None:
    path = tmp_path / "count.py"
    path.write_text(PERCENT)

    script = load_template(path)
    notebook = load_template(make_notebook(GOOD))

    assert script.digest == hashlib.sha256(PERCENT.encode()).hexdigest()
    assert script.front_matter == notebook.front_matter
    assert script.parameters == notebook.parameters
    assert [(cell.type, cell.source, cell.tags) for cell in script.cells] == [
        (cell.type, cell.source, cell.tags) for cell in notebook.cells
    ]


def test_a_percent_script_becomes_the_same_notebook_every_time(tmp_path: Path) -> None:
    path = tmp_path / "count.py"
    path.write_text(PERCENT)
    template = load_template(path)

    first, second = template.notebook(), template.notebook()

    nbformat.validate(first)
    assert first == second
    assert first.cells[2].metadata.tags == ["parameters"]
    assert first.cells[0].source == FRONT_MATTER


@pytest.mark.parametrize(
    "head",
    [
        # as jupytext itself writes a notebook whose first cell is front matter
        "# ---\n# title: Count things\n# kind: explore\n# jupyter:\n#   kernelspec:\n"
        "#     display_name: Python 3\n#     language: python\n#     name: python3\n# ---\n",
        # jupytext's own header, and then the cell
        "# ---\n# jupyter:\n#   jupytext:\n#     formats: ipynb,py:percent\n# ---\n\n"
        "# %% [raw]\n# ---\n# title: Count things\n# kind: explore\n# ---\n",
    ],
)
def test_front_matter_survives_jupytexts_header(tmp_path: Path, head: str) -> None:
    path = tmp_path / "count.py"
    path.write_text(f'{head}\n# %% tags=["parameters"]\n# %matplotlib inline\nrows = 3  # many\n')

    template = load_template(path)

    assert template.front_matter == FrontMatter(
        is_present=True, title="Count things", kind=Kind.EXPLORE
    )
    assert [(one.name, one.help) for one in template.parameters] == [("rows", "many")]


def test_a_jupytext_round_trip_keeps_front_matter_and_tags(make_notebook: MakeNotebook) -> None:
    import jupytext

    path = make_notebook(GOOD)
    script = path.with_suffix(".py")
    jupytext.write(jupytext.read(path), script, fmt="py:percent")

    again, original = load_template(script), load_template(path)

    assert again.front_matter == original.front_matter
    assert again.parameters == original.parameters


def test_a_notebook_in_another_language_takes_what_it_is_given(make_notebook: MakeNotebook) -> None:
    kernel = {"name": "ir", "display_name": "R", "language": "R"}
    path = make_notebook([("code", "x <- 1", ["parameters"])], metadata={"kernelspec": kernel})

    template = load_template(path)

    assert (template.language, template.kernel, template.parameters) == ("r", "ir", ())


@pytest.mark.parametrize(
    ("content", "what", "why", "do"),
    [
        (b'{"cells": [', "line 1: it is not JSON: Expecting value.",
         "A notebook is a JSON file; this one was cut off, merged or edited by hand.",
         "Open it in JupyterLab, or check it with: python -m json.tool bad.ipynb"),
        (b'{\n<<<<<<< HEAD\n "nbformat": 4\n}',
         "line 2: it is not JSON: there are marks of a git conflict.",
         "A notebook is a JSON file; this one was cut off, merged or edited by hand.",
         "Open it in JupyterLab, or check it with: python -m json.tool bad.ipynb"),
        (b"", "line 1: it is not JSON: Expecting value.",
         "A notebook is a JSON file; this one was cut off, merged or edited by hand.",
         "Open it in JupyterLab, or check it with: python -m json.tool bad.ipynb"),
        (b'{"a":\n "caf\xe9"}', "line 2 holds the byte 0xe9, which is not UTF-8.",
         "Notebooks are UTF-8; guessing an encoding would change letters silently.",
         "Convert it, if it is from Windows: "
         "iconv -f WINDOWS-1252 -t UTF-8 -o fixed.ipynb bad.ipynb"),
        (b"[]", "it is JSON, but no notebook.",
         "A notebook is a JSON object with the keys nbformat, metadata and cells.",
         "Open it in JupyterLab, or check it with: python -m json.tool bad.ipynb"),
        (b"{}", "it is JSON, but no notebook.",
         "A notebook is a JSON object with the keys nbformat, metadata and cells.",
         "Open it in JupyterLab, or check it with: python -m json.tool bad.ipynb"),
        (b"[" * 100_000, "it is nested too deeply.", "No notebook nests thousands of levels.",
         "Open it in JupyterLab, or check it with: python -m json.tool bad.ipynb"),
        (b'{"nbformat": 3, "worksheets": []}', "it is a notebook of format version 3.",
         "nbprod, as papermill, reads version 4, which Jupyter has written since 2015.",
         "Convert it with: jupyter nbconvert --to notebook --inplace bad.ipynb"),
        (b'{"nbformat": 5, "cells": []}', "it is a notebook of format version 5.",
         "nbprod, as papermill, reads version 4, which Jupyter has written since 2015.",
         "Update what reads it: pip install --upgrade nbformat nbprod"),
        (b'{"nbformat": 4}', "the notebook has no list of cells.",
         "A notebook's cells are a list; each has a cell_type and a source.",
         "Open it in JupyterLab, or check it with: python -m json.tool bad.ipynb"),
        (b'{"nbformat": 4, "cells": [{"cell_type": "code"}]}',
         "cell 1 is not what a cell is in a notebook.",
         "A notebook's cells are a list; each has a cell_type and a source.",
         "Open it in JupyterLab, or check it with: python -m json.tool bad.ipynb"),
        (b'{"nbformat": 4, "cells": [3]}', "cell 1 is not what a cell is in a notebook.",
         "A notebook's cells are a list; each has a cell_type and a source.",
         "Open it in JupyterLab, or check it with: python -m json.tool bad.ipynb"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_notebook_is_refused(
    tmp_path: Path, content: bytes, what: str, why: str, do: str
) -> None:
    path = tmp_path / "bad.ipynb"
    path.write_bytes(content)

    with pytest.raises(UnreadableTemplateError) as caught:
        load_template(path)

    assert str(caught.value) == f"bad.ipynb: {what}\n{why}\n{do}"


def test_a_cell_of_100_megabytes_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "huge.ipynb"
    with path.open("wb") as file:
        file.write(b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": "')
        file.seek(100_000_000)
        file.write(b'"}]}')
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from nbprod.core.errors import UnreadableTemplateError\n"
        "from nbprod.notebook.template import load_template\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    load_template(Path('huge.ipynb'))\n"
        "except UnreadableTemplateError as error:\n    print(error)\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "assert grown < 20_000, grown  # KiB\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "huge.ipynb: the file is 100 MB large.\n"
        "A template is text; the limit is 50 MB. Outputs were probably saved in it, or data "
        "pasted into a cell.\n"
        "Move data into files, and strip outputs with: "
        "jupyter nbconvert --clear-output --inplace huge.ipynb\n"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.ipynb", "No such file or directory"), ("folder.ipynb", "Is a directory")],
)
def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder.ipynb").mkdir()

    with pytest.raises(UnreadableTemplateError) as caught:
        load_template(tmp_path / name)

    assert str(caught.value) == (
        f"{name}: it cannot be read: {reason}.\n"
        "A template is a file that ends in .ipynb or .py.\n"
        "See which templates there are: nbprod templates list"
    )


def test_a_script_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_bytes(b"# %%\nx = 'caf\xe9'\n")

    with pytest.raises(UnreadableTemplateError) as caught:
        load_template(tmp_path / "bad.py")

    assert caught.value.what == "bad.py: line 2 holds the byte 0xe9, which is not UTF-8."


def test_a_byte_order_mark_is_no_part_of_the_text(make_notebook: MakeNotebook) -> None:
    path = make_notebook(GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

    template = load_template(path)

    assert template.title == "Count things"
    assert len(template.notebook().cells) == 4


def test_errors_inside_a_cell_name_the_file_the_cell_and_the_line(
    make_notebook: MakeNotebook,
) -> None:
    broken = [("raw", "---\ntitle: [\n---"), ("code", PARAMETERS, ["parameters"])]
    with pytest.raises(FrontMatterError) as front:
        load_template(make_notebook(broken, name="templates/x.ipynb"))
    broken = [("raw", FRONT_MATTER), ("markdown", "#"), ("code", "a = 1\nb = (", ["parameters"])]
    with pytest.raises(ParametersCellError) as parameters:
        load_template(make_notebook(broken, name="templates/y.ipynb"))

    assert front.value.what.startswith("templates/x.ipynb, cell 1, line 3: ")
    assert parameters.value.what == "templates/y.ipynb, cell 3, line 2: '(' was never closed."
    assert parameters.value.do.endswith("nbprod templates check templates/y.ipynb")


def test_reading_and_finding_import_nothing_heavy(make_notebook: MakeNotebook) -> None:
    make_notebook(GOOD)
    heavy = ["pydantic", "nbformat", "pandas", "numpy", "papermill", "sqlalchemy", "jupytext"]
    code = (
        "import sys, pathlib\n"
        "from nbprod.notebook.discovery import find_templates\n"
        "found = find_templates(pathlib.Path())\n"
        "assert found['count'].load().parameters\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )

    assert done.stdout == "[]\n"
