"""Bind parameters: validate what was given, coerce it, fill in defaults, write the code."""

import json
import keyword
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum, StrEnum
from pathlib import PurePath

from nbprod.core.errors.notebook import (
    InvalidParameterError,
    MissingParameterError,
    NoParametersCellError,
    ParameterTextError,
    UnknownParameterError,
)
from nbprod.core.json import JSON
from nbprod.notebook.parameters import Parameter
from nbprod.notebook.source import python_source
from nbprod.notebook.types import adapter, describe, is_text


class Mode(StrEnum):
    """How literally a given value is taken."""

    STRICT = "strict"  #: Python, YAML, forms: an int is no bool, "3" is no int, 3 is a float
    TEXT = "text"  #: the command line: everything arrives as text


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a run gets."""

    values: dict[str, JSON] = field(default_factory=dict)
    #: complete, as JSON; without those whose default only running the cell can tell
    given: tuple[str, ...] = ()  #: the names that were set from outside
    typed: dict[str, object] = field(default_factory=dict)  #: the given ones as Python values
    source: str = ""  #: code of the injected cell; "" when nothing was given


def bind(
    parameters: Sequence[Parameter],
    given: Mapping[str, object],
    *,
    mode: Mode = Mode.STRICT,
    allow_unknown: bool = False,
    has_cell: bool = True,
    template: str = "TEMPLATE",
) -> Bound:
    """Return the complete set of values for a run of `template`, or refuse.

    Args:
        parameters: what the template takes.
        given: name -> value; in TEXT mode the values are text.
        mode: how literally values are taken. Without an annotation nothing is refused for its
            type: the default's type is only what a value is coerced to where it can be.
        allow_unknown: papermill's own behaviour: unknown names are injected all the same.
        has_cell: whether the notebook has a parameters cell.
        template: its name, for errors.

    Raises:
        UnknownParameterError, NoParametersCellError, InvalidParameterError, MissingParameterError
    """
    known = {parameter.name: parameter for parameter in parameters}
    if given and not has_cell and not allow_unknown:
        raise NoParametersCellError(template, tuple(given))
    typed: dict[str, object] = {}
    for name, value in given.items():
        parameter = known.get(name)
        if parameter is None:
            is_name = name.isidentifier() and not keyword.iskeyword(name)
            if not allow_unknown or not is_name:
                raise UnknownParameterError(template, name, tuple(known))
            parameter = Parameter(name=name)
        typed[name] = _typed(parameter, value, mode=mode, template=template)
    values: dict[str, JSON] = {}
    for parameter in parameters:
        if parameter.name in typed:
            values[parameter.name] = to_json(typed[parameter.name])
        elif not parameter.has_default:
            accepted = describe(parameter.annotation)
            raise MissingParameterError(template, parameter.name, accepted, parameter.help)
        elif not parameter.is_computed:
            values[parameter.name] = to_json(parameter.default)
    for name in typed.keys() - known.keys():
        values[name] = to_json(typed[name])
    return Bound(values=values, given=tuple(typed), typed=typed, source=python_source(typed))


def fits(parameter: Parameter) -> bool:
    """Say whether a parameter's default would be accepted if it were given."""
    if parameter.annotation is None or not parameter.has_default or parameter.is_computed:
        return True
    if parameter.default is None and "None" not in parameter.annotation:
        return parameter.annotation in ("Any", "object")
    form = to_json(parameter.default)
    return any(
        _validated(parameter.annotation, candidate, is_strict=True)
        for candidate in (form, _with_numbers(form))
    )


def parse_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Return `{"a": "1"}` for `["a=1"]`: what `-p` gives on the command line.

    Raises:
        ParameterTextError: for a pair without `=` or a name given twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ParameterTextError(pair, "there is no NAME= before the value.")
        if name in found:
            raise ParameterTextError(pair, f"{name!r} is given twice.")
        found[name] = value
    return found


def to_json(value: object) -> JSON:
    """Return the JSON form of a value: text for paths and dates, lists for tuples and sets.

    NaN and infinities become "nan", "inf" and "-inf", which binding reads back as numbers.

    Raises:
        TypeError: for a value that has none.
    """
    match value:
        case Enum():
            return to_json(value.value)
        case None | bool() | str():
            return value if value is None or isinstance(value, bool) else str(value)
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else str(float(value))
        case date():
            return value.isoformat()
        case PurePath():
            return str(value)
        case Mapping():
            return {_key(key): to_json(item) for key, item in value.items()}
        case set() | frozenset():
            return [to_json(item) for item in sorted(value, key=repr)]
        case list() | tuple():
            return [to_json(item) for item in value]
    # NumPy and pandas are not imported for this: their scalars and arrays say what they hold.
    for method in ("item", "tolist"):
        convert = getattr(value, method, None)
        if callable(convert):
            try:
                return to_json(convert())
            except ValueError:
                continue  # an array of several values has no `item`
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _key(key: object) -> str:
    if isinstance(key, str):
        return str(key)
    return str(to_json(key))


