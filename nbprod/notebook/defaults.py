"""Read the default of a parameter: literals, `Path(...)`, dates, and arithmetic on numbers."""

import ast
import operator
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

from nbprod.notebook.annotations import Names, NotUnderstood

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
#: A reader must not be made to compute 9**9**9.
_LARGEST = 10**12


def read_default(node: ast.expr, names: Names) -> object:
    """Return the value that the expression has, without executing it.

    Raises:
        NotUnderstood: when only running it could tell.
    """
    match node:
        case ast.Constant(value=value):
            if isinstance(value, bytes | complex) or value is ...:
                raise NotUnderstood(ast.unparse(node))
            return value
        case ast.List(elts=items):
            return [read_default(item, names) for item in items]
        case ast.Tuple(elts=items):
            return tuple(read_default(item, names) for item in items)
        case ast.Set(elts=items):
            return set(_hashable(items, node, names))
        case ast.Dict(keys=keys, values=values) if None not in keys:
            read = _hashable([key for key in keys if key is not None], node, names)
            return dict(zip(read, (read_default(value, names) for value in values), strict=True))
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            number = _number(read_default(operand, names), node)
            return -number if isinstance(sign, ast.USub) else number
        case ast.BinOp(left=left, op=operation, right=right):
            return _computed(read_default(left, names), operation, read_default(right, names), node)
        case ast.Call(func=func, args=arguments, keywords=keywords):
            return _constructed(names.qualified(func), arguments, keywords, node, names)
    raise NotUnderstood(ast.unparse(node))


def _hashable(items: list[ast.expr], node: ast.expr, names: Names) -> list[Any]:
    read = [read_default(item, names) for item in items]
    if any(isinstance(item, list | dict | set) for item in read):
        raise NotUnderstood(ast.unparse(node))
    return read


def _number(value: object, node: ast.expr) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotUnderstood(ast.unparse(node))
    return value


def _computed(left: object, operation: ast.operator, right: object, node: ast.expr) -> object:
    if isinstance(left, Path) and isinstance(operation, ast.Div) and isinstance(right, str | Path):
        return left / right
    if isinstance(left, str) and isinstance(operation, ast.Add) and isinstance(right, str):
        return left + right
    compute = _ARITHMETIC.get(type(operation))
    a, b = _number(left, node), _number(right, node)
    if compute is None or max(abs(a), abs(b)) > _LARGEST:
        raise NotUnderstood(ast.unparse(node))
    if compute is operator.pow and abs(b) > 64:
        raise NotUnderstood(ast.unparse(node))
    try:
        value = compute(a, b)
    except (ArithmeticError, ValueError) as error:
        raise NotUnderstood(ast.unparse(node)) from error
    return _number(value, node)


def _constructed(
    called: str | None,
    arguments: list[ast.expr],
    keywords: list[ast.keyword],
    node: ast.expr,
    names: Names,
) -> object:
    positional: list[Any] = [read_default(argument, names) for argument in arguments]
    named: dict[str, Any] = {
        keyword.arg: read_default(keyword.value, names) for keyword in keywords if keyword.arg
    }
    if len(named) != len(keywords):
        raise NotUnderstood(ast.unparse(node))
    make: Callable[..., object]
    match called:
        case "pathlib.Path" | "pathlib.PosixPath" | "pathlib.PurePath" | "pathlib.PurePosixPath":
            make = Path
        case "datetime.date":
            make = date
        case "datetime.date.fromisoformat":
            make = date.fromisoformat
        case "datetime.datetime":
            make = datetime
        case "datetime.datetime.fromisoformat":
            make = datetime.fromisoformat
        case "builtins.float":
            make = float
        case "builtins.list" | "builtins.dict" | "builtins.set" | "builtins.tuple":
            if positional or named:
                raise NotUnderstood(ast.unparse(node))
            make = {"list": list, "dict": dict, "set": set, "tuple": tuple}[called[9:]]
        case _:
            raise NotUnderstood(ast.unparse(node))
    try:
        return make(*positional, **named)
    except (TypeError, ValueError, OverflowError) as error:
        raise NotUnderstood(ast.unparse(node)) from error
