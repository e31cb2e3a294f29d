"""What `check` looks for: a rule has a code, a title, and a reason that convinces.

A rule is a function from a read notebook to (cell, line, message). To add one: write it here,
decorate it, and give it a notebook that breaks it in `tests/notebook/test_rules.py`. Codes are
never used again for something else.
"""

import ast
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from nbprod.core.errors.notebook import suggest
from nbprod.core.scraps import ScrapDeclaration
from nbprod.notebook.front_matter import KEYS, is_front_matter
from nbprod.notebook.reading import Reading
from nbprod.notebook.template import parameters_cell

#: (index of the cell from 0, or None for the file; line of the cell from 1, or None; message)
Hit = tuple[int | None, int | None, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that a good template does not do."""

    code: str
    title: str
    why: str
    find: Callable[[Reading], Iterator[Hit]]


_rules: list[Rule] = []


def rule(
    code: str, title: str, *, why: str
) -> Callable[[Callable[[Reading], Iterator[Hit]]], Callable[[Reading], Iterator[Hit]]]:
    """Enter the decorated function as a rule."""

    def enter(find: Callable[[Reading], Iterator[Hit]]) -> Callable[[Reading], Iterator[Hit]]:
        _rules.append(Rule(code=code, title=title, why=why, find=find))
        return find

    return enter


@rule(
    "NB001",
    "no parameters cell",
    why="Without one nothing can be set from outside: no sweep, no job, no form.",
)
def no_parameters_cell(reading: Reading) -> Iterator[Hit]:
    if not reading.template.has_parameters_cell:
        yield None, None, "No code cell has the tag `parameters`."


@rule(
    "NB002",
    "undeclared scrap",
    why="What front matter does not declare is not checked, has no unit and no direction, and "
    "nobody who reads the template knows that it is there.",
)
def undeclared_scrap(reading: Reading) -> Iterator[Hit]:
    declared = _declared(reading)
    if not reading.template.front_matter.is_present:
        return  # NB009 says what is missing
    for cell, line, name in reading.glued:
        if name is not None and name not in declared:
            hint = suggest(name, tuple(declared))
            yield cell, line, f"Scrap {name!r} is glued, and `scraps` does not declare it.{hint}"


_MACHINE_ROOTS = (
    *("Users", "Volumes", "content", "data", "dbfs", "etc", "home", "kaggle", "media", "mnt"),
    *("opt", "private", "proj", "root", "scratch", "srv", "tmp", "usr", "var", "work", "workspace"),
)
_ABSOLUTE = re.compile(
    rf"/(?:{'|'.join(_MACHINE_ROOTS)})(?:/[^\s'\"<>|*?]*)?"
    r"|/(?:[^\s'\"<>|*?/]+/)*[^\s'\"<>|*?/]+\.[A-Za-z][A-Za-z0-9]{1,7}"
    r"|[A-Za-z]:[\\/][^\s<>|*?\"]*"
    r"|~[^/\s]*/[^\s]*"
)


@rule(
    "NB003",
    "absolute path",
    why="It exists on one machine. Write it below the workspace and resolve it with "
    "nbprod.path(...).",
)
def absolute_path(reading: Reading) -> Iterator[Hit]:
    for index, tree in reading.trees.items():
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        pieces = {
            id(piece)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for piece in node.values[1:]
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            if id(node) not in prose | pieces and _ABSOLUTE.fullmatch(node.value):
                yield index, node.lineno, f"{node.value!r} is an absolute path."


@rule(
    "NB004",
    "outputs committed",
    why="They are from some other run, hide what changed in a diff, and may hold data that "
    "should not be in the repository. The executed notebook of each run is kept for you.",
)
def outputs_committed(reading: Reading) -> Iterator[Hit]:
    for cell in reading.cells:
        if cell.outputs:
            many = "1 output is" if cell.outputs == 1 else f"{cell.outputs} outputs are"
            yield cell.index, None, f"{many} saved with the cell."


_RANDOM = (
    *("torch", "numpy", "random", "sklearn", "transformers", "tensorflow", "jax", "keras"),
    *("lightgbm", "xgboost", "catboost", "nbprod.ml"),
)
_SEEDING = ("seed", "manual_seed", "set_seed", "seed_everything", "set_random_seed", "PRNGKey")
_SEEDED = ("default_rng", "RandomState", "SeedSequence", "Random")


@rule(
    "NB005",
    "unset seed",
    why="Two runs with the same parameters then give different numbers, and nobody can tell a "
    "better model from a luckier one.",
)
def unset_seed(reading: Reading) -> Iterator[Hit]:
    if any("seed" in parameter.name.lower() for parameter in reading.template.parameters):
        return
    if any(parameter.name == "random_state" for parameter in reading.template.parameters):
        return
    for _, call, called in reading.calls:
        last = called.rpartition(".")[2]
        if last in _SEEDING or (last in _SEEDED and (call.args or call.keywords)):
            return
        if any(word.arg in ("seed", "random_state", "random_seed") for word in call.keywords):
            return
    for index, tree in reading.trees.items():
        for module, line in _imports(tree):
            if any(module == name or module.startswith(f"{name}.") for name in _RANDOM):
                yield (
                    index,
                    line,
                    f"{module} is imported, and there is neither a parameter `seed` nor a call "
                    "that sets one.",
                )
                return


@rule(
    "NB006",
    "never run top to bottom",
    why="A run starts with an empty kernel and goes down the page once. What only worked because "
    "a cell further down had been run before will fail there.",
)
def cell_order(reading: Reading) -> Iterator[Hit]:
    given: dict[str, int] = {}
    for index, scope in reading.scopes.items():
        for name in scope.gives:
            given.setdefault(name, index)
    # `model: str` has no value until a run gives it one
    known = {one.name for one in reading.template.parameters if not one.has_default}
    anything = bool(reading.unreadable)
    for index, scope in reading.scopes.items():
        for name, line in scope.needs.items():
            if name in known:
                continue
            if name in given and given[name] > index:
                below = given[name] + 1
                yield index, line, f"{name!r} is used here, and defined only in cell {below}."
            elif not anything and name not in scope.gives and not scope.has_star_import:
                yield index, line, f"{name!r} is used here, and defined nowhere."
            elif name in scope.gives and given[name] == index:
                yield index, line, f"{name!r} is used here before the line that defines it."
            known.add(name)  # once is enough
        known |= scope.gives
        anything = anything or scope.has_star_import
    counted = [cell for cell in reading.code if cell.execution_count is not None]
    for before, cell in itertools.pairwise(counted):
        if (cell.execution_count or 0) <= (before.execution_count or 0):
            yield (
                cell.index,
                None,
                f"It was last run as [{cell.execution_count}], before cell {before.index + 1} "
                f"above it as [{before.execution_count}].",
            )


@rule(
    "NB007",
    "unknown front-matter key",
    why="nbprod does nothing with it, and neither does Quarto; it is probably misspelt.",
)
def unknown_front_matter_key(reading: Reading) -> Iterator[Hit]:
    for key in reading.template.front_matter.unknown:
        known = ", ".join(KEYS)
        yield 0, key.line, f"There is no front-matter key {key.name!r}. Known keys: {known}."


@rule(
    "NB008",
    "required scrap never glued",
    why="Every run would fail at its end, after all the work, because the scrap is missing.",
)
def required_scrap_never_glued(reading: Reading) -> Iterator[Hit]:
    names = {name for _, _, name in reading.glued}
    if None in names:
        return  # a name that is computed may be any of them
    for name, scrap in _declared(reading).items():
        if scrap.required and name not in names:
            yield 0, None, f"Scrap {name!r} is required, and no cell glues it."


@rule(
    "NB009",
    "no front matter, title or kind",
    why="`nbprod templates list`, reports and the portal show what the template says of itself.",
)
def no_front_matter(reading: Reading) -> Iterator[Hit]:
    found = reading.template.front_matter
    if not found.is_present:
        misplaced = next(
            (
                cell
                for cell in reading.cells
                if is_front_matter(cell.source) and "\n---" in cell.source.rstrip()
            ),
            None,
        )
        if misplaced is None:
            yield None, None, "The first cell is no raw cell of YAML between two lines of ---."
        else:
            problem = "This looks like front matter, which must be the first cell, of type raw."
            yield misplaced.index, None, problem
        return
    if not found.title:
        yield 0, None, "The front matter has no title."
    if found.kind is None:
        yield 0, None, "The front matter has no kind."


@rule(
    "NB010",
    "parameter without a type",
    why="Without an annotation nothing is refused: `epochs=ten` fails an hour later, in a cell.",
)
def parameter_without_type(reading: Reading) -> Iterator[Hit]:
    for parameter in reading.template.parameters:
        if parameter.annotation is None:
            problem = f"Parameter {parameter.name!r} has no annotation."
            if parameter.written:
                problem = (
                    f"The annotation {parameter.written!r} of parameter {parameter.name!r} is not "
                    "understood by reading alone."
                )
            yield _cell(reading), parameter.line, problem


@rule(
    "NB011",
    "parameter without help",
    why="Whoever starts the run sees this comment on the command line and in the form, "
    "and nothing else.",
)
def parameter_without_help(reading: Reading) -> Iterator[Hit]:
    for parameter in reading.template.parameters:
        if not parameter.help:
            problem = f"Parameter {parameter.name!r} has no comment behind it."
            yield _cell(reading), parameter.line, problem


@rule(
    "NB012",
    "default does not fit its type",
    why="The template refuses its own default as soon as somebody writes it down.",
)
def default_does_not_fit(reading: Reading) -> Iterator[Hit]:
    from nbprod.notebook.binding import fits
    from nbprod.notebook.types import describe

    for parameter in reading.template.parameters:
        if not fits(parameter):
            problem = (
                f"The default of parameter {parameter.name!r} is {parameter.default!r}; it takes "
                f"{describe(parameter.annotation)}."
            )
            yield _cell(reading), parameter.line, problem


@rule(
    "NB013",
    "default only known by running",
    why="The parameters of a run are on record before its kernel starts; this one would not be.",
)
def computed_default(reading: Reading) -> Iterator[Hit]:
    for parameter in reading.template.parameters:
        if parameter.is_computed:
            problem = f"The default of parameter {parameter.name!r} is computed."
            yield _cell(reading), parameter.line, problem


@rule(
    "NB014",
    "parameters cell does more than set parameters",
    why="Injected values come in the cell below it. What is computed from a parameter up here "
    "still has the default's value there.",
)
def parameters_cell_works(reading: Reading) -> Iterator[Hit]:
    first = _cell(reading)
    tree = None if first is None else reading.trees.get(first)
    for statement in tree.body if tree else ():
        if isinstance(statement, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign):
            continue
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not is_text and not isinstance(statement, ast.Pass):
            problem = "This statement is neither an import nor a parameter."
            yield first, statement.lineno, problem


@rule(
    "NB015",
    "parameter overwritten",
    why="What was given from outside is thrown away without a word.",
)
def parameter_overwritten(reading: Reading) -> Iterator[Hit]:
    names = {parameter.name for parameter in reading.template.parameters}
    first = _cell(reading)
    for index, tree in reading.trees.items():
        if first is None or index <= first:
            continue
        for statement in tree.body:
            if not isinstance(statement, ast.Assign | ast.AnnAssign):
                continue
            if not isinstance(statement.value, ast.Constant):
                continue  # `data = nbprod.path(data)` is good practice
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if isinstance(target, ast.Name) and target.id in names:
                    problem = f"Parameter {target.id!r} is set to a fixed value here."
                    yield index, statement.lineno, problem


@rule(
    "NB016",
    "cell that cannot run",
    why="A run would fail when it reaches this cell, after the cells above have done their work.",
)
def syntax_error(reading: Reading) -> Iterator[Hit]:
    for index, error in reading.unreadable:
        yield index, error.lineno, f"It is not Python: {error.msg}."


@rule(
    "NB017",
    "credential in the notebook",
    why="Parameters and cells are kept in every executed notebook and in the store, for all to "
    "read.",
)
def credential(reading: Reading) -> Iterator[Hit]:
    for parameter in reading.template.parameters:
        is_text = isinstance(parameter.default, str) and len(parameter.default) >= 4
        if is_text and _CREDENTIAL.search(parameter.name):
            problem = f"Parameter {parameter.name!r} has a credential as its default."
            yield _cell(reading), parameter.line, problem


_CREDENTIAL = re.compile(
    r"(?:^|_)(?:password|passwd|secret|api_?key|access_?key|auth_?token|access_?token|token)$",
    re.IGNORECASE,
)


@rule(
    "NB018",
    "several parameters cells",
    why="Only the first one is read, and injected values come below that one: the second "
    "overwrites them.",
)
def several_parameters_cells(reading: Reading) -> Iterator[Hit]:
    first = _cell(reading)
    for cell in reading.cells:
        if "parameters" in cell.tags and cell.index != first:
            yield cell.index, None, "This cell, too, has the tag `parameters`."


#: Every rule by its code.
RULES: Mapping[str, Rule] = {found.code: found for found in _rules}


def _declared(reading: Reading) -> dict[str, ScrapDeclaration]:
    return {scrap.name: scrap for scrap in reading.template.front_matter.scraps}


def _cell(reading: Reading) -> int | None:
    found = parameters_cell(reading.cells)
    return None if found is None else found.index


def _imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno
