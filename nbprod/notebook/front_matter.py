"""Front matter: what the first raw cell of a template says about it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

from nbprod.core.errors.notebook import (
    FrontMatterError,
    UnknownKeyError,
    YamlError,
    nearest,
    suggest,
)
from nbprod.core.json import JSON
from nbprod.core.resources import Resources
from nbprod.core.scraps import ScrapDeclaration, ScrapType

KEYS = ("title", "description", "kind", "resources", "scraps", "outputs", "report")
SCRAP_KEYS = ("type", "range", "unit", "higher_is_better", "required", "description")
REPORT_KEYS = ("title", "code")

#: Keys that Quarto and jupytext put into the same cell. They are not ours, nor a mistake.
FOREIGN_KEYS = frozenset(
    {
        "abstract",
        "author",
        "authors",
        "bibliography",
        "categories",
        "citation",
        "code-fold",
        "copyright",
        "crossref",
        "css",
        "date",
        "date-modified",
        "doi",
        "draft",
        "echo",
        "editor",
        "engine",
        "execute",
        "fig-height",
        "fig-width",
        "filters",
        "format",
        "format-links",
        "highlight-style",
        "html",
        "html-math-method",
        "image",
        "ipynb-filters",
        "jupyter",
        "jupytext",
        "keywords",
        "knitr",
        "lang",
        "lightbox",
        "number-sections",
        "order",
        "output",
        "page-layout",
        "params",
        "pdf",
        "published-title",
        "reference-location",
        "subtitle",
        "tags",
        "tbl-cap-location",
        "theme",
        "toc",
        "toc-depth",
        "toc-title",
        "website",
    }
)


class Kind(StrEnum):
    """What a template is for."""

    EXPLORE = "explore"  #: look at data
    BASELINE = "baseline"  #: the simple model that must be beaten
    FINETUNE = "finetune"  #: train a model
    EVALUATE = "evaluate"  #: score models on the same rows, for gates
    SCORE = "score"  #: predict for new rows
    MONITOR = "monitor"  #: compare what comes in with what was trained on
    REPORT = "report"  #: tell people


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """How a run of the template is shown to people who never open a notebook."""

    title: str = ""  #: for its audience; the template's title where empty
    code: str = "hidden"  #: "hidden" or "shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownKey:
    """A top-level key that nbprod does not know. Tools beside it may: a run goes on."""

    name: str
    line: int | None  #: of the cell, from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontMatter:
    """What a template says about itself. Everything has a default: any notebook may run."""

    is_present: bool = False  #: False for a notebook without front matter
    title: str = ""
    description: str = ""
    kind: Kind | None = None
    resources: Resources = field(default_factory=Resources)
    scraps: tuple[ScrapDeclaration, ...] = ()
    #: `max_bytes`, `max_count`, None for no limit; what is missing is for nbprod.toml to say
    outputs: Mapping[str, int | None] = field(default_factory=dict)
    report: ReportOptions = field(default_factory=ReportOptions)
    unknown: tuple[UnknownKey, ...] = ()


def is_front_matter(source: str) -> bool:
    """Say whether a cell's text starts as front matter does."""
    return source.lstrip("\ufeff \t\r\n").split("\n", 1)[0].rstrip() == "---"


def parse_front_matter(source: str, *, where: str) -> FrontMatter:
    """Return what the text of a template's first raw cell says.

    Args:
        source: the cell's text, `---` lines included.
        where: the file, for errors: `templates/x.ipynb`.

    Raises:
        FrontMatterError: naming `where` and the line of the cell.
    """
    return _Reader(source, where=f"{where}, cell 1").read()


