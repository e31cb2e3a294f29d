"""A template: one notebook file, read for what it says of itself and what may be set.

Reading needs no nbformat (0.1 to 1.1 s to import): a notebook is JSON. It is imported when a
whole notebook is asked for, in order to execute it.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbprod.core.digest import digest_bytes
from nbprod.core.errors.notebook import UnreadableTemplateError
from nbprod.core.json import JSON
from nbprod.notebook.front_matter import FrontMatter, is_front_matter, parse_front_matter
from nbprod.notebook.parameters import Parameter, read_parameters

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from nbprod.notebook.binding import Bound, Mode

#: A template is text. Outputs of this size were committed by accident, and every run would
#: read, copy and store them.
MAX_BYTES = 50_000_000

SUFFIXES = (".ipynb", ".py")


class Origin(StrEnum):
    """Where a template was found."""

    WORKSPACE = "workspace"  #: in the workspace's templates folder
    PACKAGE = "package"  #: in an installed package, through the group `nbprod.templates`
    BUILTIN = "built-in"  #: it came with nbprod
    FILE = "file"  #: given as a path


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell, as far as reading goes."""

    index: int  #: from 0
    type: str  #: "code", "markdown" or "raw"
    source: str
    tags: tuple[str, ...] = ()
    outputs: int = 0  #: how many outputs were committed
    execution_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A notebook meant to be run many times."""

    name: str  #: the name it was found under, or its path
    path: Path
    digest: str  #: sha256 of the file's bytes
    front_matter: FrontMatter = field(default_factory=FrontMatter)
    parameters: tuple[Parameter, ...] = ()
    has_parameters_cell: bool = False
    origin: Origin = Origin.FILE
    package: str = ""  #: the distribution it came in; "" for a file of one's own
    kernel: str = ""  #: name of its kernelspec; "" where it names none
    language: str = "python"
    cells: tuple[Cell, ...] = field(default=(), repr=False)
    content: bytes = field(default=b"", repr=False)  #: of the file when it was read

    @property
    def title(self) -> str:
        """Return the front matter's title, else the name."""
        return self.front_matter.title or self.name

    @property
    def is_python(self) -> bool:
        """Say whether its parameters cell can be read."""
        return self.language == "python"

    def parameter(self, name: str) -> Parameter | None:
        """Return the parameter of this name."""
        return next((found for found in self.parameters if found.name == name), None)

    def bind(
        self, given: Mapping[str, object], *, mode: "Mode", allow_unknown: bool = False
    ) -> "Bound":
        """Return the complete set of values for a run (see `binding.bind`).

        Of a notebook in another language than Python the parameters cannot be read: any name
        is taken then, as papermill does.

        Raises:
            ForeignParametersError: it is in a language that cannot be written.
        """
        from nbprod.notebook.binding import bind

        bound = bind(
            self.parameters,
            given,
            mode=mode,
            allow_unknown=allow_unknown or (self.has_parameters_cell and not self.is_python),
            has_cell=self.has_parameters_cell,
            template=self.name,
        )
        if self.is_python:
            return bound
        from nbprod.notebook.foreign import foreign_source

        values = {name: bound.values[name] for name in bound.given}
        source = foreign_source(
            values, kernel=self.kernel, language=self.language, template=self.name
        )
        return replace(bound, source=source)

    def notebook(self) -> "NotebookNode":
        """Return a fresh copy of the whole notebook, in the newest minor version of format 4.

        It is made of the bytes that were digested, whatever the file holds by now.
        """
        from nbprod.notebook.document import whole_notebook

        return whole_notebook(_raw(self.path, self.content, where=str(self.path)))

    def snapshot(self) -> bytes:
        """Return the same notebook as the content of a file, without loading nbformat for it."""
        from nbprod.notebook.document import completed

        raw = completed(_raw(self.path, self.content, where=str(self.path)))
        text = json.dumps(raw, ensure_ascii=False, indent=1, sort_keys=True)
        # Lone surrogates, from escapes in the file, are valid only as escapes.
        return text.encode("utf-8", "backslashreplace") + b"\n"


def load_template(path: Path, *, name: str | None = None) -> Template:
    """Return the template in the file at `path`, read but not executed.

    Raises:
        UnreadableTemplateError: it is missing, too large, no UTF-8, no JSON, or no notebook.
        FrontMatterError, ParametersCellError: naming the file and the line.
    """
    where = _short(path)
    content = _read(path, where=where)
    raw = _raw(path, content, where=where)
    cells = _cells(raw, where=where)
    language = _language(raw)
    template = Template(
        name=name or where,
        path=path,
        digest=digest_bytes(content),
        cells=cells,
        content=content,
        kernel=_text(_metadata(raw, "kernelspec").get("name")),
        language=language,
    )
    if cells and cells[0].type == "raw" and is_front_matter(cells[0].source):
        found = parse_front_matter(cells[0].source, where=where)
        template = replace(template, front_matter=found)
    cell = parameters_cell(cells)
    if cell is None:
        return template
    parameters: tuple[Parameter, ...] = ()
    if template.is_python:
        parameters = read_parameters(cell.source, where=f"{where}, cell {cell.index + 1}")
    return replace(template, has_parameters_cell=True, parameters=parameters)


