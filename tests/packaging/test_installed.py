"""nbprod works from its wheel, from any folder, and its control plane without torch."""

import json
import os
from pathlib import Path

import nbformat
import pytest

ANY_NOTEBOOK = ["alpha = 0.5", "doubled = alpha * 2", "print(f'doubled: {doubled}')"]
HIDDEN = ["accelerate", "datasets", "matplotlib", "pyarrow", "scipy", "sklearn", "torch"]
FOUR_HUNDRED_MB = 400_000_000


@pytest.fixture
def papermill_notebook(tmp_path: Path) -> Path:
    """A notebook that knows nothing of nbprod: a parameters cell and two more."""
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, ANY_NOTEBOOK)])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    path = tmp_path / "any.ipynb"
    nbformat.write(notebook, path)
    return path


def size_bytes(folder: Path, seen: set[int]) -> int:
    """Return what `folder` takes on the disk, links followed, each file once."""
    total = 0
    for place, _, files in os.walk(folder, followlinks=True):
        for file in files:
            facts = (Path(place) / file).stat()
            if facts.st_ino not in seen:
                seen.add(facts.st_ino)
                total += facts.st_blocks * 512
    return total


def test_nbprod_comes_from_the_wheel_and_not_from_the_checkout(control_plane, tmp_path) -> None:
    asking = "import nbprod; print(nbprod.__file__)"

    done = control_plane.run("python", "-c", asking, cwd=tmp_path)

    (site,) = control_plane.folder.glob("lib/python3.*/site-packages")
    assert (done.stdout.strip(), done.stderr) == (str(site / "nbprod/__init__.py"), "")


def test_the_control_plane_has_no_package_of_the_extras(control_plane, tmp_path) -> None:
    asking = (
        "import sys\nfrom importlib.util import find_spec\n"
        "print([name for name in sys.argv[1:] if find_spec(name)])"
    )

    done = control_plane.run("python", "-c", asking, *HIDDEN, cwd=tmp_path)

    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_control_plane_stays_under_400_mb(control_plane) -> None:
    size = size_bytes(control_plane.folder / "lib", set())

    assert size < FOUR_HUNDRED_MB, f"{size / 1e6:.0f} MB"


def test_the_control_plane_runs_any_notebook_and_makes_a_report(
    control_plane, papermill_notebook: Path
) -> None:
    folder = papermill_notebook.parent

    made = control_plane.run("nbprod", "init", "team", cwd=folder)
    assert made.returncode == 0, made.stderr
    ran = control_plane.run(
        "nbprod", "run", papermill_notebook, "-p", "alpha=0.25", "--json", cwd=folder / "team"
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    listed = control_plane.run("nbprod", "runs", "list", "--json", cwd=folder / "team")
    (run,) = json.loads(listed.stdout)
    reported = control_plane.run("nbprod", "reports", "make", run["id"], cwd=folder / "team")

    assert run["status"] == "succeeded"
    assert reported.returncode == 0, reported.stderr
    (page,) = (folder / "team/.nbprod/reports").glob("*.html")
    assert "doubled: 0.5" in page.read_text()
    assert "print(" not in page.read_text(), "a report shows no code"


def test_the_control_plane_says_how_to_get_what_a_template_needs(
    control_plane, tmp_path: Path
) -> None:
    control_plane.run("nbprod", "init", "team", cwd=tmp_path)
    texts = tmp_path / "team" / "texts.csv"
    texts.write_text("text,label\na kind of tree,plant\na kind of dog,animal\n")

    ran = control_plane.run(
        "nbprod", "run", "explore_text", "-p", f"data={texts}", cwd=tmp_path / "team"
    )

    assert ran.returncode == 1
    assert "pip install 'nbprod[ml]'" in ran.stderr


def test_a_built_in_template_runs_from_another_folder(with_ml, tmp_path: Path) -> None:
    subjects = {"plant": "a tall tree with broad leaves", "animal": "a small dog with short legs"}
    rows = [
        f"{text} number {number},{label}"
        for number in range(60)
        for label, text in subjects.items()
    ]
    with_ml.run("nbprod", "init", "team", cwd=tmp_path)
    texts = tmp_path / "team" / "texts.csv"
    texts.write_text("\n".join(["text,label", *rows]) + "\n")

    ran = with_ml.run("nbprod", "run", "explore_text", "-p", "data=texts.csv", cwd=texts.parent)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    listed = with_ml.run("nbprod", "runs", "list", "--json", cwd=texts.parent)
    runs = json.loads(listed.stdout)
    assert [(run["template"], run["status"]) for run in runs] == [("explore_text", "succeeded")]


def test_the_installed_templates_are_listed_outside_any_workspace(with_ml, tmp_path: Path) -> None:
    listed = with_ml.run("nbprod", "templates", "list", "--json", cwd=tmp_path)

    names = {template["name"] for template in json.loads(listed.stdout)}
    built_in = {"explore_text", "baseline_text_classifier", "finetune_text_classifier"}
    assert sorted(built_in - names) == []
