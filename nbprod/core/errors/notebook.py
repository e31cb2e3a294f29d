"""Errors of the notebook room's template side: files, front matter, parameters, YAML.

Every class pickles: its constructor's positional arguments are what `super().__init__` keeps.
"""

import shlex
from collections.abc import Sequence

from nbprod.core.errors.root import NbprodError

SHOW = "nbprod templates show"
CHECK = "nbprod templates check"


def nearest(name: str, known: Sequence[str]) -> str | None:
    """Return the known name that `name` was probably meant to be: misspelt, or only begun."""
    from difflib import get_close_matches  # needed only when something is already wrong

    folded = {candidate.casefold(): candidate for candidate in known}
    found = get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    if not found and len(name) > 2:
        found = [candidate for candidate in folded if candidate.startswith(name.casefold())]
    return folded[found[0]] if len(found) == 1 else None


def suggest(name: str, known: Sequence[str]) -> str:
    """Return ` Did you mean 'x'?`, or nothing when no known name is near."""
    near = nearest(name, known)
    return f" Did you mean {near!r}?" if near else ""


class YamlError(NbprodError, ValueError):
    """A YAML text cannot be read, or says one thing twice."""

    def __init__(self, source: str, line: int | None, problem: str, then: str) -> None:
        super().__init__(source, line, problem, then)
        self.source = source
        self.line = line  #: from 1
        self.problem = problem
        at = f"{source}, line {line}" if line else source
        self.what = f"{at}: {problem}"
        self.why = "It is read as YAML 1.2, where every key of a mapping stands once."
        self.do = f"Correct it, then try: {then}"


class TemplateError(NbprodError, ValueError):
    """A template is not what it should be."""


class UnknownTemplateError(TemplateError, LookupError):
    """No template has this name, and no file lies at this path."""

    def __init__(self, name: str, known: Sequence[str], is_path: bool = False) -> None:  # noqa: FBT001, FBT002 - pickled by position
        super().__init__(name, tuple(known), is_path)
        self.name = name
        self.known = tuple(sorted(known))
        kind = "file" if is_path else "template named"
        self.what = f"There is no {kind} {name!r}.{suggest(name, self.known)}"
        self.why = f"Known templates: {', '.join(self.known) or 'none'}."
        self.do = "See where each comes from with: nbprod templates list"


class UnreadableTemplateError(TemplateError):
    """A template's file is no notebook that can be read."""

    def __init__(self, path: str, problem: str, why: str, do: str) -> None:
        super().__init__(path, problem, why, do)
        self.path = path
        self.what = f"{path}: {problem}"
        self.why = why
        self.do = do


class FrontMatterError(TemplateError):
    """The first raw cell of a template does not say what front matter may say."""

    def __init__(self, where: str, line: int | None, problem: str, why: str = "") -> None:
        super().__init__(where, line, problem, why)
        self.where = where
        self.line = line  #: of the cell, from 1
        at = f"{where}, line {line}" if line else where
        self.what = f"{at}: {problem}"
        self.why = why or "Front matter is the first raw cell: YAML between two lines of ---."
        self.do = f"Correct that cell, then check it with: {CHECK} {_target(where)}"


class UnknownKeyError(FrontMatterError, LookupError):
    """Front matter has a key that looks like one of ours, misspelt."""

    def __init__(
        self, where: str, line: int | None, key: str, known: Sequence[str], note: str = ""
    ) -> None:
        known = tuple(known)
        super().__init__(
            where,
            line,
            f"there is no key {key!r} here.{suggest(key, known)}",
            f"Known keys: {', '.join(known)}.{f' {note}' if note else ''}",
        )
        self.args = (where, line, key, known, note)
        self.key = key


