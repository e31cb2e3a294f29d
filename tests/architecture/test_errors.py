"""Every error says what happened and what to do, and is found where errors are looked for."""

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import nbprod.core.errors as errors
from nbprod.core.errors import NbprodError

PACKAGE = Path(__file__).parents[2] / "nbprod"


@pytest.fixture(scope="module")
def every_error() -> list[type[NbprodError]]:
    """Every subclass of the root, wherever in nbprod it stands."""
    for module in pkgutil.walk_packages(errors.__path__, "nbprod.core.errors."):
        importlib.import_module(module.name)
    return sorted(descendants(NbprodError), key=lambda error: error.__name__)


def descendants(parent: type[NbprodError]) -> Iterator[type[NbprodError]]:
    for child in parent.__subclasses__():
        if child.__module__.startswith("nbprod."):
            yield child
        yield from descendants(child)


def assigned(error: type[NbprodError]) -> set[str]:
    """Return what the class body or `__init__` of `error` assigns, by name or as `self.name`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(error)))):
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                names.add(name)
    return names


def test_there_are_errors_to_check(every_error: list[type[NbprodError]]) -> None:
    assert len(every_error) >= 20


def test_every_error_has_a_docstring_of_its_own(every_error: list[type[NbprodError]]) -> None:
    assert [error.__name__ for error in every_error if not error.__dict__.get("__doc__")] == []


@pytest.mark.parametrize("part", ["what", "do"])
def test_every_error_says_what_happened_and_what_to_do(
    every_error: list[type[NbprodError]], part: str
) -> None:
    # A parent that only groups its children, `StoreError` say, is never raised itself.
    silent = [
        error.__name__
        for error in every_error
        if not error.__subclasses__()
        and not any(
            part in assigned(ancestor)
            for ancestor in error.__mro__
            if issubclass(ancestor, NbprodError) and ancestor is not NbprodError
        )
    ]

    assert silent == []


def test_every_error_is_exported_and_in_the_tree(every_error: list[type[NbprodError]]) -> None:
    names = [error.__name__ for error in every_error]

    assert [name for name in names if name not in errors.__all__] == []
    assert [name for name in names if name not in (errors.__doc__ or "")] == []


def test_every_error_is_named_an_error(every_error: list[type[NbprodError]]) -> None:
    assert [error.__name__ for error in every_error if not error.__name__.endswith("Error")] == []


def test_errors_are_defined_nowhere_else() -> None:
    elsewhere = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not path.is_relative_to(PACKAGE / "core" / "errors")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in errors.__all__ for base in node.bases)
    ]

    assert elsewhere == []
