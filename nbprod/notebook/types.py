"""From an annotation's text to the type that pydantic validates, and to words that people read."""

import ast
import functools
import re
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_PLAIN: dict[str, Any] = {
    "Any": Any,
    "object": Any,
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "list": list,
    "dict": dict,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "Path": Path,
}
_WORDS = {
    "Any": "anything",
    "object": "anything",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "list": "a list",
    "dict": "a mapping",
    "tuple": "a list",
    "set": "a list",
    "frozenset": "a list",
    "Path": "a path",
    "date": "a date such as 2026-01-31",
    "datetime": "a time such as 2026-01-31T08:30:00",
}
_MANY = {
    "bool": "truth values",
    "int": "whole numbers",
    "float": "numbers",
    "str": "texts",
    "Path": "paths",
    "date": "dates such as 2026-01-31",
    "datetime": "times such as 2026-01-31T08:30:00",
}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+(Z|[-+][0-9:]+)?)?")


@functools.lru_cache(maxsize=512)
def adapter(annotation: str) -> "TypeAdapter[Any]":
    """Return pydantic's validator of a canonical annotation (see `annotations`)."""
    from pydantic import TypeAdapter

    return TypeAdapter(python_type(_parsed(annotation)))


def python_type(node: ast.expr) -> Any:
    """Return the type that a canonical annotation's tree means."""
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id="date"):
            return _annotated(date, _read_date)
        case ast.Name(id="datetime"):
            return _annotated(datetime, _read_datetime)
        case ast.Name(id=name):
            return _PLAIN[name]
        case ast.BinOp(left=left, right=right):
            return Union[python_type(left), python_type(right)]  # noqa: UP007 - built, not written
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inside):
            choices = tuple(ast.literal_eval(item) for item in _items(inside))
            return _annotated(Literal[choices], functools.partial(_exact_choice, choices))
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *extras])):
            from pydantic import Field

            fields = [Field(**_keywords(extra)) for extra in extras]
            return Annotated[(python_type(inner), *fields)]
        case ast.Subscript(value=ast.Name(id=name), slice=inside):
            items = [
                ... if isinstance(item, ast.Constant) and item.value is ... else python_type(item)
                for item in _items(inside)
            ]
            return _PLAIN[name][tuple(items)]
    raise AssertionError(ast.dump(node))


def describe(annotation: str | None) -> str:
    """Return what is accepted, in words: `a whole number from 1 to 50`."""
    return "anything" if annotation is None else _words(_parsed(annotation), {})


def is_text(annotation: str | None) -> bool:
    """Say whether every value is text, so that `[a]` or `null` on a command line is that text."""
    return annotation is not None and _is_text(_parsed(annotation))


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name):
            return name in ("str", "Path")
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inside):
            return all(isinstance(ast.literal_eval(item), str) for item in _items(inside))
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *_])):
            return _is_text(inner)
        case ast.BinOp(left=left, right=right):
            return _is_text(left) and _is_text(right)
    return False


def _words(node: ast.expr, limits: dict[str, Any]) -> str:
    match node:
        case ast.Constant(value=None):
            return "null"
        case ast.Name(id=name):
            return _limited(_WORDS[name], limits)
        case ast.BinOp(left=left, right=right):
            return f"{_words(left, limits)} or {_words(right, limits)}"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inside):
            choices = [_shown(ast.literal_eval(item)) for item in _items(inside)]
            return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *extras])):
            merged = dict(limits)
            for extra in extras:
                merged |= _keywords(extra)
            return _words(inner, merged)
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, value])):
            return _limited(f"a mapping from names to {_plural(value)}", limits)
        case ast.Subscript(value=ast.Name(id="tuple"), slice=inside):
            items = _items(inside)
            if len(items) == 2 and isinstance(items[1], ast.Constant) and items[1].value is ...:
                return _limited(f"a list of {_plural(items[0])}", limits)
            return f"a list of exactly {', '.join(_words(item, {}) for item in items)}"
        case ast.Subscript(slice=inside):
            return _limited(f"a list of {_plural(inside)}", limits)
    raise AssertionError(ast.dump(node))


def _plural(node: ast.expr) -> str:
    if isinstance(node, ast.Name) and node.id in _MANY:
        return _MANY[node.id]
    return f"values, each {_words(node, {})}"


def _limited(words: str, limits: dict[str, Any]) -> str:
    """Return the words with the limits that `Field` sets."""
    parts = []
    low, high = limits.get("ge"), limits.get("le")
    if low is not None and high is not None:
        parts.append(f"from {_shown(low)} to {_shown(high)}")
    elif low is not None:
        parts.append(f"of at least {_shown(low)}")
    elif high is not None:
        parts.append(f"of at most {_shown(high)}")
    if limits.get("gt") is not None:
        parts.append(f"greater than {_shown(limits['gt'])}")
    if limits.get("lt") is not None:
        parts.append(f"less than {_shown(limits['lt'])}")
    words = f"{words} {' and '.join(parts)}" if parts else words
    if limits.get("multiple_of") is not None:
        words += f", a multiple of {_shown(limits['multiple_of'])}"
    shortest, longest = limits.get("min_length"), limits.get("max_length")
    if shortest is not None and longest is not None:
        words += f" with {shortest} to {longest} {_unit(words)}"
    elif shortest is not None:
        words += f" with at least {shortest} {_unit(words)}"
    elif longest is not None:
        words += f" with at most {longest} {_unit(words)}"
    if limits.get("pattern") is not None:
        words += f" that matches {limits['pattern']}"
    return words


def _unit(words: str) -> str:
    return "characters" if words.startswith(("text", "a path")) else "entries"


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value) if isinstance(value, str) else str(value)


@functools.lru_cache(maxsize=512)
def _parsed(annotation: str) -> ast.expr:
    return ast.parse(annotation, mode="eval").body


def _items(node: ast.expr) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.Tuple) else [node]


def _keywords(call: ast.expr) -> dict[str, Any]:
    assert isinstance(call, ast.Call)
    return {
        keyword.arg: ast.literal_eval(keyword.value)
        for keyword in call.keywords
        if keyword.arg is not None
    }


def _annotated(kind: Any, check: Any) -> Any:
    from pydantic import BeforeValidator

    return Annotated[kind, BeforeValidator(check)]


def _read_date(value: object) -> object:
    """Read `2026-01-31` only: of `20260131` pydantic would make seconds since 1970."""
    return date.fromisoformat(_text(value, _DAY))


def _read_datetime(value: object) -> object:
    """Read ISO 8601 text, of which the time may be missing."""
    return datetime.fromisoformat(_text(value, _TIME))


def _text(value: object, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not form.fullmatch(value.strip()):
        raise ValueError("not in the form of ISO 8601")
    return value.strip()


def _exact_choice(choices: tuple[object, ...], value: object) -> object:
    """Refuse True for Literal[1] and 1.0 for Literal[1], which are equal in Python."""
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise ValueError("not one of the choices")
    return value
