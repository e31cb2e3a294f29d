"""References between steps: `${tune.model}`, `${look.rows}`, `${job.number}`. All pure.

A reference that is the whole of a value keeps the type of what it stands for; inside a longer
text it becomes text. `$${` stands for a `${` that means itself.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nbprod.core.json import JSON

JOB = "job"  #: the name under which a job run refers to itself
JOB_FIELDS = ("number", "run")

_REFERENCE = re.compile(r"(?P<literal>\$\$\{)|\$\{(?P<inside>[^{}]*)(?P<end>\}?)")
_INSIDE = re.compile(r"\s*([A-Za-z_][\w-]*)\.([^\s{}]+)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What stands between `${` and `}`."""

    step: str  #: id of a step, or "job"
    name: str  #: of a scrap, or a field of the job run

    def __str__(self) -> str:
        return f"${{{self.step}.{self.name}}}"


class MalformedReference(ValueError):  # noqa: N818 - caught in this room, where the line is known
    """A `${` that is no reference. Its text says what was found."""


def references_in(value: JSON) -> Iterator[Reference]:
    """Yield the references in `value`, in lists and mappings too.

    Raises:
        MalformedReference: a `${` is not followed by `STEP.NAME}`.
    """
    match value:
        case str():
            for found in _REFERENCE.finditer(value):
                if found["literal"] is None:
                    yield _parse(found)
        case list():
            for item in value:
                yield from references_in(item)
        case dict():
            for item in value.values():
                yield from references_in(item)
        case _:
            pass


def resolve(value: JSON, lookup: Callable[[Reference], JSON]) -> JSON:
    """Return `value` with every reference replaced by what `lookup` says it stands for."""
    match value:
        case str():
            whole = _REFERENCE.fullmatch(value)
            if whole is not None and whole["literal"] is None:
                return lookup(_parse(whole))
            return _REFERENCE.sub(
                lambda found: "${" if found["literal"] else _text(lookup(_parse(found))), value
            )
        case list():
            return [resolve(item, lookup) for item in value]
        case dict():
            return {key: resolve(item, lookup) for key, item in value.items()}
        case _:
            return value


def _parse(found: re.Match[str]) -> Reference:
    inside = _INSIDE.fullmatch(found["inside"])
    if inside is None or not found["end"]:
        raise MalformedReference(found[0])
    return Reference(step=inside[1], name=inside[2])


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
