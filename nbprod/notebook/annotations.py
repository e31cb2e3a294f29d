"""The names a parameters cell may use in annotations and defaults, and what they stand for.

Reading never imports or executes anything: a name means what the cell's own `import` lines say,
or, where there is none, what everybody means by it.
"""

import ast
from collections.abc import Mapping

from nbprod.core.errors.notebook import suggest

#: Qualified name -> the one way that canonical annotations and defaults write it.
CANONICAL: Mapping[str, str] = {
    **{
        f"{home}.{name}": name
        for home in ("typing", "typing_extensions")
        for name in ("Annotated", "Any", "Literal", "Optional", "Union")
    },
    **{f"typing.{name}": name.lower() for name in ("List", "Dict", "Tuple", "Set", "FrozenSet")},
    **{
        f"{home}.{name}": to
        for home in ("typing", "collections.abc")
        for name, to in (("Sequence", "list"), ("Iterable", "list"), ("Collection", "list"))
    },
    **{
        f"{home}.{name}": "dict"
        for home in ("typing", "collections.abc")
        for name in ("Mapping", "MutableMapping")
    },
    **{f"builtins.{name}": name for name in ("bool", "dict", "float", "int", "list", "object")},
    **{f"builtins.{name}": name for name in ("str", "tuple", "set", "frozenset")},
    **{f"pathlib.{name}": "Path" for name in ("Path", "PosixPath", "PurePath", "PurePosixPath")},
    "datetime.date": "date",
    "datetime.datetime": "datetime",
    "pydantic.Field": "Field",
    "pydantic.fields.Field": "Field",
    "os.PathLike": "Path",
}

#: What `Field` may say of a parameter: its limits, and words about it.
FIELD_ARGUMENTS = (
    *("ge", "gt", "le", "lt", "multiple_of", "allow_inf_nan"),
    *("min_length", "max_length", "pattern"),
    *("title", "description", "examples", "strict"),
)

#: What a name means in a cell that does not import it (an earlier cell may).
_USUAL = {
    **{name: f"typing.{name}" for name in ("Annotated", "Any", "Literal", "Optional", "Union")},
    **{name: f"typing.{name}" for name in ("List", "Dict", "Tuple", "Set", "Sequence", "Mapping")},
    **{name: f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "object")},
    **{name: f"builtins.{name}" for name in ("str", "tuple", "set", "frozenset")},
    "Field": "pydantic.Field",
    "Path": "pathlib.Path",
    "date": "datetime.date",
    "datetime": "datetime.datetime",
    "dt": "datetime",
    "pathlib": "pathlib",
    "pydantic": "pydantic",
    "typing": "typing",
}


class NotUnderstood(Exception):  # noqa: N818 - caught within this room, never shown
    """An expression uses something that reading alone cannot know."""


class Misused(Exception):  # noqa: N818 - caught within this room, where it gets its place
    """A name that is ours is used in a way that means nothing: `Field(gee=1)`."""


class Names:
    """What each name in a parameters cell stands for."""

    def __init__(self) -> None:
        self._known = dict(_USUAL)

    def learn(self, statement: ast.Import | ast.ImportFrom) -> None:
        """Take in an import."""
        for alias in statement.names:
            if isinstance(statement, ast.ImportFrom):
                full = f"{statement.module or ''}.{alias.name}"
                self._known[alias.asname or alias.name] = full
            elif alias.asname:
                self._known[alias.asname] = alias.name
            else:
                top = alias.name.partition(".")[0]
                self._known[top] = top

    def forget(self, name: str) -> None:
        """Take in that the cell gives `name` a value of its own."""
        self._known.pop(name, None)

    def qualified(self, node: ast.expr) -> str | None:
        """Return `pathlib.Path` for `Path`, `pathlib.Path` or `P`; None for no dotted name."""
        match node:
            case ast.Name(id=name):
                return self._known.get(name)
            case ast.Attribute(value=value, attr=attr):
                above = self.qualified(value)
                # `import datetime` and `from datetime import datetime` share a name.
                if above == "datetime.datetime" and attr in ("date", "datetime"):
                    above = "datetime"
                return None if above is None else f"{above}.{attr}"
        return None

    def canonical(self, node: ast.expr) -> str | None:
        """Return the canonical name of what `node` refers to, or None."""
        full = self.qualified(node)
        return None if full is None else CANONICAL.get(full)


def canonical_annotation(node: ast.expr, names: Names) -> ast.expr:
    """Return the annotation written with canonical names only.

    `Optional[X]` and `Union[X, Y]` become `X | None` and `X | Y`; quoted annotations are opened.

    Raises:
        NotUnderstood: when a name in it is not one of ours.
    """
    match node:
        case ast.Constant(value=None):
            return node
        case ast.Constant(value=str() as text):
            try:
                return canonical_annotation(ast.parse(text, mode="eval").body, names)
            except SyntaxError as error:
                raise NotUnderstood(text) from error
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            left, right = (canonical_annotation(side, names) for side in (left, right))
            return ast.BinOp(left, ast.BitOr(), right)
        case ast.Name() | ast.Attribute():
            name = names.canonical(node)
            if name is None or name in ("Annotated", "Literal", "Optional", "Union", "Field"):
                raise NotUnderstood(ast.unparse(node))
            return ast.Name(name)
        case ast.Subscript(value=value, slice=inside):
            return _subscript(names.canonical(value), _items(inside), node, names)
    raise NotUnderstood(ast.unparse(node))


def _subscript(name: str | None, items: list[ast.expr], node: ast.expr, names: Names) -> ast.expr:
    match name:
        case "Optional" if len(items) == 1:
            return ast.BinOp(canonical_annotation(items[0], names), ast.BitOr(), ast.Constant(None))
        case "Union":
            union, *others = (canonical_annotation(item, names) for item in items)
            for other in others:
                union = ast.BinOp(union, ast.BitOr(), other)
            return union
        case "Literal":
            for item in items:
                if not isinstance(_literal(item), str | int | bool | None):
                    raise NotUnderstood(ast.unparse(node))
            return _of("Literal", items)
        case "Annotated" if len(items) > 1:
            extras = [_extra(item, names) for item in items[1:]]
            inner = canonical_annotation(items[0], names)
            return _of("Annotated", [inner, *(extra for extra in extras if extra is not None)])
        case "list" | "set" | "frozenset" | "dict" | "tuple":
            inside = [
                item
                if isinstance(item, ast.Constant) and item.value is ...
                else canonical_annotation(item, names)
                for item in items
            ]
            return _of(name, inside)
    raise NotUnderstood(ast.unparse(node))


def _extra(node: ast.expr, names: Names) -> ast.expr | None:
    """Return `Field(...)` with literal arguments; None for a remark that constrains nothing."""
    match node:
        case ast.Call(func=func, args=[], keywords=keywords) if names.canonical(func) == "Field":
            for keyword in keywords:
                if keyword.arg not in FIELD_ARGUMENTS:
                    hint = suggest(str(keyword.arg), FIELD_ARGUMENTS)
                    raise Misused(f"Field takes no argument {keyword.arg!r} here.{hint}")
                _literal(keyword.value)
            return ast.Call(ast.Name("Field"), [], keywords)
        case ast.Constant(value=str()):
            return None
    raise NotUnderstood(ast.unparse(node))


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError) as error:
        raise NotUnderstood(ast.unparse(node)) from error


def _items(node: ast.expr) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.Tuple) else [node]


def _of(name: str, items: list[ast.expr]) -> ast.expr:
    inside = items[0] if len(items) == 1 else ast.Tuple(items, ast.Load())
    return ast.Subscript(ast.Name(name), inside)
