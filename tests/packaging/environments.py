"""Environments as a user's machine has them, made without a network.

`pip` builds the wheel and installs it into a new environment; what nbprod depends on is linked
from the environment that runs this, and nothing else is: neither the checkout nor its editable
finder, nor any package of an extra that was not asked for.
"""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A Python environment with nbprod installed from its wheel."""

    folder: Path

    def run(self, *command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a console script of this environment in `cwd`, as a shell with no venv would."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("NBPROD_", "PYTHON", "JUPYTER_", "COV_", "VIRTUAL_ENV"))
        }
        return subprocess.run(
            [self.folder / "bin" / command[0], *command[1:]],
            cwd=cwd,
            env={
                **inherited,
                "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
                "NBPROD_WARM": "off",
            },
            capture_output=True,
            text=True,
            check=False,
        )


def build(folder: Path) -> None:
    """Build the sdist, and the wheel from the sdist, into `folder`."""
    _python("build", "--no-isolation", "--outdir", folder, ROOT)


def make_environment(wheel: Path, *, folder: Path, extras: Sequence[str]) -> Environment:
    """Install `wheel` into a new environment with the packages of `extras`."""
    _python("venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    _python("pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps", wheel)
    for dependency in _needed(extras):
        _link(dependency, into=folder)
    return Environment(folder=folder)


def _python(module: str, *arguments: str | Path) -> None:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"python -m {module} failed:\n{done.stdout}{done.stderr}")


def _needed(extras: Sequence[str]) -> Iterator[Distribution]:
    """Yield everything that nbprod with `extras` depends on, as it is installed here."""
    groups = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][it] for it in extras)]
    todo = [Requirement(line) for group in groups for line in group]
    seen: set[tuple[str, str]] = set()
    given: set[str] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        wanted = {(name, extra) for extra in ("", *requirement.extras)} - seen
        if not wanted:
            continue
        seen |= wanted
        found = distribution(name)
        if name not in given:
            given.add(name)
            yield found
        todo += [
            inner
            for inner in map(Requirement, found.requires or [])
            if inner.marker is None
            or any(inner.marker.evaluate({"extra": extra}) for _, extra in wanted)
        ]


def _link(dependency: Distribution, *, into: Path) -> None:
    """Link the top-level files and folders of `dependency`, and its shared data, but no script."""
    (site,) = into.glob("lib/python3.*/site-packages")
    prefix = Path(sys.prefix)
    for file in dependency.files or ():
        if file.parts[0] == "..":
            source = Path(os.path.normpath(str(dependency.locate_file(file))))
            place = into / source.relative_to(prefix)
            if place.relative_to(into).parts[0] not in {"etc", "share"}:
                continue
        elif file.parts[0] == "__pycache__":
            continue
        else:
            source = Path(str(dependency.locate_file(file.parts[0])))
            place = site / file.parts[0]
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(source)
