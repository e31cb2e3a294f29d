"""Modules stay short, rooms say what they own, and public names are in order."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "nbprod").rglob("*.py"))
GRAB_BAGS = {"base", "common", "helpers", "misc", "utils"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def isort_style(name: str) -> tuple[int, list[str | int], str]:
    """Order names as the linter does: CONSTANTS, Classes, functions; numbers by value."""
    rank = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    parts = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
    return rank, parts, name


def public_names(path: Path) -> list[str]:
    """Return the literal `__all__` of the module; empty where it has none."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return list(ast.literal_eval(value))
    return []


def test_no_module_passes_600_lines() -> None:
    sources = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))]

    assert [named(path) for path in sources if path.read_text().count("\n") > 600] == []


def test_no_module_is_a_grab_bag() -> None:
    assert [named(path) for path in SOURCES if path.stem in GRAB_BAGS] == []


def test_every_module_says_what_it_is_for() -> None:
    spoken = [path for path in SOURCES if path.stat().st_size]

    assert [named(path) for path in spoken if not docstring(path)] == []


def test_every_room_says_what_it_may_import() -> None:
    rooms = [path for path in SOURCES if path.parent.parent == ROOT / "nbprod"]
    inits = [path for path in rooms if path.name == "__init__.py"]

    assert [named(path) for path in inits if "May import:" not in docstring(path)] == []


def test_every_list_of_public_names_is_sorted() -> None:
    unsorted = [
        named(path)
        for path in SOURCES
        if public_names(path) != sorted(public_names(path), key=isort_style)
    ]

    assert unsorted == []


def test_every_public_class_and_function_of_a_listed_module_has_a_docstring() -> None:
    silent = [
        f"{named(path)}: {node.name}"
        for path in SOURCES
        for node in parse(path).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and node.name in public_names(path)
        and not ast.get_docstring(node)
    ]

    assert silent == []


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def docstring(path: Path) -> str:
    return ast.get_docstring(parse(path)) or ""
