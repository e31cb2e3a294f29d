"""Record where a run's result will come from, before it starts."""

import getpass
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import nbprod
from nbprod.core.digest import digest_file, digest_folder
from nbprod.core.json import JSON
from nbprod.core.runs import Lineage

#: Larger data is fingerprinted by the template that reads it (scrap `data_fingerprint`).
_LARGEST_INPUT = 2 * 1024**3
_DIST_INFO = ".dist-info"


def packages() -> tuple[str, ...]:
    """Return the installed distributions as sorted "name==version" lines.

    Both stand in the name of a distribution's folder, by the specification for recording
    installed projects; opening 200 METADATA files instead takes 75 ms of every run.
    """
    found: dict[str, str] = {}
    for entry in sys.path:
        for folder in _distributions(Path(entry or ".")):
            name, _, version = folder.removesuffix(_DIST_INFO).partition("-")
            name = re.sub(r"[-_.]+", "-", name).lower()
            found.setdefault(name, version)  # the first on the path is the one that is imported
    return tuple(sorted(f"{name}=={version}" for name, version in found.items()))


def _distributions(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.endswith(_DIST_INFO)]  # noqa: PTH208 - names
    except OSError:
        return []  # a path entry that is a zip file, or is not there


def host() -> str:
    """Return this machine's name."""
    return socket.gethostname()


def user() -> str:
    """Return who runs this process: the login name, or the numeric id where it has none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def collect(
    *,
    template_digest: str,
    values: Mapping[str, JSON],
    models: Mapping[str, str],
    root: Path,
    environment_digest: str,
) -> Lineage:
    """Return the lineage of a run that is about to start.

    Args:
        template_digest: sha256 of the template's file.
        values: bound parameters; those that name an existing file are fingerprinted.
        models: parameter -> digest of the registered model it was resolved to.
        root: the workspace.
        environment_digest: of the installed packages.
    """
    commit, is_dirty = git_state(root)
    return Lineage(
        template_digest=template_digest,
        data_fingerprints=fingerprints(values, root, skip=models),
        models=dict(models),
        git_commit=commit,
        git_dirty=is_dirty,
        environment_digest=environment_digest,
        python=platform.python_version(),
        host=host(),
        platform=f"{platform.system()}-{platform.release()}-{platform.machine()}",
        user=user(),
        nbprod=nbprod.__version__,
    )


def fingerprints(
    values: Mapping[str, JSON], root: Path, *, skip: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return parameter -> sha256 for each text value that names an existing file or folder."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if not isinstance(value, str) or not value or name in (skip or {}) or len(value) > 4096:
            continue
        path = root / value
        try:
            if path.is_file() and path.stat().st_size <= _LARGEST_INPUT:
                found[name] = digest_file(path)
            elif path.is_dir() and path.resolve() != root and _is_small(path):
                found[name] = digest_folder(path)
        except (OSError, ValueError):
            continue  # a value with a NUL byte, or an unreadable file: the template will say so
    return found


def _is_small(folder: Path) -> bool:
    total = 0
    for count, path in enumerate(folder.rglob("*")):
        total += path.stat().st_size if path.is_file() else 0
        if count > 10_000 or total > _LARGEST_INPUT:
            return False
    return True


def git_state(root: Path) -> tuple[str | None, bool | None]:
    """Return the commit checked out at `root` and whether tracked files differ from it."""
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None, None  # not a repository, no commit yet, or git is not installed
    return commit, bool(changed.strip())


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=20,
        env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
    ).stdout
