"""`nbprod init`: begin a workspace."""

import shlex
from pathlib import Path

import click

from nbprod.core.errors import NotAFolderError, WorkspaceExistsError

SETTINGS = """\
[workspace]
name = "{name}"
store = "sqlite:///.nbprod/store.db"      # postgresql+psycopg://... for several machines
artifacts = ".nbprod/artifacts"           # any fsspec URL

# A model that a job may promote, and the gates it must pass:
#
# [models.my-model]
# description = "What does it answer?"
# gates = [
#   {{scrap = "macro_f1", min = 0.55}},
#   {{scrap = "macro_f1", not_worse_than = "champion", margin = 0.02, confidence = 0.95}},
#   {{scrap = "macro_f1", beats = "baseline", confidence = 0.95}},
# ]
"""
IGNORE = ".nbprod/\n.ipynb_checkpoints/\n"
KEEP = {
    "templates": "Templates: notebooks meant to be run many times. nbprod templates new NAME\n",
    "notebooks": "Notebooks to explore in. Any of them runs: nbprod run notebooks/x.ipynb\n",
    "scheduler": "Job files: steps that belong together. nbprod jobs list\n",
}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=".")
def init(folder: Path) -> None:
    """Make a workspace in FOLDER.

    It gets nbprod.toml, templates/, notebooks/, scheduler/ and .gitignore.

    Files that are there already are left as they are.
    """
    folder = folder.resolve()
    if (folder / "nbprod.toml").exists():
        raise WorkspaceExistsError(folder)
    if folder.exists() and not folder.is_dir():
        raise NotAFolderError(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in KEEP.items():
        (folder / name).mkdir(exist_ok=True)
        if not any((folder / name).iterdir()):
            (folder / name / "README.md").write_text(text, encoding="utf-8")
    ignore = folder / ".gitignore"
    former = ignore.read_text(encoding="utf-8") if ignore.exists() else ""
    if ".nbprod/" not in former.splitlines():
        ends = "" if not former or former.endswith("\n") else "\n"
        ignore.write_text(former + ends + IGNORE, encoding="utf-8")
    name = folder.name.replace('"', "").replace("\\", "") or "workspace"
    # Last, so that an interrupted init can be repeated: this file is what makes a workspace.
    (folder / "nbprod.toml").write_text(SETTINGS.format(name=name), encoding="utf-8")
    click.echo(f"{folder} is a workspace.")
    click.echo("Begin with:")
    if folder != Path.cwd():
        click.echo(f"  cd {shlex.quote(str(folder))}")
    click.echo("  nbprod templates list")
    click.echo("  nbprod templates new first_look --kind explore && nbprod run first_look")
