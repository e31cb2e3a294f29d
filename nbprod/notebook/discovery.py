"""Find templates by name: the workspace's own, those of installed packages, the built-in ones."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import EntryPoint
from pathlib import Path

from nbprod.core.errors.notebook import UnknownTemplateError
from nbprod.core.plugins import installed
from nbprod.notebook.template import SUFFIXES, Origin, Template, load_template

GROUP = "nbprod.templates"
_BUILTIN = "builtin"  # the name of nbprod's own entry point

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A template's file, not read yet."""

    name: str  #: path below its folder, without the ending
    path: Path
    origin: Origin
    package: str = ""  #: the distribution it came in

    def load(self) -> Template:
        """Read the file (see `load_template`)."""
        template = load_template(self.path, name=self.name)
        return replace(template, origin=self.origin, package=self.package)


def builtin_folder() -> Path:
    """Return the folder of the templates that come with nbprod.

    A wheel carries them inside the package; in a checkout they are the repository's own folder.
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def find_templates(folder: Path | None) -> dict[str, Found]:
    """Return every template by name, sorted; a name found first hides later ones.

    The workspace's `folder` comes first, then installed packages by name, then the built-in ones.
    """
    found: dict[str, Found] = {}
    if folder is not None:
        for name, path in _files(folder):
            found.setdefault(name, Found(name=name, path=path, origin=Origin.WORKSPACE))
    entries = sorted(installed(GROUP).items(), key=lambda entry: (entry[0] == _BUILTIN, entry[0]))
    for key, entry in entries:
        package = _package(entry)
        origin = Origin.BUILTIN if key == _BUILTIN else Origin.PACKAGE
        try:
            source = Path(entry.load()())
        except Exception:  # a package that is broken must not hide the others' templates
            log.warning("the templates of package %s cannot be found", package, exc_info=True)
            continue
        for name, path in _files(source):
            found.setdefault(name, Found(name=name, path=path, origin=origin, package=package))
    return dict(sorted(found.items()))


@lru_cache(maxsize=64)
def _package(entry: EntryPoint) -> str:
    # Read out of the package's METADATA, which takes a millisecond.
    return entry.dist.name if entry.dist else ""


def find_template(name_or_path: str, *, folder: Path | None, cwd: Path) -> Template:
    """Return the template of this name, else the one in the file at this path below `cwd`.

    Text that ends in .ipynb or .py is a path first.

    Raises:
        UnknownTemplateError: with the nearest name.
        TemplateError: when there is one that cannot be read.
    """
    is_path = name_or_path.endswith(SUFFIXES)
    path = cwd / Path(name_or_path).expanduser()
    templates = find_templates(folder)
    if is_path and path.is_file():
        return _named(path, templates).load()
    if name_or_path in templates:
        return templates[name_or_path].load()
    if path.is_file():
        return _named(path, templates).load()
    looks_like_path = is_path or os.sep in name_or_path
    raise UnknownTemplateError(name_or_path, tuple(templates), looks_like_path)


def _named(path: Path, templates: dict[str, Found]) -> Found:
    """Return the file under the name it is listed by, else under its path."""
    real = path.resolve()
    for found in templates.values():
        if found.path.resolve() == real:
            return found
    try:
        name = real.relative_to(Path.cwd()).as_posix()
    except ValueError:
        name = real.as_posix()
    return Found(name=name, path=path, origin=Origin.FILE)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name, path) of every notebook below `folder`; of a jupytext pair the .ipynb."""
    found = sorted(_below(folder, seen=set()))
    for suffix in SUFFIXES:
        for path in found:
            if path.suffix == suffix and (suffix == ".ipynb" or _is_percent(path)):
                yield path.relative_to(folder).with_suffix("").as_posix(), path


def _below(folder: Path, *, seen: set[str]) -> Iterator[Path]:
    """Yield every file; folders that teams share by a symbolic link are entered, once."""
    real = os.path.realpath(folder)
    if real in seen or not folder.is_dir():
        return
    seen.add(real)
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return  # not ours to read: it must not hide the other templates
    for path in inside:
        if path.name.startswith((".", "_")):
            continue  # .ipynb_checkpoints, __pycache__, private modules
        if path.is_dir():
            yield from _below(path, seen=seen)
        elif path.is_file():
            yield path


def _is_percent(path: Path) -> bool:
    """Say whether a script is a notebook; others beside templates are plain modules."""
    try:
        with path.open("rb") as file:
            return any(line.startswith(b"# %%") for line in file)
    except OSError:
        return False
