"""Read the parameters cell: names, annotations, defaults and help. Nothing in it is executed.

papermill's own inspector goes by regular expressions: it drops unions, Literal and Annotated, and
breaks on `#` in strings. Here `ast` says what is assigned and `tokenize` what is a comment.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from nbprod.core.errors.notebook import ParametersCellError
from nbprod.notebook.annotations import Misused, Names, NotUnderstood, canonical_annotation
from nbprod.notebook.cells import parse, plain_python
from nbprod.notebook.defaults import read_default

#: papermill reads `# type: int the help` as an annotation; so do we.
_TYPE_COMMENT = re.compile(r"type:\s*([\w.]+(?:\[[^#]*\])?)\s*#?\s*(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One thing that may be set from outside."""

    name: str
    annotation: str | None = None  #: in canonical names; None where there is none, or none we know
    written: str = ""  #: the annotation as it stands in the cell
    default: object = None  #: a typed value: 3, Path("a"), date(2026, 1, 31)
    has_default: bool = False
    is_computed: bool = False  #: the default can only be known by running the cell
    help: str = ""  #: the trailing comment, else Field's description
    line: int = 1  #: of the cell, from 1


def read_parameters(source: str, *, where: str) -> tuple[Parameter, ...]:
    """Return what the cell assigns at its top level, in order; the last assignment counts.

    Args:
        source: the text of the cell tagged `parameters`.
        where: the file and cell, for errors: `templates/x.ipynb, cell 2`.

    Raises:
        ParametersCellError: when the cell is not Python, or an annotation makes no sense.
    """
    try:
        tree = parse(source)
    except SyntaxError as error:
        raise ParametersCellError(where, error.lineno, f"{error.msg}.") from error
    if tree is None:
        raise ParametersCellError(where, 1, "the parameters cell holds another language.")
    comments = _Comments(plain_python(source) or "")
    names = Names()
    found: dict[str, Parameter] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            names.learn(statement)
        for parameter in _assigned(statement, names, comments, where=where, found=found):
            found[parameter.name] = parameter
            names.forget(parameter.name)
    return tuple(found.values())


def _assigned(
    statement: ast.stmt,
    names: Names,
    comments: "_Comments",
    *,
    where: str,
    found: dict[str, Parameter],
) -> Iterator[Parameter]:
    text, hint = comments.of(statement)
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=node, value=value):
            yield _parameter(
                name, node, value, help_=text, names=names, where=where, line=statement.lineno
            )
        case ast.Assign(targets=targets, value=value):
            hinted = _hinted(hint)
            for target in targets:
                for name, part in _pairs(target, value):
                    yield _parameter(
                        name, hinted, part, help_=text, names=names, where=where, line=target.lineno
                    )
        case ast.AugAssign(target=ast.Name(id=name)) if name in found:
            before = found[name]
            yield Parameter(
                name=name,
                annotation=before.annotation,
                written=before.written,
                has_default=True,
                is_computed=True,
                help=before.help or text,
                line=before.line,
            )


def _parameter(
    name: str,
    annotation: ast.expr | None,
    value: ast.expr | None,
    *,
    help_: str,
    names: Names,
    where: str,
    line: int,
) -> Parameter:
    canonical: ast.expr | None = None
    if annotation is not None:
        try:
            canonical = canonical_annotation(annotation, names)
        except NotUnderstood:
            canonical = None  # `check` says so; the value is then taken by its default's type
        except Misused as error:
            raise ParametersCellError(where, line, f"{name}: {error}") from error
    default: object = None
    is_computed = False
    if value is not None:
        try:
            default = read_default(value, names)
        except NotUnderstood:
            is_computed = True
    return Parameter(
        name=name,
        annotation=None if canonical is None else ast.unparse(canonical),
        written="" if annotation is None else ast.unparse(annotation),
        default=default,
        has_default=value is not None,
        is_computed=is_computed,
        help=help_ or _description(canonical),
        line=line,
    )


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield (name, expression) for `a = 1`, and for `a, b = 1, 2`."""
    match target, value:
        case ast.Name(id=name), _:
            yield name, value
        case (
            (ast.Tuple(elts=targets) | ast.List(elts=targets)),
            (ast.Tuple(elts=values) | ast.List(elts=values)),
        ) if len(targets) == len(values) and not any(
            isinstance(one, ast.Starred) for one in (*targets, *values)
        ):
            for part, item in zip(targets, values, strict=True):
                yield from _pairs(part, item)


def _hinted(hint: str) -> ast.expr | None:
    if not hint:
        return None
    try:
        return ast.parse(hint, mode="eval").body
    except SyntaxError:
        return None


def _description(annotation: ast.expr | None) -> str:
    """Return what `Field(description=...)` says at the top of an annotation."""
    match annotation:
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[_, *extras])):
            for extra in extras:
                if isinstance(extra, ast.Call):
                    for keyword in extra.keywords:
                        if keyword.arg == "description":
                            return str(ast.literal_eval(keyword.value))
    return ""


class _Comments:
    """The comments of a cell by line, and which of them belongs to a statement."""

    def __init__(self, source: str) -> None:
        self.trailing: dict[int, str] = {}
        self.alone: dict[int, tuple[int, str]] = {}  # line -> (column, text)
        self.columns: dict[int, int] = {}
        lines = source.splitlines()
        try:
            for token in tokenize.generate_tokens(io.StringIO(source).readline):
                if token.type == tokenize.COMMENT:
                    line, column = token.start
                    text = token.string.lstrip("# \t").strip()
                    if lines[line - 1][:column].strip():
                        self.trailing[line] = text
                        self.columns[line] = column
                    else:
                        self.alone[line] = (column, text)
        except (tokenize.TokenError, SyntaxError):
            pass  # ast has read the cell; at worst the last comments are missing

    def of(self, statement: ast.stmt) -> tuple[str, str]:
        """Return (help, type hint) of a statement.

        The comment on its last line counts, with the lines below that are aligned to it;
        else those inside a definition of several lines.
        """
        last = statement.end_lineno or statement.lineno
        if last in self.trailing:
            parts = [self.trailing[last]]
            below = last + 1
            while below in self.alone and self.alone[below][0] == self.columns[last] > 0:
                parts.append(self.alone[below][1])
                below += 1
        else:
            inside = range(statement.lineno, last)
            parts = [self.trailing.get(line) or self.alone.get(line, (0, ""))[1] for line in inside]
        text = " ".join(part for part in parts if part)
        hinted = _TYPE_COMMENT.fullmatch(text)
        return (hinted[2], hinted[1]) if hinted else (text, "")
