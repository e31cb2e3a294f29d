"""A template's JSON as the whole notebook that is executed: valid, and the same every time."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbformat import NotebookNode


def whole_notebook(raw: dict[str, Any]) -> "NotebookNode":
    """Return the notebook in the newest minor version of format 4.

    What tools leave out is filled in, and cells without an id of their own get `cell-0`,
    `cell-1`, ...: nbformat would draw ids at random, and warn, and the same template would be
    another notebook each time.
    """
    import nbformat
    from nbformat.v4.nbjson import JSONReader

    stated = raw.get("nbformat_minor")
    minor = stated if isinstance(stated, int) else 0
    raw["nbformat_minor"] = minor
    raw.setdefault("metadata", {})
    had = [cell.get("id") for cell in raw["cells"]]
    for cell in raw["cells"]:
        cell.setdefault("metadata", {})
        if cell["cell_type"] == "code":
            cell.setdefault("outputs", [])
            cell.setdefault("execution_count", None)
    notebook: NotebookNode = JSONReader().to_notebook(raw)
    if minor < nbformat.v4.nbformat_minor:
        notebook = nbformat.v4.upgrade(notebook, from_version=4, from_minor=minor)
    taken: set[str] = set()
    for index, cell in enumerate(notebook.cells):
        own = had[index] if minor >= 5 else None
        if not isinstance(own, str) or not own or own in taken:
            own = f"cell-{index}"
        taken.add(own)
        cell["id"] = own
    return notebook
