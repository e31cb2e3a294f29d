"""A template's code as syntax trees, each made once for all the rules that look at it."""

import ast
from functools import cached_property

from nbprod.notebook.cells import parse
from nbprod.notebook.scopes import Scope, scope_of
from nbprod.notebook.template import Cell, Template


class Reading:
    """A template with the syntax tree of every code cell."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.cells = template.cells

    @cached_property
    def code(self) -> list[Cell]:
        """Return the code cells, if they are Python."""
        if self.template.language != "python":
            return []
        return [cell for cell in self.cells if cell.type == "code"]

    @cached_property
    def trees(self) -> dict[int, ast.Module]:
        """Return cell index -> tree, of the cells that can be read."""
        return {index: tree for index, tree, _ in self._parsed if tree is not None}

    @cached_property
    def unreadable(self) -> list[tuple[int, SyntaxError]]:
        """Return the cells that are no Python."""
        return [(index, error) for index, _, error in self._parsed if error is not None]

    @cached_property
    def scopes(self) -> dict[int, Scope]:
        """Return cell index -> names, of the cells that can be read."""
        return {index: scope_of(tree) for index, tree in self.trees.items()}

    @cached_property
    def calls(self) -> list[tuple[int, ast.Call, str]]:
        """Return (cell, call, dotted name of what is called) throughout."""
        return [
            (index, node, dotted(node.func))
            for index, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
        ]

    @cached_property
    def glued(self) -> list[tuple[int, int, str | None]]:
        """Return (cell, line, name) of every `glue` call; the name is None where it is computed."""
        return [
            (index, call.lineno, _first_text(call, "name"))
            for index, call, called in self.calls
            if called == "glue" or called.endswith(".glue")
        ]

    @cached_property
    def _parsed(self) -> list[tuple[int, ast.Module | None, SyntaxError | None]]:
        found: list[tuple[int, ast.Module | None, SyntaxError | None]] = []
        for cell in self.code:
            try:
                found.append((cell.index, parse(cell.source), None))
            except SyntaxError as error:
                found.append((cell.index, None, error))
        return found


def dotted(node: ast.expr) -> str:
    """Return `np.random.seed` for that expression; "" for no dotted name."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            above = dotted(value)
            return f"{above}.{attr}" if above else attr
    return ""


def _first_text(call: ast.Call, name: str) -> str | None:
    value = call.args[0] if call.args else None
    for word in call.keywords:
        if word.arg == name:
            value = word.value
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    return None
