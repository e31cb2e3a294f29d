"""Record where a run's result will come from, before it starts."""

import contextlib
import getpass
import os
import platform
import re
import socket
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Self

import nbprod
from nbprod.core.digest import digest_file, digest_folder
from nbprod.core.json import JSON
from nbprod.core.plugins import PathState, path_state
from nbprod.core.runs import Lineage

#: Larger data is fingerprinted by the template that reads it (scrap `data_fingerprint`).
_LARGEST_INPUT = 2 * 1024**3
_DIST_INFO = ".dist-info"
#: How git's answer begins where it names the commit.
_COMMIT = "# branch.oid "
#: What git gets on a slow disk; a run starts without its answer then.
_PATIENCE_SECONDS = 20


def packages() -> tuple[str, ...]:
    """Return the installed distributions as sorted "name==version" lines.

    Both stand in the name of a distribution's folder, by the specification for recording
    installed projects; opening 200 METADATA files instead takes 75 ms of every run.
    """
    return _packages(path_state())


@lru_cache(maxsize=1)
def _packages(state: PathState) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for entry, _ in state:
        for folder in _distributions(Path(entry)):
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


class GitLook:
    """Asks git what is checked out, beside whatever else is done meanwhile."""

    def __init__(self, root: Path) -> None:
        self._process: subprocess.Popen[str] | None = None
        if "GIT_DIR" not in os.environ and not _is_in_repository(root):
            return  # not worth a process
        # Scripts may have set what colours or columns the answer: porcelain ignores both.
        command = ["git", "-C", str(root), "status", "--porcelain=v2", "--branch"]
        with contextlib.suppress(OSError):  # git is not installed
            self._process = subprocess.Popen(
                [*command, "--untracked-files=no"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
            )

    def result(self) -> tuple[str | None, bool | None]:
        """Return the commit and whether tracked files differ from it; Nones without either."""
        if self._process is None:
            return None, None
        try:
            answer, _ = self._process.communicate(timeout=_PATIENCE_SECONDS)
        except (subprocess.SubprocessError, OSError, UnicodeDecodeError):
            return None, None
        lines = answer.splitlines()
        heads = [line for line in lines if line.startswith(_COMMIT)]
        if self._process.returncode or not heads or heads[0].endswith("(initial)"):
            return None, None
        return heads[0].removeprefix(_COMMIT), any(not line.startswith("#") for line in lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of git, which may not have answered yet."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.communicate()


def _is_in_repository(root: Path) -> bool:
    return any((folder / ".git").exists() for folder in (root, *root.parents))


def collect(
    *,
    template_digest: str,
    values: Mapping[str, JSON],
    models: Mapping[str, str],
    root: Path,
    environment_digest: str,
    git: GitLook,
) -> Lineage:
    """Return the lineage of a run that is about to start.

    Args:
        template_digest: sha256 of the template's file.
        values: bound parameters; those that name an existing file are fingerprinted.
        models: parameter -> digest of the registered model it was resolved to.
        root: the workspace.
        environment_digest: of the installed packages.
        git: begun before, so that it has answered by now.
    """
    data = fingerprints(values, root, skip=models)
    commit, is_dirty = git.result()
    return Lineage(
        template_digest=template_digest,
        data_fingerprints=data,
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
