"""Every door for plugins is documented, and leads somewhere."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

ROOT = Path(__file__).parents[2]
GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]


def test_every_group_of_entry_points_is_in_the_architecture_page() -> None:
    page = (ROOT / "docs/architecture.md").read_text()

    assert [group for group in GROUPS if f"`{group}`" not in page] == []


def test_every_group_that_the_code_asks_for_is_declared() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "nbprod").rglob("*.py"))

    unused = [group for group in GROUPS if group.startswith("nbprod.") and group not in source]

    assert unused == []


def test_every_entry_point_leads_to_something_with_a_docstring() -> None:
    found = {
        f"{group}: {name} = {value}": EntryPoint(name, value, group).load()
        for group, entries in GROUPS.items()
        for name, value in entries.items()
    }

    assert [entry for entry, target in found.items() if not target.__doc__] == []
