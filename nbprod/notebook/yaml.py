"""Read YAML 1.2: `on:` is a key, `1e-4` a number, `2026-01-31` text, and no key stands twice.

PyYAML does the scanning (its C parser: 10,000 job files in 2.4 s against 23 s); what the scalars
mean is decided here, by the core schema of YAML 1.2, so that every value is JSON.
"""

import re
from collections.abc import Sequence
from typing import ClassVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from nbprod.core.errors.notebook import YamlError
from nbprod.core.json import JSON

#: Aliases may repeat a part, not blow a page up into gigabytes ("billion laughs").
MAX_NODES = 100_000

MAX_DEPTH = 100

_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, JSON] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TAG = "tag:yaml.org,2002:"
_PLAIN = "plain"


class _Loader(yaml.CSafeLoader):
    """Marks every unquoted scalar without a tag, instead of guessing by YAML 1.1's rules."""

    yaml_implicit_resolvers: ClassVar = {  # type: ignore[misc]  # types-PyYAML says instance
        None: [(_PLAIN, re.compile(""))]
    }


def load_yaml(text: str, *, source: str, first_line: int = 1, then: str = "nbprod doctor") -> JSON:
    """Return the one document in `text` as JSON; None for an empty one.

    Keys become text as written. `source` and `first_line` name the place in errors, `then` the
    command with which the reader goes on once it is corrected.

    Raises:
        YamlError: naming `source` and the line.
    """
    return _Reader(source=source, first_line=first_line, then=then).read(text)


def line_of(text: str, keys: Sequence[str | int]) -> int | None:
    """Return the line, from 1, on which the value or key at the end of `keys` stands.

    For errors about the meaning of a text that `load_yaml` has accepted.
    """
    node = yaml.compose(text, Loader=_Loader)
    line: int | None = None
    for key in keys:
        if isinstance(node, MappingNode):
            pairs = [pair for pair in node.value if pair[0].value == key]
            if not pairs:
                break
            line, node = pairs[0][0].start_mark.line + 1, pairs[0][1]
        elif isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            break
    return line


class _Reader:
    """Turns one text into JSON. Knows where it is, for errors."""

    def __init__(self, *, source: str, first_line: int, then: str) -> None:
        self.source = source
        self.first_line = first_line
        self.then = then
        self.nodes = 0

    def read(self, text: str) -> JSON:
        try:
            self.refuse_depth(text)
            node = yaml.compose(text, Loader=_Loader)
            return None if node is None else self.value(node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self.error(
                mark.line if mark else None,
                _sentence(f"{error.context or ''} {error.problem or ''}"),
            ) from error
        except yaml.YAMLError as error:
            raise self.error(_line_of_bad_character(text), _sentence(str(error))) from error
        except UnicodeEncodeError as error:
            line = text.count("\n", 0, error.start)
            raise self.error(line, "There is a character that is no text.") from error
        except RecursionError as error:
            raise self.error(None, "Values are nested too deeply.") from error

    def refuse_depth(self, text: str) -> None:
        # The C composer recurses without a limit: 200,000 brackets end the process. Its events
        # are counted first, but only where there is enough to nest with.
        if sum(text.count(mark) for mark in ("[", "{", "- ", "? ")) <= MAX_DEPTH:
            return
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                line = event.start_mark.line if event.start_mark else None
                raise self.error(line, "Values are nested too deeply.")

    def value(self, node: Node, above: tuple[int, ...]) -> JSON:
        self.nodes += 1
        line: int = node.start_mark.line
        if self.nodes > MAX_NODES:
            raise self.error(line, f"There are more than {MAX_NODES:,} values.")
        if id(node) in above:
            raise self.error(line, "A value contains itself.")
        within = (*above, id(node))
        if isinstance(node, ScalarNode):
            return self.scalar(node)
        if isinstance(node, SequenceNode):
            self.refuse_tag(node, "seq")
            return [self.value(item, within) for item in node.value]
        self.refuse_tag(node, "map")
        found: dict[str, JSON] = {}
        for key, item in node.value:
            if not isinstance(key, ScalarNode):
                raise self.error(key.start_mark.line, "A key must be text.")
            if key.value in found:
                raise self.error(key.start_mark.line, f"The key {key.value!r} stands twice.")
            found[key.value] = self.value(item, within)
        return found

    def scalar(self, node: ScalarNode) -> JSON:
        if node.tag == _PLAIN:
            return _plain(node.value)
        self.refuse_tag(node, "str")
        return str(node.value)

    def refuse_tag(self, node: Node, expected: str) -> None:
        if node.tag not in (f"{_TAG}{expected}", "!"):
            raise self.error(node.start_mark.line, f"The tag {node.tag} is not known.")

    def error(self, line: int | None, problem: str) -> YamlError:
        at = None if line is None else line + self.first_line
        return YamlError(self.source, at, problem, self.then)


def _plain(text: str) -> JSON:
    """Return what an unquoted scalar means in YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        # Python refuses to convert more than 4,300 digits; nobody means such a number.
        return int(text) if len(text) <= 4300 else text
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "").lower())
    return text


def _sentence(problem: str) -> str:
    text = " ".join(problem.split())
    return f"{text[:1].upper()}{text[1:]}."


def _line_of_bad_character(text: str) -> int | None:
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    return text.count("\n", 0, found.start()) if found else None
