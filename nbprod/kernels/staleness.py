"""Whether what a zygote has imported is still what an import would give."""

import os
import sys
import sysconfig
import time
from collections.abc import Iterable
from pathlib import Path

from nbprod.kernels.key import own_packages, packages_changes


class Snapshot:
    """The files behind the modules of this process, as they were when they were imported.

    Files of the standard library and of installed packages change only together with their
    folders, when something is installed; files of packages under development change at any time.
    """

    def __init__(self) -> None:
        """Look at packages, before anything of them is imported."""
        self._begun_ns = time.time_ns()
        self._folders = own_packages()
        self._packages = packages_changes(self._folders)
        self._files: dict[str, tuple[int, int]] = {}

    def take_files(self) -> None:
        """Look at the files, after everything was imported."""
        self._files = {
            # Written while we imported: nobody knows whether before or after.
            path: (0, 0) if found[0] > self._begun_ns else found
            for path, found in self._loose_files()
        }

    def why_stale(self) -> str:
        """Return what has changed, in a sentence; empty when nothing has."""
        if packages_changes(self._folders) != self._packages:
            return "packages were installed or removed since its zygote started"
        for path, known in self._files.items():
            if _changed(path) != known:
                return f"{path} was changed since its zygote imported it"
        return ""

    def _loose_files(self) -> Iterable[tuple[str, tuple[int, int]]]:
        paths = sysconfig.get_paths()
        stable = tuple(
            f"{Path(folder)}/" for folder in {paths["stdlib"], paths["platstdlib"], *self._folders}
        )
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and not path.startswith(stable):
                yield path, _changed(path)


def _changed(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - hundreds of them, before each fork
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
