"""Ids as people type them: whole, or just the beginning."""

import sqlalchemy as sa

from nbprod.core.errors import AmbiguousRunError, UnknownRunError

SHOWN = 5


def find_id(connection: sa.Connection, table: sa.Table, given: str, *, noun: str) -> str:
    """Return the id in `table` that is `given`, or the only one that begins with it.

    Raises:
        UnknownRunError: none does; the newest ids are named.
        AmbiguousRunError: several do.
    """
    id_ = table.c.id
    # ids are digits, hyphens and a-f: "~" comes after all of them, byte by byte
    query = sa.select(id_).where(id_ >= given, id_ < given + "~").order_by(id_).limit(SHOWN)
    found = list(connection.scalars(query)) if given.isascii() and "\0" not in given else []
    if given in found or len(found) == 1:
        return given if given in found else str(found[0])
    if found and given:
        raise AmbiguousRunError(given, noun, found)
    latest = sa.select(id_).order_by(table.c.created_at.desc(), id_.desc()).limit(SHOWN)
    raise UnknownRunError(given, noun, list(connection.scalars(latest)))
