"""A template's JSON as the whole notebook that is executed: valid, and the same every time."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbformat import NotebookNode

#: The newest minor version of format 4; nbformat has it too, and takes 0.1 to 1.1 s to import.
MINOR = 5


def completed(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the notebook's JSON, changed in place, in the newest minor version of format 4.

    What tools leave out is filled in, and cells without an id of their own get `cell-0`,
    `cell-1`, ...: nbformat would draw ids at random, and warn, and the same template would be
    another notebook each time.
    """
    stated = raw.get("nbformat_minor")
    minor = stated if isinstance(stated, int) else 0
    raw["nbformat_minor"] = max(minor, MINOR)
    raw.setdefault("metadata", {})
    taken: set[str] = set()
    for index, cell in enumerate(raw["cells"]):
        cell.setdefault("metadata", {})
        if cell["cell_type"] == "code":
            cell.setdefault("outputs", [])
            cell.setdefault("execution_count", None)
        own = cell.get("id") if minor >= MINOR else None
        if not isinstance(own, str) or not own or own in taken:
            own = f"cell-{index}"
        taken.add(own)
        cell["id"] = own
    return raw


def whole_notebook(raw: dict[str, Any]) -> "NotebookNode":
    """Return the notebook that `completed` makes of its JSON, as nbformat has notebooks."""
    from nbformat.v4.nbjson import JSONReader

    notebook: NotebookNode = JSONReader().to_notebook(completed(raw))
    return notebook
