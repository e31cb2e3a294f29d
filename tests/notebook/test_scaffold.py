import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from nbprod.core.errors import ScaffoldError
from nbprod.notebook.checks import check_file
from nbprod.notebook.front_matter import Kind
from nbprod.notebook.scaffold import new_template
from nbprod.notebook.template import load_template


def execute(path: Path, workspace: Path, **parameters: object) -> dict[str, object]:
    """Run a template with papermill's own engine; return its scraps by name, as encoded."""
    folder = workspace / "runs" / path.stem
    folder.mkdir(parents=True)
    given = [text for pair in parameters.items() for text in ("-p", *map(str, pair))]
    variables = {"NBPROD_WORKSPACE": str(workspace), "NBPROD_RUN_FOLDER": str(folder)}
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--cwd", str(path.parent)]

    done = subprocess.run(
        [*command, str(path), str(folder / "executed.ipynb"), *given],
        capture_output=True,
        text=True,
        env=os.environ | variables,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    notebook = json.loads((folder / "executed.ipynb").read_text())
    return {
        payload["name"]: payload["data"]
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        for mime, payload in output.get("data", {}).items()
        if mime.startswith("application/scrapbook.scrap.")
    }


@pytest.mark.parametrize("kind", list(Kind))
def test_a_starter_has_no_finding_and_no_trace_of_its_making(tmp_path: Path, kind: Kind) -> None:
    path = new_template("churn_by-month", kind=kind, folder=tmp_path / "templates")

    template = load_template(path)
    assert path == tmp_path / "templates" / "churn_by-month.ipynb"
    assert check_file(path) == []
    assert (template.title, template.front_matter.kind) == ("Churn by month", kind)
    assert "{{" not in path.read_text()
    nbformat.validate(nbformat.read(path, as_version=4))
    assert json.loads(path.read_text())["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def test_the_same_starter_is_the_same_file(tmp_path: Path) -> None:
    first = new_template("a", kind="explore", folder=tmp_path / "one")
    second = new_template("a", kind="explore", folder=tmp_path / "two")

    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("kind", ["explore", "monitor"])
def test_a_starter_runs_before_there_is_data(tmp_path: Path, kind: str) -> None:
    path = new_template("first", kind=kind, folder=tmp_path / "templates")

    scraps = execute(path, tmp_path)

    declared = {scrap.name for scrap in load_template(path).front_matter.scraps}
    assert scraps.keys() == declared


def test_a_starter_reads_data_below_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,x\n2,y\n,y\n2,y\n")
    path = new_template("first", kind="explore", folder=tmp_path / "templates")

    scraps = execute(path, tmp_path, data="rows.csv")

    assert [scraps[name] for name in ("rows", "columns", "repeated_rows")] == [4, 2, 1]
    assert scraps["missing_share"] == pytest.approx(1 / 8)


def test_baseline_evaluate_and_score_fit_together(tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    made = {kind: new_template(kind, kind=kind, folder=folder) for kind in ("baseline", "evaluate")}
    made["score"] = new_template("score", kind="score", folder=folder)

    learned = execute(made["baseline"], tmp_path)
    model = tmp_path / "runs" / "baseline" / "scraps" / "model"
    evaluated = execute(made["evaluate"], tmp_path, model=model, baseline=model)
    scored = execute(made["score"], tmp_path, model=model)

    assert learned["accuracy"] > learned["majority_accuracy"] + 0.2
    assert evaluated["accuracy"] == pytest.approx(learned["accuracy"])
    assert evaluated["macro_f1"] == pytest.approx(learned["macro_f1"])
    assert evaluated["models"]["candidate"]["digest"] == scored["model_digest"]
    assert scored["scored_rows"] == 50


def test_the_finetune_starter_learns_its_made_up_texts(tmp_path: Path) -> None:
    path = new_template("tune", kind="finetune", folder=tmp_path / "templates")

    scraps = execute(path, tmp_path)

    assert scraps["accuracy"] > 0.9
    assert scraps["training_rows"] == 98
    assert "model.safetensors" in scraps["model"]["files"]


def test_the_report_starter_tells_of_the_runs_before_it(workspace_folder: Path) -> None:
    templates = workspace_folder / "templates"
    new_template("look", kind="explore", folder=templates)
    new_template("news", kind="report", folder=templates)

    for name in ("look", "news"):
        command = [Path(sys.executable).with_name("nbprod"), "run", name, "--json"]
        done = subprocess.run(
            command, cwd=workspace_folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]

    scraps = {name: one["value"] for name, one in json.loads(done.stdout)["scraps"].items()}
    assert (scraps["runs"], scraps["succeeded_share"]) == (1, 1.0)
    assert scraps["by_template"] == [{"template": "look", "succeeded": 1}]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("my notebook.ipynb", "explore",
         "A template cannot be named 'my notebook.ipynb'.\n"
         "A name is letters, digits, _ and -, with / between folders; it becomes a file's name.\n"
         "For example: nbprod templates new my_notebook --kind explore"),
        ("../x", "explore",
         "A template cannot be named '../x'.\n"
         "A name is letters, digits, _ and -, with / between folders; it becomes a file's name.\n"
         "For example: nbprod templates new x --kind explore"),
        ("x", "finetunning",
         "There is no kind of template 'finetunning'. Did you mean 'finetune'?\n"
         "Kinds: explore, baseline, finetune, evaluate, score, monitor, report.\n"
         "For example: nbprod templates new x --kind explore"),
    ],
)  # fmt: skip
def test_a_name_or_kind_that_is_none_is_refused(
    tmp_path: Path, name: str, kind: str, message: str
) -> None:
    with pytest.raises(ScaffoldError) as caught:
        new_template(name, kind=kind, folder=tmp_path / "templates")

    assert str(caught.value) == message
    assert not (tmp_path / "templates").exists()


@pytest.mark.parametrize("suffix", [".ipynb", ".py"])
def test_a_template_is_never_overwritten(tmp_path: Path, suffix: str) -> None:
    there = tmp_path / "templates" / f"deep/x{suffix}"
    there.parent.mkdir(parents=True)
    there.write_text("mine")

    with pytest.raises(ScaffoldError) as caught:
        new_template("deep/x", kind="explore", folder=tmp_path / "templates")

    assert there.read_text() == "mine"
    assert str(caught.value) == (
        f"There is already a template at templates/deep/x{suffix}.\n"
        "A template that exists is never overwritten.\n"
        "Look at it, or choose another name: nbprod templates show deep/x"
    )
