"""Extension points: found by name in installed packages' entry points, loaded when asked for."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points


def installed(group: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of `group` by name; the first found wins, as imports do."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        found.setdefault(entry.name, entry)
    return found
