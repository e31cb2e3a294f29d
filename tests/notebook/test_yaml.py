import pytest

from nbprod.core.errors import YamlError
from nbprod.notebook.yaml import line_of, load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on: 1", {"on": 1}),
        ("a: [1e-4, .5, 1., +3, -2e3]", {"a": [1e-4, 0.5, 1.0, 3, -2000.0]}),
        ("a: [0x1F, 0o17, 010]", {"a": [31, 15, 10]}),
        ("a: [yes, no, on, off, y]", {"a": ["yes", "no", "on", "off", "y"]}),
        ("a: [true, True, FALSE]", {"a": [True, True, False]}),
        ("a: [null, ~, Null]\nb:", {"a": [None, None, None], "b": None}),
        ("a: 2026-01-31", {"a": "2026-01-31"}),
        ("a: 12:30:45", {"a": "12:30:45"}),
        ("a: 1_000", {"a": "1_000"}),
        ("a: '12'", {"a": "12"}),
        ("a: !!str 12", {"a": "12"}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("1: one", {"1": "one"}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: [-.inf, .inf]", {"a": [float("-inf"), float("inf")]}),
        ("", None),
        ("# only a remark", None),
    ],
)
def test_yaml_is_read_by_the_rules_of_version_1_2(text: str, value: object) -> None:
    assert load_yaml(text, source="x.yaml") == value


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: 1\nb: 2\na: 3", "x.yaml, line 3: The key 'a' stands twice."),
        ("a:\n  b: 1\n  b: 2", "x.yaml, line 3: The key 'b' stands twice."),
        ("a: [1\nb: 2", "x.yaml, line 2: While parsing a flow sequence did not find expected "
         "',' or ']'."),
        ("a: *x", "x.yaml, line 1: Found undefined alias."),
        ("a: &x [*x]", "x.yaml, line 1: A value contains itself."),
        ("a: !!python/object:os.system 1",
         "x.yaml, line 1: The tag tag:yaml.org,2002:python/object:os.system is not known."),
        ("a: !secret 1", "x.yaml, line 1: The tag !secret is not known."),
        ("? [1, 2]\n: x", "x.yaml, line 1: A key must be text."),
        ("a: 1\n---\nb: 2", "x.yaml, line 2: Expected a single document in the stream but found "
         "another document."),
        ("a: \udc80", "x.yaml, line 1: There is a character that is no text."),
        ("[" * 200_000 + "]" * 200_000, "x.yaml, line 1: Values are nested too deeply."),
        ("- " * 200_000, "x.yaml, line 1: Values are nested too deeply."),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_file_and_line(text: str, what: str) -> None:
    with pytest.raises(YamlError) as caught:
        load_yaml(text, source="x.yaml", then="nbprod jobs show x")

    assert caught.value.what == what
    assert str(caught.value).splitlines()[1:] == [
        "It is read as YAML 1.2, where every key of a mapping stands once.",
        "Correct it, then try: nbprod jobs show x",
    ]


def test_a_control_character_is_refused_on_its_line() -> None:
    with pytest.raises(YamlError) as caught:
        load_yaml("a: 1\nb: \x01", source="x.yaml")

    assert caught.value.line == 2


def test_aliases_cannot_blow_a_page_up_into_gigabytes() -> None:
    laughs = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    laughs += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    with pytest.raises(YamlError, match="There are more than 100,000 values"):
        load_yaml("\n".join(laughs), source="x.yaml")


def test_the_first_line_may_be_somewhere_in_a_file() -> None:
    with pytest.raises(YamlError) as caught:
        load_yaml("a: 1\na: 2", source="x.yaml", first_line=10)

    assert caught.value.line == 11


def test_the_line_of_a_value_is_found_again() -> None:
    text = "a: 1\nb:\n  - x\n  - c: 3\n    d: 4\n"

    lines = [line_of(text, keys) for keys in (["a"], ["b"], ["b", 1], ["b", 1, "d"], ["no"])]

    assert lines == [1, 2, 4, 5, None]
