"""What cannot be is refused before anything starts: what, why, what to do; exit code 2."""

from pathlib import Path

import pytest

from tests.acceptance.conftest import Cli, Done, make_workspace, write_notebook

PARAMETERS = """
from typing import Annotated, Literal

from pydantic import Field

epochs: Annotated[int, Field(ge=1, le=50)] = 3  # passes over the data
mode: Literal["fast", "slow"] = "fast"  # how
note: str | None = None  # whatever you like
"""
BUILT_IN = "baseline_text_classifier, evaluate_classifier, explore_text, finetune_text_classifier"
LATER = """\
job: later
steps:
  - {id: first, run: fit, parameters: {note: "${second.note}"}}
  - {id: second, run: fit}
"""
ITSELF = 'job: itself\nsteps:\n  - {id: one, run: fit, parameters: {note: "${one.note}"}}\n'
PICKLE = """\
job: pickled
steps:
  - {id: tune, run: pickled}
  - {promote: router, from: tune}
"""


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A workspace of which nothing can be run as asked."""
    team = make_workspace(tmp_path_factory.mktemp("refusals") / "team")
    templates, notebooks = team.folder / "templates", team.folder / "notebooks"
    front = "title: Fit\nkind: finetune"
    write_notebook(templates / "fit.ipynb", "1", parameters=PARAMETERS, front_matter=front)
    write_notebook(templates / "key.ipynb", "1", front_matter="title: Fit\nkidn: finetune")
    write_notebook(templates / "yaml.ipynb", "1", front_matter="title: [Fit\nkind: finetune")
    write_notebook(templates / "python.ipynb", "1", parameters="epochs: int = = 3")
    write_notebook(notebooks / "plain.ipynb", "1")
    (notebooks / "cut.ipynb").write_text('{"cells": [')
    jobs = team.folder / "scheduler"
    (jobs / "later.yaml").write_text(LATER)
    (jobs / "itself.yaml").write_text(ITSELF)
    (jobs / "broken.yaml").write_text("job: broken\nsteps:\n  - {id: one, run: fit\n")
    return team


RUNS = {
    "unknown template": (
        ("fitt",),
        "There is no template named 'fitt'. Did you mean 'fit'?\n"
        f"Known templates: {BUILT_IN}, fit, key, python, yaml.\n"
        "See where each comes from with: nbprod templates list\n",
    ),
    "unknown file": (
        ("notebooks/none.ipynb",),
        "There is no file 'notebooks/none.ipynb'.\n"
        f"Known templates: {BUILT_IN}, fit, key, python, yaml.\n"
        "See where each comes from with: nbprod templates list\n",
    ),
    "unknown parameter": (
        ("fit", "-p", "epoch=3"),
        "fit has no parameter 'epoch'. Did you mean 'epochs'?\n"
        "Its parameters: epochs, mode, note.\n"
        "See what each accepts with: nbprod templates show fit\n",
    ),
    "wrong type": (
        ("fit", "-p", "epochs=many"),
        "Parameter 'epochs' of fit does not accept many.\n"
        "It takes a whole number from 1 to 50: passes over the data.\n"
        "See what each parameter accepts with: nbprod templates show fit\n",
    ),
    "out of range": (
        ("fit", "-p", "epochs=51"),
        "Parameter 'epochs' of fit does not accept 51.\n"
        "It takes a whole number from 1 to 50: passes over the data.\n"
        "See what each parameter accepts with: nbprod templates show fit\n",
    ),
    "not a choice": (
        ("fit", "-p", "mode=medium"),
        "Parameter 'mode' of fit does not accept medium.\n"
        "It takes one of 'fast', 'slow': how.\n"
        "See what each parameter accepts with: nbprod templates show fit\n",
    ),
    "no value": (
        ("fit", "-p", "epochs"),
        "-p epochs: there is no NAME= before the value.\n"
        "A parameter is given as NAME=VALUE; the value is all that follows the first =.\n"
        "For example: nbprod run TEMPLATE -p epochs=2 -p data=texts.csv\n",
    ),
    "given twice": (
        ("fit", "-p", "epochs=1", "-p", "epochs=2"),
        "-p epochs=2: 'epochs' is given twice.\n"
        "A parameter is given as NAME=VALUE; the value is all that follows the first =.\n"
        "For example: nbprod run TEMPLATE -p epochs=2 -p data=texts.csv\n",
    ),
    "no parameters cell": (
        ("notebooks/plain.ipynb", "-p", "alpha=1"),
        "notebooks/plain.ipynb has no parameters cell, and parameters were given: alpha.\n"
        "Put before its first cell they would do nothing, or be overwritten, in silence.\n"
        "Tag the cell that sets them `parameters`, or put them in all the same with: "
        "nbprod run notebooks/plain.ipynb -p alpha=VALUE --allow-unknown\n",
    ),
    "unknown front-matter key": (
        ("key",),
        "templates/key.ipynb, cell 1, line 3: there is no key 'kidn' here. "
        "Did you mean 'kind'?\n"
        "Known keys: title, description, kind, resources, scraps, outputs, report.\n"
        "Correct that cell, then check it with: nbprod templates check templates/key.ipynb\n",
    ),
    "malformed front matter": (
        ("yaml",),
        "templates/yaml.ipynb, cell 1, line 3: "
        "While parsing a flow sequence did not find expected ',' or ']'.\n"
        "Front matter is the first raw cell: YAML between two lines of ---.\n"
        "Correct that cell, then check it with: nbprod templates check templates/yaml.ipynb\n",
    ),
    "malformed parameters": (
        ("python",),
        "templates/python.ipynb, cell 1, line 1: invalid syntax.\n"
        "The cell tagged `parameters` is read, never executed, to learn what may be set.\n"
        "Correct that cell, then check it with: nbprod templates check templates/python.ipynb\n",
    ),
    "no notebook": (
        ("notebooks/cut.ipynb",),
        "notebooks/cut.ipynb: line 1: it is not JSON: Expecting value.\n"
        "A notebook is a JSON file; this one was cut off, merged or edited by hand.\n"
        "Open it in JupyterLab, or check it with: python -m json.tool notebooks/cut.ipynb\n",
    ),
}
JOBS = {
    "later": (
        "scheduler/later.yaml, line 3: step 'first' refers to ${second.note}, "
        "but 'second' runs later.\n"
        "Steps run in this order: first → second.\n"
        "Correct it, then check it without running it: nbprod jobs run later --dry-run\n"
    ),
    "itself": (
        "scheduler/itself.yaml, line 3: step 'one' refers to ${one.note}, which is itself.\n"
        "Steps run in this order: one.\n"
        "Correct it, then check it without running it: nbprod jobs run itself --dry-run\n"
    ),
    "broken": (
        "scheduler/broken.yaml, line 4: "
        "While parsing a flow mapping did not find expected ',' or '}'.\n"
        "It is read as YAML 1.2, where every key of a mapping stands once.\n"
        "Correct it, then try: nbprod jobs run broken --dry-run\n"
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_cannot_be_is_refused_before_it_starts(team: Cli, name: str) -> None:
    asked, said = RUNS[name]

    assert team("run", *asked) == Done(2, "", said)

    assert not (team.folder / ".nbprod" / "runs").exists()


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_a_job_that_cannot_be_is_refused_before_it_starts(
    team: Cli, name: str, options: tuple[str, ...]
) -> None:
    assert team("jobs", "run", name, *options) == Done(2, "", JOBS[name])

    assert not (team.folder / ".nbprod" / "runs").exists()


def test_one_broken_file_does_not_hide_the_others(team: Cli) -> None:
    listed, jobs = team("templates", "list"), team("jobs", "list")

    assert (listed.code, jobs.code) == (0, 0)
    assert "fit " in listed.out
    assert listed.err.startswith("key cannot be read. templates/key.ipynb, cell 1, line 3: ")
    assert [line.split()[0] for line in jobs.out.splitlines()] == ["JOB", "itself", "later"]
    assert jobs.err == JOBS["broken"] + "\n"


def test_a_cell_that_refuses_its_data_is_quoted_in_full(tmp_path: Path) -> None:
    team = make_workspace(tmp_path / "team")
    (team.folder / "texts.csv").write_text("words,class\nhello,a\nbye,b\n")

    done = team("run", "explore_text", "-p", "data=texts.csv", "--quiet")

    run = team.json("runs", "show", "latest")
    assert (done.code, run["status"], run["scraps"]) == (1, "failed", {})
    assert done.err == (
        "\nCell 7 raised MissingColumnsError: "
        "'texts.csv' has no column 'text' or 'sentence' or 'content' for the text.\n"
        "Columns found: words, class.\n"
        "Say which one it is: nbprod run explore_text -p data=texts.csv -p text_column=words\n"
        f"See what happened: nbprod runs show {run['id']}\n"
    )


def test_a_model_folder_with_a_pickle_is_not_registered(tmp_path: Path) -> None:
    settings = '[models.router]\ngates = [{scrap = "accuracy", min = 0.5}]\n'
    team = make_workspace(tmp_path / "team", settings=settings)
    write_notebook(
        team.folder / "templates" / "pickled.ipynb",
        """
        import pickle

        import nbprod

        folder = nbprod.output("model")
        folder.mkdir(parents=True)
        (folder / "model.pkl").write_bytes(pickle.dumps({"weights": [1.0]}))
        nbprod.glue("model", folder)
        """,
        front_matter="title: Pickle\nkind: finetune\nscraps:\n  model: {type: model}",
    )
    (team.folder / "scheduler" / "pickled.yaml").write_text(PICKLE)

    done = team("jobs", "run", "pickled", "--quiet")

    assert done.code == 1
    run = team.json("runs", "show", "latest")["id"]
    assert done.out.split("\n\n")[1] == (
        f"  Step 'promote': The model of run {run} of pickled cannot be taken in as a model.\n"
        "  Only formats that cannot execute code may enter the registry:\n"
        "    model.pkl: it is a pickle, which runs code when it is loaded\n"
        "  Let the template save it in a format that may enter. What it left:\n"
        f"  nbprod runs show {run}"
    )
    assert team.json("models", "list") == []