def parameters_cell(cells: tuple[Cell, ...]) -> Cell | None:
    """Return the first code cell tagged `parameters`, as papermill does."""
    return next((cell for cell in cells if cell.type == "code" and "parameters" in cell.tags), None)


def _raw(path: Path, content: bytes, *, where: str) -> dict[str, Any]:
    return _from_percent(content, where=where) if path.suffix == ".py" else _json(content, where)


def _read(path: Path, *, where: str) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UnreadableTemplateError(
                where,
                f"the file is {size / 1e6:,.0f} MB large.",
                f"A template is text; the limit is {MAX_BYTES / 1e6:,.0f} MB. Outputs were "
                "probably saved in it, or data pasted into a cell.",
                "Move data into files, and strip outputs with: "
                f"jupyter nbconvert --clear-output --inplace {shlex.quote(where)}",
            )
        return path.read_bytes()
    except OSError as error:
        raise UnreadableTemplateError(
            where,
            f"it cannot be read: {error.strerror}.",
            "A template is a file that ends in .ipynb or .py.",
            "See which templates there are: nbprod templates list",
        ) from error


def _decoded(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UnreadableTemplateError(
            where,
            f"line {line} holds the byte 0x{content[error.start]:02x}, which is not UTF-8.",
            "Notebooks are UTF-8; guessing an encoding would change letters silently.",
            "Convert it, if it is from Windows: "
            f"iconv -f WINDOWS-1252 -t UTF-8 -o fixed{Path(where).suffix} {shlex.quote(where)}",
        ) from error


def _json(content: bytes, where: str) -> dict[str, Any]:
    text = _decoded(content, where)
    check = f"Open it in JupyterLab, or check it with: python -m json.tool {shlex.quote(where)}"
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}: it is not JSON: {error.msg}."
        if text.lstrip().startswith(("<<<<<<<", "{")) and "\n<<<<<<<" in text:
            problem = f"line {error.lineno}: it is not JSON: there are marks of a git conflict."
        why = "A notebook is a JSON file; this one was cut off, merged or edited by hand."
        raise UnreadableTemplateError(where, problem, why, check) from error
    except RecursionError as error:
        why = "No notebook nests thousands of levels."
        raise UnreadableTemplateError(where, "it is nested too deeply.", why, check) from error
    if not isinstance(raw, dict) or "nbformat" not in raw:
        why = "A notebook is a JSON object with the keys nbformat, metadata and cells."
        raise UnreadableTemplateError(where, "it is JSON, but no notebook.", why, check)
    version = raw["nbformat"]
    if version != 4:
        why = "nbprod, as papermill, reads version 4, which Jupyter has written since 2015."
        do = f"Convert it with: jupyter nbconvert --to notebook --inplace {shlex.quote(where)}"
        if isinstance(version, int) and version > 4:
            do = "Update what reads it: pip install --upgrade nbformat nbprod"
        problem = f"it is a notebook of format version {version}."
        raise UnreadableTemplateError(where, problem, why, do)
    return raw


def _from_percent(content: bytes, *, where: str) -> dict[str, Any]:
    """Return a percent-format script as the JSON of a notebook."""
    import jupytext

    text = _decoded(content, where)
    try:
        found = jupytext.reads(text, fmt="py:percent")
    except Exception as error:
        raise UnreadableTemplateError(
            where,
            f"jupytext cannot read it: {error}",
            "A .py template is a script in percent format: cells begin with # %%.",
            f"See what it makes of it: jupytext --to ipynb --output - {shlex.quote(where)}",
        ) from error
    for cell in found.cells:
        cell.pop("id", None)  # drawn at random by jupytext
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": found.metadata, "cells": found.cells}


def _cells(raw: Mapping[str, Any], *, where: str) -> tuple[Cell, ...]:
    cells = raw.get("cells")
    check = f"Open it in JupyterLab, or check it with: python -m json.tool {shlex.quote(where)}"
    why = "A notebook's cells are a list; each has a cell_type and a source."
    if not isinstance(cells, list):
        raise UnreadableTemplateError(where, "the notebook has no list of cells.", why, check)
    found = []
    for index, cell in enumerate(cells):
        source = cell.get("source") if isinstance(cell, dict) else None
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        kind = cell.get("cell_type") if isinstance(cell, dict) else None
        if not isinstance(source, str) or kind not in ("code", "markdown", "raw"):
            problem = f"cell {index + 1} is not what a cell is in a notebook."
            raise UnreadableTemplateError(where, problem, why, check)
        found.append(_cell(index, kind, source, cell))
    return tuple(found)


def _cell(index: int, kind: str, source: str, cell: Mapping[str, Any]) -> Cell:
    metadata = cell.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    outputs = cell.get("outputs")
    count = cell.get("execution_count")
    return Cell(
        index=index,
        type=kind,
        source=source,
        tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        outputs=len(outputs) if isinstance(outputs, list) else 0,
        execution_count=count if isinstance(count, int) else None,
    )


def _metadata(raw: Mapping[str, Any], key: str) -> Mapping[str, JSON]:
    metadata = raw.get("metadata")
    found = metadata.get(key) if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def _language(raw: Mapping[str, Any]) -> str:
    named = _metadata(raw, "kernelspec").get("language") or _metadata(raw, "language_info").get(
        "name"
    )
    return _text(named).lower() or "python"


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else ""


def _short(path: Path) -> str:
    """Return the path as a person in the current folder would write it."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return path.as_posix()
