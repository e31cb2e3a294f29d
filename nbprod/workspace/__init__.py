"""Open nbprod.toml and wire store, runner, gates and registry together. The only wiring.

May import: every room below it.
"""

from nbprod.workspace.promotion import Decision, Movement
from nbprod.workspace.records import RunList, RunRecord
from nbprod.workspace.supervise import RunInterrupted
from nbprod.workspace.workspace import Workspace, open  # noqa: A004 - read as nbprod.open()

__all__ = ["Decision", "Movement", "RunInterrupted", "RunList", "RunRecord", "Workspace", "open"]
