"""nbprod takes a notebook to production and keeps it there.

The rooms, from the top down; imports point down only (see docs/architecture.md):

- `cli`        the face in a terminal
- `jobs`       job files, job runs, steps and references between them
- `workspace`  opens nbprod.toml and wires everything else: `nbprod.open()`
- `gates`      may it pass? pure functions from evidence to verdict
- `registry`   which model? versions, aliases, lineage
- `reports`    show it: pages without code
- `runners`    how an attempt executes      `store`  what happened
- `ml`         inside the kernel: data, baseline, training, evaluation
- `notebook`   the .ipynb: template, parameters, scraps, journal, checks
- `core`       values, errors, events: no I/O

Inside a notebook: `nbprod.glue(name, value)`, `nbprod.stop(reason)`, `nbprod.path(p)`,
`nbprod.output(name)`. Everything is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

from nbprod.core.version import VERSION

if TYPE_CHECKING:
    from nbprod.core.errors import NbprodError
    from nbprod.core.live import Live
    from nbprod.notebook.glue import glue
    from nbprod.notebook.kernel import output, path, stop
    from nbprod.workspace import RunRecord, Workspace, open  # noqa: A004 - read as nbprod.open()

__version__ = VERSION
__all__ = [
    "Live",
    "NbprodError",
    "RunRecord",
    "Workspace",
    "__version__",
    "glue",
    "open",
    "output",
    "path",
    "stop",
]

_HOMES = {
    "Live": "nbprod.core.live",
    "NbprodError": "nbprod.core.errors",
    "RunRecord": "nbprod.workspace",
    "Workspace": "nbprod.workspace",
    "glue": "nbprod.notebook.glue",
    "open": "nbprod.workspace",
    "output": "nbprod.notebook.kernel",
    "path": "nbprod.notebook.kernel",
    "stop": "nbprod.notebook.kernel",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
