"""Whatever is given, it arrives in the kernel as it was given, or not at all."""

import keyword
import math
from datetime import UTC, timedelta, timezone
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nbprod.core.errors import ParameterError, ParametersCellError
from nbprod.core.json import canonical
from nbprod.notebook.binding import Mode, bind, parse_pairs
from nbprod.notebook.parameters import read_parameters
from nbprod.notebook.source import python_source

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name)
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
paths = st.lists(st.text("abc.-é ", min_size=1, max_size=6), min_size=1, max_size=3).map(
    lambda parts: Path(*parts)
)
zones = st.none() | st.just(UTC) | st.integers(-14 * 60, 14 * 60).map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)  # fmt: skip
moments = st.datetimes(timezones=st.none()).flatmap(
    lambda moment: zones.map(lambda zone: moment.replace(tzinfo=zone))
)


@st.composite
def typed_values(draw: st.DrawFn, depth: int = 2) -> tuple[str, Any]:
    """Draw (annotation, a value of that type)."""
    plain: list[tuple[str, st.SearchStrategy[Any]]] = [
        ("int", st.integers()),
        ("float", st.floats()),
        ("bool", st.booleans()),
        ("str", texts),
        ("Path", paths),
        ("date", st.dates()),
        ("datetime", moments),
        ("Annotated[int, Field(ge=1, le=50)]", st.integers(1, 50)),
        ("Annotated[float, Field(gt=0, lt=1)]", st.floats(0.001, 0.999)),
        ("Literal['a', 'b', 3]", st.sampled_from(["a", "b", 3])),
    ]
    kinds = ["plain", "none"] if depth == 0 else ["plain", "none", "list", "dict", "tuple"]
    match draw(st.sampled_from(kinds)):
        case "plain":
            annotation, strategy = draw(st.sampled_from(plain))
            return annotation, draw(strategy)
        case "none":
            annotation, strategy = draw(st.sampled_from(plain))
            return f"{annotation} | None", draw(st.none() | strategy)
        case "tuple":
            parts = [draw(typed_values(depth - 1)) for _ in range(draw(st.integers(1, 3)))]
            return f"tuple[{', '.join(part[0] for part in parts)}]", tuple(p[1] for p in parts)
        case kind:
            annotation, strategy = draw(st.sampled_from(plain))
            if kind == "list":
                return f"list[{annotation}]", draw(st.lists(strategy, max_size=4))
            values = st.dictionaries(texts, strategy, max_size=4)
            return f"dict[str, {annotation}]", draw(values)


def same(left: object, right: object) -> bool:
    """Say whether values are equal and of one type throughout; NaN equals NaN."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        assert isinstance(right, float)
        return (math.isnan(left) and math.isnan(right)) or left == right
    if isinstance(left, list | tuple):
        assert isinstance(right, list | tuple)
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        assert isinstance(right, dict)
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


def run(source: str) -> dict[str, object]:
    namespace: dict[str, object] = {}
    exec(source, namespace)
    return namespace


@settings(deadline=None)
@given(name=names, drawn=typed_values())
def test_a_value_arrives_in_the_kernel_as_it_was_given(name: str, drawn: tuple[str, Any]) -> None:
    annotation, value = drawn
    parameters = read_parameters(f"{name}: {annotation} = None", where="x")

    bound = bind(parameters, {name: value})

    assert same(run(bound.source)[name], value)
    assert same(bound.typed[name], value)


@settings(deadline=None)
@given(name=names, drawn=typed_values())
def test_what_is_on_record_binds_to_the_same_value_again(name: str, drawn: tuple[str, Any]) -> None:
    annotation, value = drawn
    parameters = read_parameters(f"{name}: {annotation} = ...", where="x")
    recorded = bind(parameters, {name: value}).values

    again = bind(parameters, recorded)

    assert canonical(dict(recorded)) == canonical(dict(again.values))
    assert same(again.typed[name], value)


@settings(deadline=None)
@given(name=names, drawn=typed_values(), help_=st.text("abc #'\"=", max_size=20))
def test_a_default_is_read_back_from_the_code_that_writes_it(
    name: str, drawn: tuple[str, Any], help_: str
) -> None:
    annotation, value = drawn
    *imports, line = python_source({name: value}).splitlines()
    if any(word in line for word in ("_nan", "_inf")):
        return  # a default is written float("nan"): tested by example
    source = "\n".join([*imports, line.replace(" = ", f": {annotation} = ", 1) + f"  # {help_}"])

    (found,) = read_parameters(source, where="x")

    assert same(found.default, value)
    assert found.name == name
    assert found.help == help_.lstrip("# ").strip()


@settings(deadline=None)
@given(values=st.dictionaries(names, texts, max_size=5))
def test_the_command_line_carries_any_text(values: dict[str, str]) -> None:
    parameters = read_parameters("\n".join(f"{name}: str = ''" for name in values), where="x")

    pairs = parse_pairs([f"{name}={value}" for name, value in values.items()])

    assert run(bind(parameters, pairs, mode=Mode.TEXT).source) | values == run(
        bind(parameters, values).source
    )


@settings(max_examples=300, deadline=None)
@given(text=st.text(), annotation=st.sampled_from(
    ["int", "float | None", "bool", "date", "datetime", "Path", "list[int]", "dict[str, float]",
     "Literal[1, 'a']", "int | str", "Any", "tuple[int, ...]", ""]
))  # fmt: skip
def test_any_text_is_bound_or_refused_and_never_crashes(text: str, annotation: str) -> None:
    typed = f": {annotation}" if annotation else ""
    parameters = read_parameters(f"x{typed} = None", where="x")

    try:
        bound = bind(parameters, {"x": text}, mode=Mode.TEXT)
    except ParameterError:
        return

    assert same(run(bound.source)["x"], bound.typed["x"])
    assert canonical(dict(bound.values))


@settings(max_examples=300, deadline=None)
@given(source=st.text(st.sampled_from("abx=:#'\"\n ()[]{},1.%!|*_\\"), max_size=60))
def test_any_cell_is_read_or_refused_and_never_crashes(source: str) -> None:
    try:
        found = read_parameters(source, where="x")
    except ParametersCellError as error:
        assert error.what.startswith("x")  # noqa: PT017 - both outcomes are right
        return

    assert all(parameter.name.isidentifier() for parameter in found)
