"""Write typed values as Python that makes them: the code of the injected cell."""

import math
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import PurePath

_HEADER = "# Parameters"


def python_source(values: Mapping[str, object]) -> str:
    """Return code that assigns every value to its name; "" for no values.

    Constructors come under private names: a notebook may have a parameter called `date`, or mean
    the module by `datetime`, and neither may change its meaning because a value was given.
    """
    if not values:
        return ""
    writer = _Writer(taken=values)
    lines = [f"{name} = {writer.expression(value)}" for name, value in values.items()]
    return "\n".join([_HEADER, *writer.imports(), *lines]) + "\n"


class _Writer:
    """Writes expressions, and remembers the imports that they need."""

    def __init__(self, *, taken: Mapping[str, object]) -> None:
        self.taken = taken
        self.needed: dict[tuple[str, str], str] = {}

    def imports(self) -> list[str]:
        return [
            f"from {module} import {name} as {alias}"
            for (module, name), alias in sorted(self.needed.items())
        ]

    def name(self, module: str, name: str) -> str:
        alias = f"_{name}"
        while alias in self.taken:
            alias = f"_{alias}"
        return self.needed.setdefault((module, name), alias)

    def expression(self, value: object) -> str:
        match value:
            case None | bool() | str():
                return repr(value)
            case int():
                return repr(int(value))
            case float():
                return self.number(float(value))
            case PurePath():
                return f"{self.name('pathlib', 'Path')}({str(value)!r})"
            case datetime():
                return f"{self.name('datetime', 'datetime')}.fromisoformat({value.isoformat()!r})"
            case date():
                made = self.name("datetime", "date")
                return f"{made}({value.year}, {value.month}, {value.day})"
            case list():
                return f"[{self.items(value)}]"
            case tuple():
                return f"({self.items(value)}{',' if len(value) == 1 else ''})"
            case set() | frozenset():
                inside = self.items(sorted(value, key=repr))
                made = "frozenset" if isinstance(value, frozenset) else "set"
                return f"{made}([{inside}])"
            case dict():
                pairs = (
                    f"{self.expression(key)}: {self.expression(item)}"
                    for key, item in value.items()
                )
                return f"{{{', '.join(pairs)}}}"
        raise TypeError(f"a {type(value).__name__} cannot be written as Python")

    def items(self, values: "list[object] | tuple[object, ...]") -> str:
        return ", ".join(self.expression(item) for item in values)

    def number(self, value: float) -> str:
        if math.isnan(value):
            return self.name("math", "nan")
        if math.isinf(value):
            return f"{'-' if value < 0 else ''}{self.name('math', 'inf')}"
        return repr(value)
