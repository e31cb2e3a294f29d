"""Which names a cell needs from cells above it, and which it gives to those below."""

import ast
import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

#: What IPython and every module have without defining them.
ALWAYS = frozenset(dir(builtins)) | {
    *("__name__", "__doc__", "__file__", "__builtins__", "get_ipython", "display"),
    *("In", "Out", "_", "__", "___", "_i", "_ih", "_oh", "_dh", "exit", "quit"),
}


@dataclass(slots=True)
class Scope:
    """The names of one cell, in the order in which running it top to bottom meets them."""

    needs: dict[str, int] = field(default_factory=dict)  #: name -> line; used before it is defined
    gives: set[str] = field(default_factory=set)
    has_star_import: bool = False  #: anything may be defined from here on


def scope_of(tree: ast.Module) -> Scope:
    """Return what the cell's top level needs and gives.

    Bodies of functions and lambdas run later, perhaps after names that stand below, so they need
    nothing here. Both branches of a condition count as run: a doubt is no finding.
    """
    reader = _Reader()
    for statement in tree.body:
        reader.visit(statement)
    return reader.scope


class _Reader(ast.NodeVisitor):
    """Visits expressions before the targets that they are assigned to."""

    def __init__(self) -> None:
        self.scope = Scope()
        self.local: list[set[str]] = []  # of comprehensions and class bodies around us

    # names

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.need(node.id, node.lineno)
        elif isinstance(node.ctx, ast.Store):
            self.give(node.id)

    def need(self, name: str, line: int) -> None:
        known = any(name in names for names in self.local) or name in self.scope.gives
        if not known and name not in ALWAYS:
            self.scope.needs.setdefault(name, line)

    def give(self, name: str) -> None:
        (self.local[-1] if self.local else self.scope.gives).add(name)

    # statements whose parts run in another order than ast lists them

    def visit_Assign(self, node: ast.Assign) -> None:
        self.each([node.value, *node.targets])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.each([node.annotation, node.value])
        if node.value is not None:
            self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.need(node.target.id, node.lineno)
        self.each([node.value, node.target])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.each([node.iter, node.target, *node.body, *node.orelse])

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.visit_For(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.scope.gives.add(node.target.id)  # out of a comprehension, by PEP 572

    # statements that give names without a Name node

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.give(alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.scope.has_star_import = True
            else:
                self.give(alias.asname or alias.name)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.each([node.type])
        if node.name:
            self.give(node.name)
        self.each(node.body)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self.each([node.pattern])
        if node.name:
            self.give(node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.give(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest:
            self.give(node.rest)

    # scopes of their own

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = node.args
        self.each([*node.decorator_list, *arguments.defaults, *arguments.kw_defaults])
        self.give(node.name)
        for name in _declared_global(node):
            self.scope.gives.add(name)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.each([*node.args.defaults, *node.args.kw_defaults])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.each([*node.decorator_list, *node.bases, *(word.value for word in node.keywords)])
        self.local.append(set())
        self.each(node.body)
        self.local.pop()
        self.give(node.name)

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> None:
        self.comprehension(node.generators, [node.elt])

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self.comprehension(node.generators, [node.elt])

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self.comprehension(node.generators, [node.elt])

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self.comprehension(node.generators, [node.key, node.value])

    def comprehension(
        self, generators: Iterable[ast.comprehension], results: Iterable[ast.expr]
    ) -> None:
        self.local.append(set())
        for generator in generators:
            self.each([generator.iter, generator.target, *generator.ifs])
        self.each(results)
        self.local.pop()

    def each(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)


def _declared_global(node: ast.AST) -> Iterator[str]:
    for inside in ast.walk(node):
        if isinstance(inside, ast.Global):
            yield from inside.names