class ParametersCellError(TemplateError):
    """The parameters cell cannot be read as Python, or an annotation in it makes no sense."""

    def __init__(self, where: str, line: int | None, problem: str) -> None:
        super().__init__(where, line, problem)
        self.where = where
        self.line = line  #: of the cell, from 1
        at = f"{where}, line {line}" if line else where
        self.what = f"{at}: {problem}"
        self.why = "The cell tagged `parameters` is read, never executed, to learn what may be set."
        self.do = f"Correct that cell, then check it with: {CHECK} {_target(where)}"


class ParameterError(NbprodError, ValueError):
    """Parameters were given that the template does not take."""


class UnknownParameterError(ParameterError, LookupError):
    """A parameter was given that the template does not have."""

    def __init__(self, template: str, name: str, known: Sequence[str]) -> None:
        super().__init__(template, name, tuple(known))
        self.name = name
        self.known = tuple(known)
        self.what = f"{template} has no parameter {name!r}.{suggest(name, self.known)}"
        self.why = f"Its parameters: {', '.join(self.known) or 'none'}."
        self.do = f"See what each accepts with: {SHOW} {shlex.quote(template)}"


class InvalidParameterError(ParameterError):
    """A parameter's value has the wrong type or is out of range."""

    def __init__(self, template: str, name: str, value: str, accepted: str, note: str = "") -> None:
        super().__init__(template, name, value, accepted, note)
        self.name = name
        self.value = value  #: as text, shortened
        self.accepted = accepted
        self.what = f"Parameter {name!r} of {template} does not accept {value}."
        self.why = f"It takes {accepted}{f': {note}' if note else ''}."
        self.do = f"See what each parameter accepts with: {SHOW} {shlex.quote(template)}"


class MissingParameterError(ParameterError):
    """A parameter without a default was not given."""

    def __init__(self, template: str, name: str, accepted: str, note: str = "") -> None:
        super().__init__(template, name, accepted, note)
        self.name = name
        self.what = f"Parameter {name!r} of {template} has no default and was not given."
        self.why = f"It takes {accepted}{f': {note}' if note else ''}."
        self.do = f"Give it a value: nbprod run {shlex.quote(template)} -p {name}=VALUE"


class NoParametersCellError(ParameterError):
    """Parameters were given to a notebook that has no parameters cell."""

    def __init__(self, template: str, names: Sequence[str]) -> None:
        super().__init__(template, tuple(names))
        given = ", ".join(names)
        self.what = f"{template} has no parameters cell, and parameters were given: {given}."
        self.why = "Put before its first cell they would do nothing, or be overwritten, in silence."
        pairs = " ".join(f"-p {name}=VALUE" for name in names)
        self.do = (
            "Tag the cell that sets them `parameters`, or put them in all the same with: "
            f"nbprod run {shlex.quote(template)} {pairs} --allow-unknown"
        )


class ForeignParametersError(ParameterError):
    """Parameters were given to a notebook in a language that nothing here can write."""

    def __init__(self, template: str, language: str, names: Sequence[str]) -> None:
        super().__init__(template, language, tuple(names))
        self.what = f"{template} is in {language}, and parameters were given: {', '.join(names)}."
        self.why = "papermill, which would write them into it, does not know that language."
        self.do = f"Run it with the values it holds: nbprod run {shlex.quote(template)}"


class ParameterTextError(ParameterError):
    """A `-p` argument is not NAME=VALUE, or names one parameter twice."""

    def __init__(self, pair: str, problem: str) -> None:
        super().__init__(pair, problem)
        self.what = f"-p {pair}: {problem}"
        self.why = "A parameter is given as NAME=VALUE; the value is all that follows the first =."
        self.do = "For example: nbprod run TEMPLATE -p epochs=2 -p data=texts.csv"


class ScaffoldError(TemplateError):
    """A new template cannot be made under this name."""

    def __init__(self, problem: str, why: str, do: str) -> None:
        super().__init__(problem, why, do)
        self.what = problem
        self.why = why
        self.do = do


def _target(where: str) -> str:
    # `where` reads "templates/x.ipynb, cell 1"; the command takes the file alone.
    return shlex.quote(where.partition(", cell ")[0])
