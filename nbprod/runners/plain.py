"""What plain papermill leaves to the engine: limits, caps, and where to write meanwhile."""

import logging
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from nbprod.core.amounts import parse_duration
from nbprod.core.errors import FrontMatterError, NbprodError
from nbprod.core.outputs import OutputCaps, parse_caps
from nbprod.notebook.front_matter import FrontMatter, is_front_matter, parse_front_matter
from nbprod.notebook.kernel import workspace_root
from nbprod.notebook.rendering import replace_file
from nbprod.runners.memory import MemoryLimit
from nbprod.runners.overflow import Overflow
from nbprod.runners.vitals import Vitals

if TYPE_CHECKING:
    from nbformat import NotebookNode

logger = logging.getLogger(__name__)

#: papermill's name for standard output, to which nothing is written before the end.
STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """How to run a notebook that papermill alone handed over."""

    timeout: timedelta | None  #: of the whole run
    memory_bytes: int | None  #: that the kernel and its children may hold
    caps: OutputCaps
    overflow: Overflow | None
    write: Callable[[bytes], None] | None  #: puts a notebook at papermill's output path

    def vitals(self) -> Vitals:
        """Return what measures the kernel and holds it to its memory."""
        if self.memory_bytes is None:
            return Vitals()
        return Vitals(limit=MemoryLimit(self.memory_bytes, name=f"papermill-{os.getpid()}"))


def read_plain(
    notebook: "NotebookNode", *, output_path: str | None, run_timeout: Any, outputs: Any
) -> Plain:
    """Return what the engine's arguments, the front matter and nbprod.toml ask for, in that order.

    Raises:
        ValueError: the arguments `run_timeout` or `outputs` cannot be understood.
    """
    front = _front_matter(notebook)
    caps = OutputCaps().with_limits(_limits_of_workspace()).with_limits(front.outputs)
    place = _local_path(output_path)
    return Plain(
        timeout=front.resources.timeout if run_timeout is None else _duration(run_timeout),
        memory_bytes=front.resources.memory_bytes,
        caps=caps.with_limits(parse_caps(outputs, fail=_refuse)),
        overflow=None if place is None else Overflow(place.with_name(f"{place.stem}_outputs")),
        write=_writer(output_path, place),
    )


def _front_matter(notebook: "NotebookNode") -> FrontMatter:
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "raw" or not is_front_matter(first.source):
        return FrontMatter()
    try:
        return parse_front_matter(first.source, where="The notebook")
    except FrontMatterError as error:
        # papermill runs any notebook; what this one asks for cannot be given.
        logger.warning("%s", error)
        return FrontMatter()


def _limits_of_workspace() -> Mapping[str, int | None]:
    path = workspace_root() / "nbprod.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return parse_caps(table.get("runs", {}).get("outputs"), fail=_refuse)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, NbprodError) as error:
        logger.warning("[runs] of %s is not used: %s", path, error)
        return {}


def _refuse(_: tuple[str, ...], problem: str) -> NoReturn:
    raise ValueError(problem)


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return timedelta(seconds=value)
    found = parse_duration(value) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"run_timeout is seconds or a duration such as 2h, not {value!r}.")
    return found


def _local_path(output_path: str | None) -> Path | None:
    """Return the file that papermill will write, where it is one of this machine.

    The kernel may run in another folder than the one that a relative path starts from.
    """
    from papermill.iorw import LocalHandler, papermill_io

    if output_path is None or output_path == STANDARD_OUTPUT:
        return None
    handler = papermill_io.get_handler(output_path)
    if type(handler) is not LocalHandler:
        return None
    return Path(handler._cwd or "") / output_path


def _writer(output_path: str | None, place: Path | None) -> Callable[[bytes], None] | None:
    if place is not None:
        return lambda content: replace_file(place, content)
    if output_path is None or output_path == STANDARD_OUTPUT:
        return None
    from papermill.iorw import papermill_io

    return lambda content: papermill_io.write(content.decode("utf-8"), output_path)
