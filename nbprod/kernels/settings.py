"""What `[kernels]` of the nearest nbprod.toml asks for, read without the workspace's machinery.

Kernels start outside of nbprod too (papermill, JupyterLab), and quickly: a file that cannot be
used costs its settings here, never a kernel. `nbprod doctor` and every run say what is wrong.
"""

import logging
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from nbprod.core.amounts import parse_duration, parse_size

logger = logging.getLogger(__name__)

FILE = "nbprod.toml"
#: Modules to import ahead, separated by commas, whatever the file says; empty: none.
PRELOAD_VARIABLE = "NBPROD_PRELOAD"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSettings:
    """The `[kernels]` table."""

    #: Modules imported ahead; None: of the usual ones, what is installed.
    preload: tuple[str, ...] | None = None
    spares: int = 2  #: kernels forked ahead at most; fewer where load and memory ask for it
    spare_memory_bytes: int = 10**9  #: what all spares may have of their own, together
    idle: timedelta = timedelta(minutes=10)  #: a zygote without work ends after this

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads, for the command line of a zygote."""
        return {
            "preload": None if self.preload is None else list(self.preload),
            "spares": self.spares,
            "spare_memory_bytes": self.spare_memory_bytes,
            "idle_seconds": self.idle.total_seconds(),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Return the settings that `as_json` wrote."""
        preload = fields["preload"]
        return cls(
            preload=None if preload is None else tuple(preload),
            spares=fields["spares"],
            spare_memory_bytes=fields["spare_memory_bytes"],
            idle=timedelta(seconds=fields["idle_seconds"]),
        )


def find_settings(folder: Path, environment: Mapping[str, str] | None = None) -> KernelSettings:
    """Return the settings that hold in `folder`: of the nearest nbprod.toml at or above it."""
    environment = os.environ if environment is None else environment
    path = find_file(folder)
    fields = {} if path is None else dict(_read(path, path.stat().st_mtime_ns))
    named = environment.get(PRELOAD_VARIABLE)
    if named is not None:
        fields["preload"] = tuple(name.strip() for name in named.split(",") if name.strip())
    return KernelSettings(**fields)


def find_file(folder: Path) -> Path | None:
    """Return the nearest nbprod.toml at or above `folder`."""
    for place in (folder, *folder.parents):
        path = place / FILE
        try:
            if path.is_file():
                return path
        except OSError:
            return None
    return None


@lru_cache(maxsize=16)
def _read(path: Path, _changed: int) -> Mapping[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("kernels", {})
        return parse_table(table)
    except (OSError, ValueError, AttributeError) as error:
        logger.warning("[kernels] of %s is not used: %s", path, error)
        return {}


def parse_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `KernelSettings` that a `[kernels]` table sets.

    Raises:
        ValueError: naming the setting and what it takes.
    """
    fields: dict[str, Any] = {}
    for name, value in table.items():
        match name, value:
            case "preload", [*modules] if all(isinstance(module, str) for module in modules):
                fields["preload"] = tuple(modules)
            case "preload", _:
                raise ValueError(f"preload is a list of modules, not {value!r}.")
            case "spares", int() if not isinstance(value, bool) and value >= 0:
                fields["spares"] = value
            case "spares", _:
                raise ValueError(f"spares is a whole number from 0, not {value!r}.")
            case "spare_memory", str() if size := parse_size(value):
                fields["spare_memory_bytes"] = size
            case "spare_memory", _:
                raise ValueError(f"spare_memory is a size such as 1GB, not {value!r}.")
            case "idle", str() if idle := parse_duration(value):
                fields["idle"] = idle
            case "idle", _:
                raise ValueError(f"idle is a duration such as 10min, not {value!r}.")
    return fields
