"""A newcomer's first ten minutes: a workspace, a template, a run, a page."""

import json
from pathlib import Path

import pytest

from tests.acceptance.conftest import Cli, write_notebook


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


MADE = [
    ".gitignore",
    "nbprod.toml",
    "notebooks",
    "notebooks/README.md",
    "scheduler",
    "scheduler/README.md",
    "templates",
    "templates/README.md",
]


def test_init_makes_a_workspace_in_a_new_folder(tmp_path: Path) -> None:
    done = Cli(tmp_path)("init", "my-team")

    team = tmp_path / "my-team"
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        f"{team} is a workspace.\n"
        "Begin with:\n"
        f"  cd {team}\n"
        "  nbprod templates list\n"
        "  nbprod templates new first_look --kind explore && nbprod run first_look\n"
    )
    assert names(team) == MADE
    assert Cli(team).ok("runs", "list") == ""
    assert (team / ".gitignore").read_text() == ".nbprod/\n.ipynb_checkpoints/\n"


def test_init_leaves_what_is_there_and_does_so_only_once(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    (tmp_path / ".gitignore").write_text("*.tmp")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "mine.ipynb").write_text("mine")

    cli.ok("init")

    assert (tmp_path / ".gitignore").read_text() == "*.tmp\n.nbprod/\n.ipynb_checkpoints/\n"
    assert (tmp_path / "notebooks" / "mine.ipynb").read_text() == "mine"
    assert not (tmp_path / "notebooks" / "README.md").exists()
    before = (tmp_path / "nbprod.toml").read_bytes()

    again = cli("init")

    assert (again.code, again.out) == (1, "")
    assert again.err == (
        f"{tmp_path} is a workspace already.\n"
        "It holds an nbprod.toml, which init would not overwrite.\n"
        f"Go on in it: cd {tmp_path} && nbprod templates list\n"
    )
    assert (tmp_path / "nbprod.toml").read_bytes() == before


def test_init_says_what_can_be_pasted_where_names_have_spaces(tmp_path: Path) -> None:
    done = Cli(tmp_path)("init", "my ünï team")

    assert done.out.splitlines()[2] == f"  cd '{tmp_path}/my ünï team'"


def test_init_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("notes")

    done = Cli(tmp_path)("init", "notes")

    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"{tmp_path}/notes cannot become a workspace.\n"
        "It is a file, not a folder.\n"
        f"Choose another name: nbprod init {tmp_path}/notes-workspace\n"
    )
    assert (tmp_path / "notes").read_text() == "notes"


def test_outside_a_workspace_there_is_a_way_in(tmp_path: Path) -> None:
    done = Cli(tmp_path)("runs", "list")

    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"There is no nbprod workspace in {tmp_path}.\n"
        "Neither this folder nor any folder above it holds an nbprod.toml.\n"
        "Go to your workspace, or make one here: nbprod init .\n"
    )
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("rns",), "There is no command 'rns'. Did you mean: nbprod runs"),
        (("xyzzy",), "There is no command 'xyzzy'. See them all: nbprod --help"),
        (("runs", "lst"), "No such command 'lst'. Did you mean 'list'?"),
        (("runs", "compare", "one"), "Comparing takes two runs or more: nbprod runs list"),
    ],
)
def test_a_misspelt_command_is_misuse(tmp_path: Path, asked: tuple[str, ...], said: str) -> None:
    done = Cli(tmp_path)(*asked)

    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1] == f"Error: {said}"


def test_a_starter_runs_and_gets_a_page(team: Cli) -> None:
    made = team("templates", "new", "first_look", "--kind", "explore")
    path = team.folder / "templates" / "first_look.ipynb"
    assert (made.code, made.out) == (0, f"{path}\n")
    assert made.err == "Run it: nbprod run first_look\n"
    assert team("templates", "check").err == "1 template checked, nothing found.\n"
    before = path.read_bytes()

    shown = team("run", "first_look", "-p", "sample_rows=3")

    assert shown.code == 0, shown.err
    assert shown.err.startswith("first_look: started, 12 cells\n")
    run = team.json("runs", "show", "latest")
    assert (run["status"], run["parameters"]["sample_rows"]) == ("succeeded", 3)
    assert shown.out.splitlines()[0].startswith(f"{run['id']}  first_look  succeeded  ")
    assert shown.out.splitlines()[-1] == f"  notebook: {run['notebook']}"
    assert path.read_bytes() == before
    page = Path(team.ok("reports", "make", run["id"]).strip())
    assert page == team.folder / ".nbprod" / "reports" / f"{run['id']}.html"
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "sample_rows" in text


def test_every_reader_speaks_json(team: Cli) -> None:
    write_notebook(
        team.folder / "templates" / "half.ipynb",
        "import nbprod; nbprod.glue('half', alpha / 2)",
        parameters="alpha: float = 1.0  # to be halved",
        front_matter="title: Halve\nkind: explore\nscraps:\n  half: {type: number}",
    )
    job = "job: nightly\nsteps:\n  - {id: once, run: half}\n"
    (team.folder / "scheduler" / "nightly.yaml").write_text(job)
    ran = team.json("run", "half", "-p", "alpha=3")
    assert (ran["status"], ran["scraps"]["half"]["value"]) == ("succeeded", 1.5)

    listed = {entry["name"]: entry for entry in team.json("templates", "list")}
    shown = team.json("templates", "show", "half")
    found = json.loads(team("templates", "check", "half", "--json").out)
    assert listed["half"]["origin"] == "workspace"
    assert shown["schema"]["properties"]["alpha"]["type"] == "number"
    assert {entry["finding"]["code"] for entry in found} <= {"NB010", "NB012", "NB005"}, found
    assert {rule["code"] for rule in team.json("templates", "check", "--rules")} >= {"NB001"}
    assert [run["id"] for run in team.json("runs", "list")] == [ran["id"]]
    assert team.json("runs", "show", ran["id"][:-2])["scraps"] == ran["scraps"]
    assert team.json("runs", "compare", ran["id"], "latest")["rows"]["half"] == [1.5, 1.5]
    assert team.json("jobs", "list")[0]["job"] == "nightly"
    assert team.json("jobs", "show", "nightly")["job"]["steps"][0]["target"] == "half"
    assert team.json("models", "list") == []
    doctor = {finding["subject"]: finding["state"] for finding in team.json("doctor")}
    assert (doctor["workspace"], doctor["store"], doctor["kernels"]) == ("good",) * 3
