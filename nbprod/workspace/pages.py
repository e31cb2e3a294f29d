"""Write the page of a run below `.nbprod/reports/`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nbprod.reports import render_run

if TYPE_CHECKING:
    from nbprod.workspace.records import RunRecord
    from nbprod.workspace.workspace import Workspace


def write_run_page(workspace: "Workspace", record: "RunRecord") -> Path:
    """Render the page of a run and return its path; an earlier page of it is replaced."""
    page = render_run(
        record.run,
        notebook=record.notebook,
        scraps={name: record.scrap(name) for name in record.scraps},
        workspace=workspace.settings.workspace.name,
    )
    return write_page(workspace, record.id, page)


def write_page(workspace: "Workspace", name: str, page: str) -> Path:
    """Write a page whole or not at all, and return its path."""
    folder = workspace.root / ".nbprod" / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.html"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
