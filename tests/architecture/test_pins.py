"""constraints.txt pins everything that an installation brings, at what is installed here."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [
    Requirement(line)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in group
]


def pins(name: str = "constraints.txt") -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def closure(python: str) -> Iterator[str]:
    """Yield the name of every package that nbprod with all its extras brings on `python`.

    Follows what is installed here, so what only another Python needs is named, not entered.
    """
    todo = [*REQUIREMENTS, Requirement("hatchling"), Requirement("editables")]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if name == "nbprod" or key in seen:
            continue
        seen.add(key)
        yield name
        try:
            lines = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        here = [
            {"python_version": python, "python_full_version": f"{python}.0", "extra": extra}
            for extra in ("", *requirement.extras)
        ]
        todo += [
            inner
            for inner in map(Requirement, lines)
            if inner.marker is None or any(inner.marker.evaluate(place) for place in here)
        ]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_every_dependency_is_pinned(python: str) -> None:
    assert sorted(set(closure(python)) - pins().keys()) == []


def test_the_pins_are_what_is_installed() -> None:
    differing = {}
    for name, pinned in pins().items():
        try:
            installed = Version(distribution(name).version)
        except PackageNotFoundError:
            continue
        # torch's build says +cpu or +cu130; any build of the pinned release will do.
        if installed.public != pinned:
            differing[name] = (pinned, str(installed))

    assert differing == {}


@pytest.mark.parametrize(
    "name", ["constraints.txt", "constraints-mlflow.txt", "constraints-ploomber.txt"]
)
def test_pins_are_names_and_versions_only(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()

    odd = [line for line in lines if not re.fullmatch(r"(#.*|[a-z0-9-]+==[0-9][0-9a-z.]*|)", line)]

    assert odd == []


def test_every_lower_bound_admits_its_pin() -> None:
    pinned = pins()

    refused = [
        str(requirement)
        for requirement in REQUIREMENTS
        if requirement.name != "nbprod"
        and not requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])
    ]

    assert refused == []
