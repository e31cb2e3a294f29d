"""Imports point down the layers, and nothing heavy is loaded before it is needed."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = (
    "ipywidgets",
    "nbconvert",
    "nbformat",
    "pandas",
    "papermill",
    "pydantic",
    "scrapbook",
    "sklearn",
    "sqlalchemy",
    "torch",
    "transformers",
)


def modules_of(*rooms: str) -> list[str]:
    """Return the dotted name of every module of `rooms`."""
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for room in rooms
        for path in (ROOT / "nbprod" / room).rglob("*.py")
    )


def heavy_after(code: str) -> list[str]:
    """Run `code` in an interpreter of its own; return which heavy packages it loaded."""
    program = f"{code}\nimport json, sys\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout.splitlines()[-1])
    return sorted(set(HEAVY) & set(loaded))


def test_imports_point_down_the_layers() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_nbprod_loads_nothing_heavy() -> None:
    assert heavy_after("import nbprod") == []


def test_asking_for_help_loads_nothing_heavy() -> None:
    asking = (
        "from nbprod.cli.main import main\n"
        "import sys\n"
        "sys.argv = ['nbprod', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )

    assert heavy_after(asking) == []


@pytest.mark.parametrize("room", ["core", "cli"])
def test_importing_a_whole_room_loads_nothing_heavy(room: str) -> None:
    # Only the command zygote imports that one, to have everything loaded.
    modules = [module for module in modules_of(room) if module != "nbprod.cli.served"]

    assert heavy_after("\n".join(f"import {module}" for module in modules)) == []


def test_what_the_linter_bans_at_module_level_is_looked_for_here_too() -> None:
    # The linter knows module levels only; what is loaded on the way is seen here alone.
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    banned = settings["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"]

    assert sorted(set(banned) - set(HEAVY)) == []