class _Reader:
    def __init__(self, source: str, *, where: str) -> None:
        self.where = where
        lines = source.removeprefix("\ufeff").splitlines()
        opening = next((n for n, line in enumerate(lines) if line.strip()), 0)
        closing = next(
            (n for n, line in enumerate(lines) if n > opening and line.rstrip() in ("---", "...")),
            None,
        )
        if closing is None:
            raise FrontMatterError(where, opening + 1, "the front matter is not closed by ---.")
        rest = next((n for n in range(closing + 1, len(lines)) if lines[n].strip()), None)
        if rest is not None:
            problem = "there is text after the --- that closes the front matter."
            raise FrontMatterError(where, rest + 1, problem)
        self.first_line = opening + 2
        self.text = "\n".join(lines[opening + 1 : closing])

    def read(self) -> FrontMatter:
        # Imported here: most notebooks that are only listed or run have no front matter.
        from nbprod.core.outputs import parse_caps
        from nbprod.notebook.resources import parse_resources
        from nbprod.notebook.yaml import load_yaml

        try:
            found = load_yaml(self.text, source=self.where, first_line=self.first_line)
        except YamlError as error:
            raise FrontMatterError(self.where, error.line, error.problem) from error
        if found is None:
            found = {}
        if not isinstance(found, dict):
            self.fail((), "the front matter is a mapping, such as `title: Explore texts`.")
        unknown = tuple(self.unknown(key) for key in found if self.is_strange(key))
        return FrontMatter(
            is_present=True,
            title=self.text_of(found, ("title",)),
            description=self.text_of(found, ("description",)),
            kind=self.kind(found.get("kind")),
            resources=parse_resources(
                found.get("resources"),
                fail=lambda keys, problem: self.fail(("resources", *keys), problem),
            ),
            scraps=self.scraps(found.get("scraps")),
            outputs=parse_caps(
                found.get("outputs"),
                fail=lambda keys, problem: self.fail(("outputs", *keys), problem),
            ),
            report=self.report(found.get("report")),
            unknown=unknown,
        )

    def is_strange(self, key: str) -> bool:
        return key not in KEYS and key not in FOREIGN_KEYS

    def unknown(self, key: str) -> UnknownKey:
        # A misspelt `resources` would run without its GPU and say nothing, so it is refused.
        # A key near none of ours belongs to some other tool; `check` mentions it.
        if nearest(key, KEYS) is not None:
            raise UnknownKeyError(self.where, self.line((key,)), key, KEYS)
        return UnknownKey(name=key, line=self.line((key,)))

    def text_of(self, found: dict[str, JSON], keys: tuple[str, ...]) -> str:
        value = found.get(keys[-1])
        if value is None:
            return ""
        if not isinstance(value, str):
            self.fail(keys, f"{'.'.join(keys)} is text, not {value!r}.")
        return value.strip()

    def kind(self, value: JSON) -> Kind | None:
        if value is None:
            return None
        kinds = [kind.value for kind in Kind]
        if not isinstance(value, str) or value not in kinds:
            hint = suggest(str(value), kinds)
            self.fail(("kind",), f"kind is one of {', '.join(kinds)}, not {value!r}.{hint}")
        return Kind(value)

    def scraps(self, value: JSON) -> tuple[ScrapDeclaration, ...]:
        if value is None:
            return ()
        if not isinstance(value, dict):
            self.fail(("scraps",), "scraps is a mapping from names to what each is.")
        return tuple(self.scrap(name, declared) for name, declared in value.items())

    def scrap(self, name: str, value: JSON) -> ScrapDeclaration:
        at = ("scraps", name)
        if isinstance(value, str):
            value = {"type": value}
        if value is None:
            value = {}
        if not isinstance(value, dict):
            self.fail(at, f"scrap {name!r} is a mapping, such as {{type: number, required: true}}.")
        self.refuse_unknown(value, SCRAP_KEYS, at)
        types = [kind.value for kind in ScrapType]
        kind = value.get("type", ScrapType.ANY.value)
        if kind not in types:
            hint = suggest(str(kind), types)
            problem = (
                f"the type of scrap {name!r} is one of {', '.join(types)}, not {kind!r}.{hint}"
            )
            self.fail((*at, "type"), problem)
        higher = value.get("higher_is_better")
        if higher is not None and not isinstance(higher, bool):
            self.fail(
                (*at, "higher_is_better"), f"higher_is_better is true or false, not {higher!r}."
            )
        required = value.get("required", False)
        if not isinstance(required, bool):
            self.fail((*at, "required"), f"required is true or false, not {required!r}.")
        return ScrapDeclaration(
            name=name,
            type=ScrapType(str(kind)),
            range=self.range(value.get("range"), (*at, "range")),
            unit=self.text_of(value, (*at, "unit")),
            higher_is_better=higher,
            required=required,
            description=self.text_of(value, (*at, "description")),
        )

    def range(self, value: JSON, at: tuple[str, ...]) -> tuple[float | None, float | None] | None:
        if value is None:
            return None
        problem = (
            f"the range of scrap {at[1]!r} is [low, high] with null for no bound, not {value!r}."
        )
        if not isinstance(value, list) or len(value) != 2:
            self.fail(at, problem)
        low, high = (self.bound(bound, at, problem) for bound in value)
        if low is not None and high is not None and low > high:
            self.fail(
                at, f"the range of scrap {at[1]!r} ends at {high:g}, below its start {low:g}."
            )
        return low, high

    def bound(self, value: JSON, at: tuple[str, ...], problem: str) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            self.fail(at, problem)
        return None if math.isinf(value) else float(value)

    def report(self, value: JSON) -> ReportOptions:
        if value is None:
            return ReportOptions()
        if not isinstance(value, dict):
            self.fail(("report",), 'report is a mapping, such as {title: "...", code: hidden}.')
        self.refuse_unknown(value, REPORT_KEYS, ("report",))
        code = value.get("code", "hidden")
        if code not in ("hidden", "shown"):
            self.fail(("report", "code"), f"report.code is hidden or shown, not {code!r}.")
        return ReportOptions(title=self.text_of(value, ("report", "title")), code=str(code))

    def refuse_unknown(
        self, value: dict[str, JSON], known: Sequence[str], at: tuple[str, ...]
    ) -> None:
        for key in value:
            if key not in known:
                # `{description: of these, most}` is two keys, the second without a value
                note = "A text with a comma in it needs quotes here." if value[key] is None else ""
                raise UnknownKeyError(self.where, self.line((*at, key)), key, known, note)

    def line(self, keys: Sequence[str | int]) -> int | None:
        from nbprod.notebook.yaml import line_of

        line = line_of(self.text, keys)
        return None if line is None else line + self.first_line - 1

    def fail(self, keys: Sequence[str | int], problem: str) -> NoReturn:
        raise FrontMatterError(self.where, self.line(keys), problem)
