"""Check a template against the rules, without running it."""

import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

from nbprod.core.errors.notebook import TemplateError, UnknownKeyError
from nbprod.notebook.reading import Reading
from nbprod.notebook.rules import RULES
from nbprod.notebook.template import Template, load_template

#: The code under which a file that cannot be read at all is reported.
UNREADABLE = "NB000"

_IGNORE = re.compile(r"#\s*nbprod:\s*ignore\[([A-Z0-9,\s]+)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to change in a template."""

    code: str  #: "NB003"
    title: str  #: of the rule: "absolute path"
    message: str  #: a sentence about this place
    why: str  #: why it matters
    cell: int | None = None  #: index from 0; None for the file as a whole
    line: int | None = None  #: of the cell, from 1

    @property
    def place(self) -> str:
        """Return `cell 3, line 2` as a person counts them; "" for the file as a whole."""
        if self.cell is None:
            return ""
        line = "" if self.line is None else f", line {self.line}"
        return f"cell {self.cell + 1}{line}"


def check(template: Template) -> list[Finding]:
    """Return what to change, from the top of the page down; an empty list for a good template.

    A cell with the comment `# nbprod: ignore[NB003]` has no finding of that rule.
    """
    reading = Reading(template)
    ignored = {cell.index: _ignored(cell.source) for cell in reading.code}
    findings = [
        Finding(
            code=rule.code,
            title=rule.title,
            message=message,
            why=rule.why,
            cell=cell,
            line=line,
        )
        for rule in RULES.values()
        for cell, line, message in rule.find(reading)
        if cell is None or rule.code not in ignored.get(cell, ())
    ]
    return sorted(findings, key=_position)


def check_file(path: Path, *, name: str | None = None) -> list[Finding]:
    """Return the findings of the file at `path`; one finding where it cannot be read at all."""
    try:
        template = load_template(path, name=name)
    except UnknownKeyError as error:
        rule = RULES["NB007"]
        return [
            Finding(
                code=rule.code,
                title=rule.title,
                message=error.what,
                why=rule.why,
                cell=0,
                line=error.line,
            )
        ]
    except TemplateError as error:
        return [Finding(code=UNREADABLE, title="cannot be read", message=error.what, why=error.why)]
    return check(template)


def _ignored(source: str) -> frozenset[str]:
    if "nbprod:" not in source:
        return frozenset()
    found: set[str] = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            match = _IGNORE.search(token.string) if token.type == tokenize.COMMENT else None
            if match:
                found.update(code.strip() for code in match[1].split(","))
    except (tokenize.TokenError, SyntaxError):
        pass  # a cell that is no Python has NB016
    return frozenset(found)


def _position(finding: Finding) -> tuple[int, int, str]:
    cell = -1 if finding.cell is None else finding.cell
    return cell, finding.line or 0, finding.code
