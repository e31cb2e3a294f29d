"""Remembers at which import a zygote ended, so that the next one goes without it."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

#: Seconds for which a module at whose import a zygote ended is left out: it may have been the
#: machine, out of memory, and not the module.
CULPRIT_SECONDS = 3600.0


class Note:
    """Which module is being imported, in a file: what ends the zygote is skipped by the next."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.culprits: dict[str, str] = {}  #: modules that ended an earlier zygote, and why to skip
        try:
            if path is not None and time.time() - path.stat().st_mtime < CULPRIT_SECONDS:
                reason = "the zygote ended while it was imported, the last time"
                self.culprits = dict.fromkeys(path.read_text(encoding="utf-8").split(), reason)
        except OSError:
            return  # there is none, as nearly always

    def begin(self, module: str) -> None:
        """Note that the module is imported next."""
        self._write([*self.culprits, module])

    def finish(self) -> None:
        """Note that all others were imported."""
        if self.culprits:
            self._write(list(self.culprits))
        elif self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _write(self, modules: Sequence[str]) -> None:
        if self._path is not None:
            with contextlib.suppress(OSError):  # a full disk: then a culprit has no name
                self._path.write_text("\n".join(modules), encoding="utf-8")
