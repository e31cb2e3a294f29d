import sys
from pathlib import Path

import pytest

from nbprod.core.errors import UnknownTemplateError
from nbprod.notebook.discovery import Found, builtin_folder, find_template, find_templates
from nbprod.notebook.template import Origin
from tests.notebook.conftest import GOOD, MakeNotebook

PERCENT = '# %% tags=["parameters"]\nrows = 3\n'


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_notebook: MakeNotebook) -> Path:
    """An installed distribution `team-notebooks` that brings templates, and one that is broken."""
    site = tmp_path / "site"
    make_notebook(GOOD, name="site/team_notebooks/pages/shared.ipynb")
    make_notebook(GOOD, name="site/team_notebooks/pages/explore_text.ipynb")
    (site / "team_notebooks" / "__init__.py").write_text(
        "from pathlib import Path\n\n\ndef pages():\n    return Path(__file__).parent / 'pages'\n"
    )
    for name, entry in [("team-notebooks", "team_notebooks:pages"), ("broken", "not_there:pages")]:
        info = site / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[nbprod.templates]\n{name} = {entry}\n")
    monkeypatch.syspath_prepend(site)
    yield site
    sys.modules.pop("team_notebooks", None)


def test_the_built_in_templates_are_found_through_the_entry_point() -> None:
    names = {path.stem for path in builtin_folder().glob("*.ipynb")}

    found = find_templates(None)

    assert names
    assert names <= found.keys()
    assert {found[name].origin for name in names} == {Origin.BUILTIN}
    assert {found[name].package for name in names} == {"nbprod"}


def test_names_are_paths_below_the_folder_and_strangers_are_left_out(
    tmp_path: Path, make_notebook: MakeNotebook
) -> None:
    for name in ("a.ipynb", "deep/er/b.ipynb", ".ipynb_checkpoints/a-checkpoint.ipynb"):
        make_notebook(GOOD, name=f"templates/{name}")
    folder = tmp_path / "templates"
    (folder / "script.py").write_text(PERCENT)
    (folder / "a.py").write_text(PERCENT)  # the other half of a jupytext pair
    (folder / "module.py").write_text("x = 1\n")
    (folder / "notes.md").write_text("# %%\n")

    found = find_templates(folder)

    mine = {name: one.path for name, one in found.items() if one.origin is Origin.WORKSPACE}
    assert mine == {
        "a": folder / "a.ipynb",
        "deep/er/b": folder / "deep" / "er" / "b.ipynb",
        "script": folder / "script.py",
    }


@pytest.mark.usefixtures("package")
def test_packages_bring_templates_and_a_broken_one_hides_nobody_elses(
    tmp_path: Path, make_notebook: MakeNotebook, caplog: pytest.LogCaptureFixture
) -> None:
    make_notebook(GOOD, name="templates/shared.ipynb")

    found = find_templates(tmp_path / "templates")
    without_workspace = find_templates(None)

    assert found["shared"].origin is Origin.WORKSPACE
    assert without_workspace["shared"] == Found(
        name="shared",
        path=tmp_path / "site" / "team_notebooks" / "pages" / "shared.ipynb",
        origin=Origin.PACKAGE,
        package="team-notebooks",
    )
    assert without_workspace["explore_text"].package == "team-notebooks"  # before the built-in
    assert "the templates of package broken cannot be found" in caplog.text


def test_a_template_is_found_by_name_and_by_path(
    tmp_path: Path, make_notebook: MakeNotebook
) -> None:
    folder = tmp_path / "templates"
    make_notebook(GOOD, name="templates/count.ipynb")
    elsewhere = make_notebook(GOOD, name="any/where.ipynb")

    by_name = find_template("count", folder=folder, cwd=tmp_path)
    by_path = find_template("templates/count.ipynb", folder=folder, cwd=tmp_path)
    from_inside = find_template("count.ipynb", folder=folder, cwd=folder)
    stranger = find_template("any/where.ipynb", folder=folder, cwd=tmp_path)
    absolute = find_template(str(elsewhere), folder=None, cwd=folder)

    assert (by_name.name, by_name.origin) == ("count", Origin.WORKSPACE)
    assert by_path == by_name == from_inside
    assert (stranger.name, stranger.origin) == ("any/where.ipynb", Origin.FILE)
    assert absolute == stranger


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("finetune_text_classifer", "There is no template named 'finetune_text_classifer'. "
         "Did you mean 'finetune_text_classifier'?"),
        ("zzz", "There is no template named 'zzz'."),
        ("any/where.ipynb", "There is no file 'any/where.ipynb'."),
    ],
)  # fmt: skip
def test_an_unknown_template_is_refused_with_the_nearest_name(
    tmp_path: Path, name: str, what: str
) -> None:
    known = ", ".join(find_templates(None))

    with pytest.raises(UnknownTemplateError) as caught:
        find_template(name, folder=None, cwd=tmp_path)

    assert str(caught.value) == (
        f"{what}\nKnown templates: {known}.\nSee where each comes from with: nbprod templates list"
    )


def test_a_missing_folder_holds_no_templates(tmp_path: Path) -> None:
    assert find_templates(tmp_path / "nowhere") == find_templates(None)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("explore_txt", "explore_text"), ("fine", "finetune_text_classifier"), ("xyz", None)],
)
def test_a_name_that_is_misspelt_or_only_begun(tmp_path: Path, asked: str, meant: str) -> None:
    with pytest.raises(UnknownTemplateError) as raised:
        find_template(asked, folder=None, cwd=tmp_path)

    hint = f" Did you mean {meant!r}?" if meant else ""
    assert str(raised.value).splitlines()[0] == f"There is no template named {asked!r}.{hint}"


def test_folders_that_are_linked_are_entered_once(
    tmp_path: Path, make_notebook: MakeNotebook
) -> None:
    make_notebook(GOOD, name="shared/fit.ipynb")
    own = tmp_path / "team" / "templates"
    own.mkdir(parents=True)
    (own / "common").symlink_to(tmp_path / "shared")
    (own / "round").symlink_to(own)
    (own / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "linked").symlink_to(own)

    for folder in (own, tmp_path / "linked"):
        found = find_templates(folder)
        ours = [name for name, at in found.items() if at.origin is Origin.WORKSPACE]
        assert ours == ["common/fit"]
