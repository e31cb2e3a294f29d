"""Gates as nbprod.toml declares them, validated before anything is judged."""

import difflib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nbprod.core.errors import (
    ContradictoryGateError,
    GateDeclarationError,
    UnknownGateError,
    UnknownGateKeyError,
)
from nbprod.core.plugins import installed
from nbprod.gates.options import LATENCY, GateOptions

if TYPE_CHECKING:
    from nbprod.core.verdicts import Verdict
    from nbprod.gates.case import Case

GROUP = "nbprod.gates"
#: (options, case) -> verdict; the first parameter's annotation is the kind's GateOptions
GateFunction = Callable[[Any, "Case"], "Verdict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateDeclaration:
    """One gate, ready to be judged."""

    kind: str  #: its name in the entry point group `nbprod.gates`
    options: GateOptions
    function: GateFunction

    @property
    def title(self) -> str:
        """Return the declaration as people read it."""
        return self.options.title()


def parse_gates(
    tables: Sequence[Mapping[str, object]], *, where: str
) -> tuple[GateDeclaration, ...]:
    """Validate the gate tables of one model.

    Args:
        tables: as TOML gives them. `kind` names the kind of gate; left out, the keys tell it.
        where: file and table, for errors, e.g. "nbprod.toml, [models.subject-router]".

    Raises:
        UnknownGateError: no installed package provides the kind.
        UnknownGateKeyError: a key that no gate, or not this kind of gate, has.
        ContradictoryGateError: keys of two kinds of gate in one.
        GateDeclarationError: a value of the wrong type or out of range.
    """
    functions = {name: _load(entry) for name, entry in sorted(installed(GROUP).items())}
    return tuple(
        _parse(dict(table), functions, where=where, number=number)
        for number, table in enumerate(tables, 1)
    )


def _load(entry: EntryPoint) -> GateFunction:
    return typing.cast("GateFunction", entry.load())


def _parse(
    table: dict[str, object],
    functions: Mapping[str, GateFunction],
    *,
    where: str,
    number: int,
) -> GateDeclaration:
    keys = {kind: _options_of(function).model_fields for kind, function in functions.items()}
    kind = _kind(table, keys, where=where, number=number)
    model = _options_of(functions[kind])
    values = {key: value for key, value in table.items() if key != "kind"}
    unknown = [key for key in values if key not in keys[kind]]
    if unknown:
        known = sorted(keys[kind])
        if any(unknown[0] in fields for fields in keys.values()):
            raise ContradictoryGateError(where, number, (unknown[0],), kind, known)
        near = difflib.get_close_matches(unknown[0], known, n=1)
        raise UnknownGateKeyError(where, number, unknown[0], near[0] if near else None, known)
    try:
        options = model.model_validate(values)
    except ValidationError as error:
        raise GateDeclarationError(where, number, _sentence(error)) from error
    return GateDeclaration(kind=kind, options=options, function=functions[kind])


def _kind(
    table: Mapping[str, object],
    keys: Mapping[str, Iterable[str]],
    *,
    where: str,
    number: int,
) -> str:
    """Return the kind a table declares: by `kind`, by a key of that name, or by its scrap."""
    if "kind" in table:
        name = str(table["kind"])
        if name not in keys:
            raise UnknownGateError(where, number, name, tuple(keys))
        return name
    named = tuple(key for key in table if key in keys)
    if len(named) > 1:
        raise ContradictoryGateError(where, number, named, named[0], sorted(keys[named[0]]))
    if LATENCY.fullmatch(str(table.get("scrap", ""))) and "slice" not in table:
        return "latency"
    if named:
        return named[0]
    every = sorted({key for fields in keys.values() for key in fields})
    for key in table:
        if key not in every:
            near = difflib.get_close_matches(key, every, n=1)
            raise UnknownGateKeyError(where, number, key, near[0] if near else None, every)
    if "min" in table or "max" in table:
        return "threshold"
    raise GateDeclarationError(
        where, number, "It demands nothing: it has none of min, max, not_worse_than, beats, slice."
    )


def _options_of(function: GateFunction) -> type[GateOptions]:
    """Return the options class that a gate function's first parameter is annotated with."""
    first = next(iter(inspect.signature(function).parameters.values()))
    annotation = first.annotation
    if isinstance(annotation, str):  # its module postpones annotations
        annotation = typing.get_type_hints(function)[first.name]
    if not (isinstance(annotation, type) and issubclass(annotation, GateOptions)):
        raise TypeError(f"{function!r}: annotate {first.name!r} with a subclass of GateOptions.")
    return annotation


def _sentence(error: ValidationError) -> str:
    problem = error.errors()[0]
    message = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"The key {name!r} is missing."
    if not name:
        return message[0].upper() + message[1:] + "."
    return f"{name} = {problem['input']!r}: {message[0].lower()}{message[1:]}."