def _typed(parameter: Parameter, value: object, *, mode: Mode, template: str) -> object:
    """Return the value as the kernel gets it."""
    try:
        form = to_json(value)
        json.dumps(form, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise _refused(parameter, value, template, "text that UTF-8 can hold") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise _refused(parameter, value, template, describe(parameter.annotation)) from error
    text = form if mode is Mode.TEXT and isinstance(form, str) else None
    annotation = parameter.annotation
    if annotation is None or annotation in ("Any", "object"):
        return _coerced(parameter.default, form, text)
    if text is None and _is_default(parameter, form):
        return parameter.default
    for candidate, is_strict in _candidates(annotation, form, text):
        found = _validated(annotation, candidate, is_strict=is_strict)
        if found:
            return found[0]
    accepted = describe(annotation)
    if text is None:
        raise _refused(parameter, value, template, accepted)
    if accepted.startswith(("a list", "a mapping")):
        example = '["a", "b"]' if accepted.startswith("a list") else '{"a": 1}'
        if "list of numbers" in accepted or "list of whole numbers" in accepted:
            example = "[1, 2]"
        accepted = f"{accepted}, as JSON such as {example}"
    plain = text if text.isprintable() and text.strip() == text != "" else shown(text)
    raise InvalidParameterError(template, parameter.name, plain, accepted, parameter.help)


def _is_default(parameter: Parameter, form: JSON) -> bool:
    # `limit: int = None` is common, and a run is repeated with the values that are on record:
    # what the template itself holds is never refused.
    default = to_json(parameter.default)
    is_known = parameter.has_default and not parameter.is_computed
    return is_known and type(form) is type(default) and form == default


def _candidates(annotation: str, form: JSON, text: str | None) -> Iterable[tuple[JSON, bool]]:
    """Yield (value, taken strictly) in the order in which they are tried."""
    if text is None:
        yield form, True
        yield _with_numbers(form), True
        return
    if not is_text(annotation):
        marked = _marked_json(text)
        if marked:
            yield marked[0], True
    yield text, False
    if not is_text(annotation):
        yield _scalar(text), True  # Literal[1, 2] takes no "1"


def _validated(annotation: str, value: JSON, *, is_strict: bool) -> tuple[object] | None:
    from pydantic import ValidationError

    try:
        found = adapter(annotation).validate_json(json.dumps(value), strict=is_strict)
    except ValidationError:
        return None
    return (found,)


def _coerced(default: object, form: JSON, text: str | None) -> object:
    """Return the value as the default's type where it can be, else as it is."""
    annotation = _inferred(default)
    if text is None:
        if annotation is not None and not isinstance(form, bool):
            found = _validated(annotation, form, is_strict=True)
            if found:
                return found[0]
        return form
    if annotation == "str":
        return text
    marked = _marked_json(text)
    if marked:
        return marked[0]
    if annotation is not None:
        found = _validated(annotation, text, is_strict=False)
        if found:
            return found[0]
    return _scalar(text)


def _inferred(default: object) -> str | None:
    match default:
        case bool():
            return "bool"
        case datetime():
            return "datetime"
        case int() | float() | str() | list() | dict() | tuple() | date():
            return type(default).__name__
        case PurePath():
            return "Path"
    return None


def _marked_json(text: str) -> tuple[JSON] | None:
    """Return the JSON in text that starts as only JSON does; None for any other text."""
    stripped = text.strip()
    if stripped != "null" and not stripped.startswith(("[", "{")):
        return None
    try:
        return (json.loads(stripped),)
    except (ValueError, RecursionError):
        return None


def _scalar(text: str) -> JSON:
    """Return what papermill's own `-p` makes of text: a truth value, a number, None or text."""
    words: dict[str, JSON] = {"True": True, "true": True, "False": False, "false": False}
    words |= {"None": None, "null": None}
    if text in words:
        return words[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _with_numbers(form: JSON) -> JSON:
    """Return the form with "nan" and "inf" as numbers: JSON, where values are kept, has none."""
    if isinstance(form, list):
        return [_with_numbers(item) for item in form]
    if isinstance(form, dict):
        return {key: _with_numbers(item) for key, item in form.items()}
    return float(form) if form in ("nan", "inf", "-inf") else form


def _refused(
    parameter: Parameter, value: object, template: str, accepted: str
) -> InvalidParameterError:
    return InvalidParameterError(template, parameter.name, shown(value), accepted, parameter.help)


def shown(value: object, *, width: int = 80) -> str:
    """Return a value as an error quotes it: JSON where it can be, and not too long."""
    try:
        text = json.dumps(to_json(value), ensure_ascii=True)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= width else f"{text[: width - 3]}..."
