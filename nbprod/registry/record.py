"""What the database says of models: reading rows as values, and the single writes.

Writers hold the store's write lock, so what one reads cannot change before it commits; which
writes belong together is decided in `registry`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from nbprod.core.json import JSON
from nbprod.core.models import ModelFile, ModelVersion, Promotion, RegisteredModel, VersionState
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.store.expressions import db_now
from nbprod.store.rows import dump, moment, plain
from nbprod.store.tables import aliases, audit, models, verdicts, versions

#: Actions that decide about an alias, as opposed to `register`.
DECISIONS = ("promote", "rollback", "refuse")
#: What PostgreSQL's columns of names hold.
_NAME_CHARACTERS = 200


def find_model(connection: sa.Connection, name: str) -> RegisteredModel | None:
    """Return the registered name, or None."""
    found = list_models(connection, models.c.name == name)
    return found[0] if found else None


def list_models(
    connection: sa.Connection, condition: sa.ColumnElement[bool] | None = None
) -> list[RegisteredModel]:
    """Return registered names in order, each with its aliases."""
    query = sa.select(models).order_by(models.c.name)
    if condition is not None:
        query = query.where(condition)
    rows = connection.execute(query).mappings().all()
    held: dict[str, dict[str, int]] = {}
    for row in connection.execute(sa.select(aliases).order_by(aliases.c.alias)):
        held.setdefault(row.model, {})[row.alias] = row.version
    return [
        RegisteredModel(
            name=row["name"],
            description=row["description"],
            last_version=row["last_version"],
            aliases=held.get(row["name"], {}),
            created_at=moment(row["created_at"]),
        )
        for row in rows
    ]


def find_versions(
    connection: sa.Connection,
    name: str,
    *,
    version: int | None = None,
    digest: str | None = None,
) -> list[ModelVersion]:
    """Return versions of a model, newest first; all of them, one number, or one digest."""
    query = sa.select(versions).where(versions.c.model == name)
    if version is not None:
        query = query.where(versions.c.version == version)
    if digest is not None:
        query = query.where(versions.c.digest == digest)
    held: dict[int, list[str]] = {}
    for row in connection.execute(
        sa.select(aliases).where(aliases.c.model == name).order_by(aliases.c.alias)
    ):
        held.setdefault(row.version, []).append(row.alias)
    rows = connection.execute(query.order_by(versions.c.version.desc())).mappings()
    return [_version(row, tuple(held.get(row["version"], ()))) for row in rows]


def _version(row: Mapping[Any, Any], held: tuple[str, ...]) -> ModelVersion:
    return ModelVersion(
        name=row["model"],
        version=row["version"],
        digest=row["digest"],
        files=tuple(ModelFile(**file) for file in json.loads(row["manifest"])),
        run=row["run"],
        lineage=json.loads(row["lineage"]),
        scraps=json.loads(row["scraps"]),
        source=row["source"],
        created_at=moment(row["created_at"]),
        created_by=row["created_by"],
        aliases=held,
    )


def holder(connection: sa.Connection, name: str, alias: str) -> int | None:
    """Return the version that holds an alias."""
    found: int | None = connection.scalar(
        sa.select(aliases.c.version).where(aliases.c.model == name, aliases.c.alias == alias)
    )
    return found


def add_model(connection: sa.Connection, name: str, description: str) -> None:
    """Make sure that the name is registered, and that it has the latest description."""
    if find_model(connection, name) is None:
        connection.execute(
            models.insert().values(
                name=name, description=plain(description), last_version=0, created_at=db_now()
            )
        )
    elif description:
        connection.execute(
            models.update().where(models.c.name == name).values(description=plain(description))
        )


def add_version(
    connection: sa.Connection,
    name: str,
    *,
    digest: str,
    files: Sequence[ModelFile],
    run: str | None,
    lineage: Mapping[str, JSON],
    scraps: Mapping[str, JSON],
    source: str,
    actor: str,
) -> int:
    """Write the next version of a registered name; return its number."""
    number: int = connection.execute(
        models.update()
        .where(models.c.name == name)
        .values(last_version=models.c.last_version + 1)
        .returning(models.c.last_version)
    ).scalar_one()
    connection.execute(
        versions.insert().values(
            model=name,
            version=number,
            digest=digest,
            manifest=dump([asdict(file) for file in files]),
            state=VersionState.READY.value,
            run=run,
            lineage=dump(dict(lineage)),
            scraps=dump(dict(scraps)),
            source=plain(source),
            created_at=db_now(),
            created_by=_name(actor),
        )
    )
    return number


def move_alias(connection: sa.Connection, name: str, alias: str, version: int) -> None:
    """Let `version` hold the alias."""
    values = {"version": version, "moved_at": db_now()}
    moved = connection.execute(
        aliases.update().where(aliases.c.model == name, aliases.c.alias == alias).values(values)
    )
    if moved.rowcount == 0:
        connection.execute(aliases.insert().values(model=name, alias=alias, **values))


def add_audit(
    connection: sa.Connection,
    action: str,
    name: str,
    version: int,
    *,
    actor: str,
    reason: str = "",
    alias: str | None = None,
    former: int | None = None,
    is_override: bool = False,
    evidence_run: str | None = None,
    evaluation_digest: str = "",
    found: Iterable[Verdict] = (),
) -> int:
    """Write what was done or refused, with the verdicts it was decided by; return its id."""
    entry = int(
        connection.execute(
            audit.insert()
            .values(
                at=db_now(),
                actor=_name(actor),
                action=action,
                model=name,
                version=version,
                alias=alias,
                former=former,
                is_override=is_override,
                reason=plain(reason),
                evidence_run=evidence_run,
                evaluation_digest=evaluation_digest,
            )
            .returning(audit.c.id)
        ).scalar_one()
    )
    rows = [
        {
            "audit": entry,
            "position": position,
            "gate": plain(verdict.gate),
            "outcome": verdict.outcome.value,
            "reason": plain(verdict.reason),
            "method": plain(verdict.method),
            "numbers": dump(dict(verdict.numbers)),
        }
        for position, verdict in enumerate(found)
    ]
    if rows:
        connection.execute(verdicts.insert(), rows)
    return entry


def decisions(
    connection: sa.Connection, *, name: str | None = None, entry: int | None = None
) -> list[Promotion]:
    """Return decisions about aliases, oldest first: of one model, or one by its id."""
    query = sa.select(audit).where(audit.c.action.in_(DECISIONS)).order_by(audit.c.id)
    if name is not None:
        query = query.where(audit.c.model == name)
    if entry is not None:
        query = query.where(audit.c.id == entry)
    found = []
    for row in connection.execute(query).mappings():
        fields = dict(row)
        at = moment(fields.pop("at"))
        assert at is not None  # the column is NOT NULL
        found.append(Promotion(at=at, **fields))
    return found


def find_verdicts(connection: sa.Connection, entry: int) -> tuple[Verdict, ...]:
    """Return the verdicts of one decision, in the order of the gates."""
    query = sa.select(verdicts).where(verdicts.c.audit == entry).order_by(verdicts.c.position)
    return tuple(
        Verdict(
            gate=row.gate,
            outcome=Outcome(row.outcome),
            reason=row.reason,
            method=row.method,
            numbers=json.loads(row.numbers),
        )
        for row in connection.execute(query)
    )


def count_decided(connection: sa.Connection, evaluation_digest: str) -> int:
    """Return how many promotions an evaluation set has decided, either way.

    A refusal used the set up as much as a promotion did: whoever tries again has learnt from it.
    """
    count = connection.scalar(
        sa.select(sa.func.count())
        .select_from(audit)
        .where(
            audit.c.evaluation_digest == evaluation_digest,
            audit.c.action.in_(("promote", "refuse")),
        )
    )
    return int(count or 0)


def _name(text: str) -> str:
    return plain(text)[:_NAME_CHARACTERS]
