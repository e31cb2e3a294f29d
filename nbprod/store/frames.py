"""Runs as a pandas frame: one row a run, a column for each parameter and each scrap."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from nbprod.core.runs import RunStatus
from nbprod.core.scraps import ScrapType
from nbprod.store import tables as t
from nbprod.store.rows import EXACT
from nbprod.store.runs import select_runs

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from nbprod.store.store import Store

#: The columns every frame begins with; a scrap of the same name becomes `scraps.NAME`.
RUN_COLUMNS = ("id", "template", "status", "started_at", "seconds")


def frame(
    store: "Store",
    *,
    template: str | None = None,
    status: RunStatus | None = None,
    job_run: str | None = None,
    ids: Iterable[str] | None = None,
    limit: int | None = None,
) -> "pd.DataFrame":
    """Return one row a run, newest first: `RUN_COLUMNS`, `parameters.x`, then scraps by name.

    `started_at` is in UTC, `seconds` how long the run took. Columns are numeric where every
    value is a number; a run that lacks one has NaN there. A table, an array or a model shows
    the summary that its scrap holds; displays are left out. No notebook is opened.
    """
    import pandas as pd

    chosen = {
        "template": template,
        "status": status,
        "job_run": job_run,
        "ids": None if ids is None else list(ids),
        "limit": limit,
    }
    with store.read() as connection:
        runs = connection.execute(_runs(**chosen)).all()
        scraps = connection.execute(_scraps(**chosen)).all()
    ids_, templates, statuses, started, finished, parameters = _columns(runs, 6)
    columns: dict[str, Any] = {
        "id": pd.Series(ids_, dtype="str"),
        "template": pd.Series(templates, dtype="str"),
        "status": pd.Series(statuses, dtype="str"),
        "started_at": _moments(started),
        "seconds": pd.Series(finished, dtype="float64") - pd.Series(started, dtype="float64"),
    }
    columns |= _parameter_columns(parameters)
    columns |= _scrap_columns(scraps, ids_, taken=set(columns))
    return pd.DataFrame(columns)


def _runs(**chosen: Any) -> sa.Select[Any]:
    run = t.runs.c
    query = select_runs(run.id, **chosen)
    return query.add_columns(
        run.template, run.status, run.started_at, run.finished_at, run.parameters
    )


def _scraps(**chosen: Any) -> sa.Select[Any]:
    scrap = t.scraps.c
    is_exact = sa.and_(scrap.number.is_not(None), sa.func.abs(scrap.number) < EXACT)
    columns = (
        scrap.run,
        scrap.name,
        scrap.type,
        scrap.number,
        # the text of a number need not travel
        sa.case((is_exact, None), else_=scrap.value).label("value"),
    )
    query = sa.select(*columns).where(scrap.type != ScrapType.DISPLAY.value)
    if any(given is not None for given in chosen.values()):
        found = select_runs(t.runs.c.id, **chosen).subquery()
        query = query.join(found, found.c.id == scrap.run)
    return query


def _columns(rows: Any, width: int) -> list[list[Any]]:
    # zip(*rows) hands over one argument a row: three times as slow for 100,000 of them
    return [[row[index] for row in rows] for index in range(width)]


def _moments(seconds: list[float | None]) -> "pd.Series[Any]":
    import pandas as pd

    at = pd.to_datetime(pd.Series(seconds, dtype="float64"), unit="s", utc=True)
    return at.dt.round("ms")  # what a double has beyond the clock's milliseconds is noise


def _parameter_columns(texts: list[str]) -> dict[str, "pd.Series[Any]"]:
    import pandas as pd

    parsed = [json.loads(text) for text in texts]
    names = dict.fromkeys(name for parameters in parsed for name in parameters)
    return {
        f"parameters.{name}": pd.Series([parameters.get(name) for parameters in parsed])
        for name in names
    }


def _scrap_columns(rows: Any, ids: list[str], *, taken: set[str]) -> dict[str, "pd.Series[Any]"]:
    """Return a column for each scrap, each filled by one indexed assignment."""
    import numpy as np

    runs, names, types, numbers, values = _columns(rows, 5)
    position = {run: index for index, run in enumerate(ids)}
    at = np.fromiter((position[run] for run in runs), dtype=np.int64, count=len(runs))
    number = np.array(numbers, dtype=np.float64)
    code_of = {name: code for code, name in enumerate(sorted(set(names)))}
    code = np.fromiter((code_of[name] for name in names), dtype=np.int64, count=len(names))
    order = np.argsort(code, kind="stable")
    bounds = np.searchsorted(code[order], np.arange(len(code_of) + 1))
    columns = {}
    for name, low, high in zip(code_of, bounds[:-1], bounds[1:], strict=True):
        chosen = order[low:high]
        is_whole = all(types[index] == ScrapType.INTEGER.value for index in chosen)
        texts = [values[index] for index in chosen]
        title = f"scraps.{name}" if name in taken else name
        columns[title] = _column(len(ids), at[chosen], number[chosen], texts, is_whole=is_whole)
    return columns


def _column(
    rows: int, at: "np.ndarray", number: "np.ndarray", texts: list[str | None], *, is_whole: bool
) -> "pd.Series[Any]":
    import numpy as np
    import pandas as pd

    if not any(texts):
        filled = np.full(rows, np.nan)
        filled[at] = number
        return pd.Series(filled.astype(np.int64) if is_whole and len(at) == rows else filled)
    mixed: list[Any] = [None] * rows
    for index, value, text in zip(at.tolist(), number.tolist(), texts, strict=True):
        mixed[index] = value if text is None else json.loads(text)
    return pd.Series(mixed)
