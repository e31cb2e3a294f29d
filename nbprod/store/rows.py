"""Between values and rows: JSON columns, moments, text that both databases take."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from nbprod.core.json import JSON
from nbprod.core.runs import CellError, Lineage, Run, RunStatus
from nbprod.core.scraps import Scrap, ScrapType, Sidecar
from nbprod.core.usage import Usage
from nbprod.store import tables as t

#: What makes up a scrap, in the order that `scrap_from` takes.
SCRAP_COLUMNS = tuple(t.scraps.c[name] for name in ("name", "encoder", "type", "value", "sidecar"))
#: Beyond this a double no longer holds every integer: the text is the value.
EXACT = 2.0**53


def plain(text: str) -> str:
    """Return `text` without what PostgreSQL or UTF-8 refuse: NUL and lone surrogates."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def dump(value: Any) -> str:
    """Return JSON in ASCII, so that any text fits any column; NaN is kept, as Python reads it."""
    return json.dumps(value, separators=(",", ":"))


def moment(seconds: float | None) -> datetime | None:
    """Return a column's seconds since 1970 as a datetime in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def seconds(at: datetime | None) -> float | None:
    """Return a datetime as a column's seconds since 1970."""
    return None if at is None else at.timestamp()


def run_columns(run: Run) -> dict[str, Any]:
    """Return the columns of `run` that its maker decides; the store decides the others."""
    return {
        "id": run.id,
        "template": plain(run.template),
        "kind": plain(run.kind),
        "parameters": dump(dict(run.parameters)),
        "lineage": dump(asdict(run.lineage)),
        "template_digest": run.lineage.template_digest,
        "environment_digest": run.lineage.environment_digest,
        "folder": plain(run.folder),
        "job_run": run.job_run,
        "step": run.step,
    }


def run_from(row: Mapping[str, Any]) -> Run:
    """Return the run of a row of `runs`."""
    return Run(
        id=row["id"],
        template=row["template"],
        kind=row["kind"],
        parameters=json.loads(row["parameters"]),
        lineage=_lineage(json.loads(row["lineage"])),
        status=RunStatus(row["status"]),
        reason=row["reason"],
        error=None if row["error"] is None else CellError(**json.loads(row["error"])),
        fence=row["fence"],
        created_at=moment(row["created_at"]),
        started_at=moment(row["started_at"]),
        finished_at=moment(row["finished_at"]),
        folder=row["folder"],
        notebook_digest=row["notebook_digest"],
        job_run=row["job_run"],
        step=row["step"],
        usage=usage_from(row),
    )


def usage_columns(usage: Usage | None) -> dict[str, Any]:
    """Return the columns of `runs` for what was measured: none where nothing was."""
    return {} if usage is None else asdict(usage)


def usage_from(row: Mapping[str, Any]) -> Usage | None:
    """Return what a row of `runs` says of its usage."""
    if row["cpu_seconds"] is None or row["peak_rss_bytes"] is None:
        return None
    return Usage(**{field.name: row[field.name] for field in fields(Usage)})


def _lineage(found: dict[str, Any]) -> Lineage:
    known = {field.name for field in fields(Lineage)}
    found = {name: value for name, value in found.items() if name in known}
    return Lineage(**{**found, "devices": tuple(found.get("devices", ()))})


def scrap_columns(run: str, scrap: Scrap) -> dict[str, Any]:
    """Return the row of `scraps` for a run's scrap; a display's picture stays in the notebook."""
    return {
        "run": run,
        "name": plain(scrap.name),
        "type": scrap.type.value,
        "encoder": plain(scrap.encoder),
        "number": number(scrap.value),
        "value": dump(scrap.value),
        "sidecar": None if scrap.sidecar is None else dump(asdict(scrap.sidecar)),
    }


def number(value: JSON) -> float | None:
    """Return the value as a double where it is a number that a double can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def scrap_from(name: str, encoder: str, type_: str, value: str, sidecar: str | None) -> Scrap:
    """Return the scrap of a row's `SCRAP_COLUMNS`."""
    return Scrap(
        name=name,
        encoder=encoder,
        type=ScrapType(type_),
        value=json.loads(value),
        sidecar=None if sidecar is None else Sidecar(**json.loads(sidecar)),
    )
