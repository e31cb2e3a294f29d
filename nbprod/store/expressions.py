"""SQL that the two databases spell differently."""

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class db_now(FunctionElement[float]):  # noqa: N801 - reads as the SQL function it is
    """Be the current moment by the database's clock: seconds since 1970, UTC.

    It is the one time that every machine sharing a store agrees on, to the millisecond.
    """

    type = sa.Double()
    inherit_cache = True
    name = "db_now"


@compiles(db_now, "sqlite")
def _now_sqlite(element: db_now, compiler: Any, **options: Any) -> str:
    # unixepoch('subsec') would need SQLite 3.42; Debian 12 has 3.40
    return "round((julianday('now') - 2440587.5) * 86400.0, 3)"


@compiles(db_now, "postgresql")
def _now_postgresql(element: db_now, compiler: Any, **options: Any) -> str:
    # now() stands still during a transaction, which may have waited for a lock
    return "round(extract(epoch from clock_timestamp())::numeric, 3)::double precision"


class _elements(FunctionElement[str]):  # noqa: N801
    type = sa.Text()
    inherit_cache = True
    name = "elements"


@compiles(_elements, "sqlite")
def _elements_sqlite(element: _elements, compiler: Any, **options: Any) -> str:
    return f"SELECT value FROM json_each({compiler.process(element.clauses, **options)})"


@compiles(_elements, "postgresql")
def _elements_postgresql(element: _elements, compiler: Any, **options: Any) -> str:
    given = compiler.process(element.clauses, **options)
    return f"SELECT jsonb_array_elements_text(CAST({given} AS jsonb))"


def among(column: sa.ColumnElement[str], values: Iterable[str]) -> sa.ColumnElement[bool]:
    """Say that `column` is one of `values`: one bound text, however many thousands they are.

    An IN of bound values ends at the driver's limit (32,766 and 65,535).
    """
    given = sa.literal(json.dumps(list(values)), sa.Text())
    return column.op("IN", is_comparison=True, return_type=sa.Boolean())(
        sa.sql.elements.Grouping(_elements(given))
    )
