"""Runs in the store. Each state change is one conditional update that names its fence."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nbprod.core.digest import digest_bytes
from nbprod.core.errors import RunExistsError, StaleFenceError, UnknownRunError
from nbprod.core.resources import Gpu
from nbprod.core.runs import CellError, Run, RunStatus
from nbprod.core.scraps import Scrap
from nbprod.core.usage import Usage
from nbprod.store import tables as t
from nbprod.store.database import Database
from nbprod.store.expressions import among, db_now
from nbprod.store.lookup import find_id
from nbprod.store.reaping import reap, this_host
from nbprod.store.rows import (
    SCRAP_COLUMNS,
    dump,
    plain,
    run_columns,
    run_from,
    scrap_columns,
    scrap_from,
    usage_columns,
)

#: path below the attempt's folder, sha256, size in bytes
StoredFile = tuple[str, str, int]
LOST = "Its supervisor stopped renewing its lease: the process or its machine went away."


class Runs:
    """The runs of a store: insert, move, find."""

    def __init__(self, database: Database, *, root: Path) -> None:
        self._database = database
        self._root = root

    def insert(
        self,
        run: Run,
        *,
        owner: str | None = None,
        lease: timedelta = timedelta(0),
        runner: str = "local",
        devices: Sequence[str] = (),
    ) -> Run:
        """Record a new run and return it with the times of the database's clock.

        With an `owner` (host/pid/token) it is claimed in the same transaction: running, at
        fence 1, in the foreground, until `lease` has passed without a heartbeat. Without, it
        is queued, and on the disk.

        Raises:
            RunExistsError: the id is taken.
        """
        with self._database.write(is_synced=owner is None) as connection:
            if connection.scalar(sa.select(t.runs.c.id).where(t.runs.c.id == run.id)):
                raise RunExistsError(run.id)
            now = self._database.now(connection)
            columns = run_columns(run) | {"created_at": now}
            if owner is None:
                columns |= {"status": RunStatus.QUEUED.value, "is_foreground": False}
            else:
                columns |= {
                    "status": RunStatus.RUNNING.value,
                    "is_foreground": True,
                    "fence": 1,
                    "owner": plain(owner),
                    "lease_until": now + lease.total_seconds(),
                    "started_at": now,
                }
            connection.execute(sa.insert(t.runs), columns)
            if owner is not None:
                attempt = {
                    "run": run.id,
                    "fence": 1,
                    "owner": plain(owner),
                    "runner": runner,
                    "host": this_host(),
                    "devices": dump(list(devices)),
                    "status": RunStatus.RUNNING.value,
                    "started_at": now,
                }
                connection.execute(sa.insert(t.attempts), attempt)
            return _one(connection, run.id)

    def started(
        self, run_id: str, fence: int, *, pid: int, pid_started: float, folder: str
    ) -> None:
        """Record the attempt's process and folder, by which its tree is found and killed.

        `pid_started` is the process's create time in seconds since 1970 (psutil's).

        Raises:
            StaleFenceError: the run is no longer at that fence.
        """
        with self._database.write(is_synced=False) as connection:
            changes: dict[str, Any] = {"folder": plain(folder)}
            _move(connection, run_id, fence, changes)
            connection.execute(
                sa.update(t.attempts)
                .where(t.attempts.c.run == run_id, t.attempts.c.fence == fence)
                .values(pid=pid, pid_started=pid_started, host=this_host())
            )

    def heartbeat(self, run_id: str, fence: int, *, lease: timedelta) -> bool:
        """Renew the lease; False when the run is no longer this attempt's."""
        beaten = _held(run_id, fence).values(
            lease_until=db_now() + lease.total_seconds(), heartbeats=t.runs.c.heartbeats + 1
        )
        return self._database.touch(beaten) == 1

    def finish(
        self,
        run_id: str,
        fence: int,
        *,
        status: RunStatus,
        reason: str,
        error: CellError | None = None,
        scraps: Sequence[Scrap] = (),
        artifacts: Sequence[StoredFile] = (),
        notebook_digest: str = "",
        folder: str | None = None,
        usage: Usage | None = None,
    ) -> Run:
        """End the run: status, scraps, artifacts, digest and usage in one transaction.

        Its GPU leases stay until they are released, which is after its processes are gone.

        Raises:
            StaleFenceError: the run is no longer at that fence; nothing is changed.
            ValueError: `status` is not a final one.
        """
        if not status.is_final:
            raise ValueError(f"{status.value!r} does not end a run")
        with self._database.write() as connection:
            changes: dict[str, Any] = {
                "status": status.value,
                "reason": plain(reason),
                "error": None if error is None else dump(asdict(error)),
                "finished_at": db_now(),
                "lease_until": None,
                "notebook_digest": notebook_digest,
                **usage_columns(usage),
            }
            if folder is not None:
                changes["folder"] = plain(folder)
            _move(connection, run_id, fence, changes)
            _end_attempt(connection, run_id, fence, status, reason)
            _insert_found(connection, run_id, scraps, artifacts)
            return _one(connection, run_id)

    def salvage(
        self,
        run_id: str,
        fence: int,
        *,
        scraps: Sequence[Scrap] = (),
        artifacts: Sequence[StoredFile] = (),
        notebook_digest: str,
        folder: str | None = None,
        usage: Usage | None = None,
    ) -> Run:
        """Add to a lost run what its journal still held: once, and without moving its status.

        Raises:
            StaleFenceError: the run is not lost at that fence, or was salvaged already.
        """
        with self._database.write() as connection:
            changes: dict[str, Any] = {"notebook_digest": notebook_digest, **usage_columns(usage)}
            if folder is not None:
                changes["folder"] = plain(folder)
            found = connection.execute(
                sa.update(t.runs)
                .where(
                    t.runs.c.id == run_id,
                    t.runs.c.fence == fence,
                    t.runs.c.status == RunStatus.LOST.value,
                    t.runs.c.notebook_digest == "",
                )
                .values(**changes)
            )
            if found.rowcount != 1:
                raise _stale(connection, run_id, fence)
            _insert_found(connection, run_id, scraps, artifacts)
            return _one(connection, run_id)

    def expire(self) -> list[Run]:
        """Turn foreground runs whose lease ran out into `lost`, and return those.

        What they left running on this host is killed before their GPUs are lent again.
        """
        due = (
            t.runs.c.status == RunStatus.RUNNING.value,
            t.runs.c.is_foreground,
            t.runs.c.lease_until < db_now(),
        )
        with self._database.read() as connection:
            # nearly always nothing: an ordinary open must not wait for the write lock
            ids = connection.scalars(sa.select(t.runs.c.id).where(*due)).all()
        lost = [run for run_id in ids if (run := self._lose(run_id, due)) is not None]
        for run in lost:
            self.reap(run.id, run.fence)
            with self._database.write() as connection:
                connection.execute(
                    sa.delete(t.gpu_leases).where(
                        t.gpu_leases.c.run == run.id,
                        t.gpu_leases.c.fence == run.fence,
                        t.gpu_leases.c.host == this_host(),
                    )
                )
        return lost

    def _lose(self, run_id: str, due: tuple[sa.ColumnElement[bool], ...]) -> Run | None:
        with self._database.write() as connection:
            moved = connection.execute(
                sa.update(t.runs)
                .where(t.runs.c.id == run_id, *due)
                .values(
                    status=RunStatus.LOST.value,
                    reason=LOST,
                    finished_at=db_now(),
                    lease_until=None,
                )
            )
            if moved.rowcount != 1:
                return None  # renewed, ended or found by another process in between
            run = _one(connection, run_id)
            _end_attempt(connection, run_id, run.fence, RunStatus.LOST, LOST)
            return run

    def reap(self, run_id: str, fence: int) -> tuple[int, ...]:
        """Kill what that attempt left running on this host; return the pids killed."""
        query = (
            sa.select(t.attempts.c.host, t.attempts.c.pid, t.attempts.c.pid_started)
            .add_columns(t.runs.c.folder)
            .join(t.runs, t.runs.c.id == t.attempts.c.run)
            .where(t.attempts.c.run == run_id, t.attempts.c.fence == fence)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or row.host != this_host():
            return ()
        return reap(row.pid, row.pid_started, self._root / row.folder if row.folder else None)

    def get(self, id_or_prefix: str) -> Run:
        """Return the run with that id, or whose id alone begins so.

        Raises:
            UnknownRunError: there is none.
            AmbiguousRunError: there are several.
        """
        with self._database.read() as connection:
            return _one(connection, find_id(connection, t.runs, id_or_prefix, noun="run"))

    def list(
        self,
        *,
        template: str | None = None,
        status: RunStatus | None = None,
        job_run: str | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """Return runs, newest first. No notebook is opened: an index gives the order."""
        query = select_runs(t.runs, template=template, status=status, job_run=job_run, limit=limit)
        with self._database.read() as connection:
            return [run_from(dict(row)) for row in connection.execute(query).mappings()]

    def scraps(self, run_ids: Iterable[str]) -> dict[str, dict[str, Scrap]]:
        """Return the scraps of each run by name, in the order of their names."""
        found: dict[str, dict[str, Scrap]] = {run: {} for run in run_ids}
        query = (
            sa.select(t.scraps.c.run, *SCRAP_COLUMNS)
            .where(among(t.scraps.c.run, found))
            .order_by(t.scraps.c.run, t.scraps.c.name)
        )
        with self._database.read() as connection:
            for run, *columns in connection.execute(query):
                scrap = scrap_from(*columns)
                found[run][scrap.name] = scrap
        return found

    def artifacts(self, run_id: str) -> Sequence[StoredFile]:
        """Return the run's stored files as (path, sha256, size in bytes), by path."""
        columns = (t.artifacts.c.path, t.artifacts.c.sha256, t.artifacts.c.size_bytes)
        query = sa.select(*columns).where(t.artifacts.c.run == run_id).order_by(t.artifacts.c.path)
        with self._database.read() as connection:
            return [(path, sha256, size) for path, sha256, size in connection.execute(query)]

    def save_environment(self, packages: Iterable[str]) -> str:
        """Keep a list of "name==version" lines once, and return its digest."""
        text = "\n".join(sorted(packages))
        digest = digest_bytes(text.encode())
        exists = sa.select(t.environments.c.digest).where(t.environments.c.digest == digest)
        with self._database.read() as connection:
            if connection.scalar(exists) is not None:
                return digest
        with self._database.write() as connection:
            if connection.scalar(exists) is None:
                row = {"digest": digest, "packages": text}
                connection.execute(sa.insert(t.environments), row)
        return digest

    def environment(self, digest: str) -> Sequence[str]:
        """Return the packages kept under `digest`; none when it was never kept."""
        query = sa.select(t.environments.c.packages).where(t.environments.c.digest == digest)
        with self._database.read() as connection:
            return (connection.scalar(query) or "").splitlines()


def select_runs(
    columns: Any,
    *,
    template: str | None = None,
    status: RunStatus | None = None,
    job_run: str | None = None,
    ids: Iterable[str] | None = None,
    limit: int | None = None,
) -> sa.Select[Any]:
    """Return the query for runs, newest first; each way of asking is answered by an index."""
    query = sa.select(columns)
    if template is not None:
        query = query.where(t.runs.c.template == template)
    if status is not None:
        query = query.where(t.runs.c.status == RunStatus(status).value)
    if job_run is not None:
        query = query.where(t.runs.c.job_run == job_run)
    if ids is not None:
        query = query.where(among(t.runs.c.id, ids))
    return query.order_by(t.runs.c.created_at.desc(), t.runs.c.id.desc()).limit(limit)


def record_devices(connection: sa.Connection, run_id: str, fence: int, gpus: Sequence[Gpu]) -> None:
    """Write the leased GPUs into the run's lineage and its attempt, inside a write."""
    names = [f"{gpu.name} ({gpu.uuid})" for gpu in gpus]
    lineage = connection.scalar(sa.select(t.runs.c.lineage).where(t.runs.c.id == run_id))
    if lineage is None:
        return
    changed = dump(json.loads(lineage) | {"devices": names})
    connection.execute(_held(run_id, fence).values(lineage=changed))
    connection.execute(
        sa.update(t.attempts)
        .where(t.attempts.c.run == run_id, t.attempts.c.fence == fence)
        .values(devices=dump(names))
    )


def _held(run_id: str, fence: int) -> sa.Update:
    return sa.update(t.runs).where(
        t.runs.c.id == run_id,
        t.runs.c.fence == fence,
        t.runs.c.status == RunStatus.RUNNING.value,
    )


def _move(connection: sa.Connection, run_id: str, fence: int, changes: dict[str, Any]) -> None:
    if connection.execute(_held(run_id, fence).values(**changes)).rowcount != 1:
        raise _stale(connection, run_id, fence)


def _stale(connection: sa.Connection, run_id: str, fence: int) -> StaleFenceError | UnknownRunError:
    query = sa.select(t.runs.c.status, t.runs.c.fence).where(t.runs.c.id == run_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return UnknownRunError(run_id)
    return StaleFenceError(run_id, fence, row.status, row.fence)


def _one(connection: sa.Connection, run_id: str) -> Run:
    query = sa.select(t.runs).where(t.runs.c.id == run_id)
    return run_from(dict(connection.execute(query).mappings().one()))


def _end_attempt(
    connection: sa.Connection, run_id: str, fence: int, status: RunStatus, reason: str
) -> None:
    connection.execute(
        sa.update(t.attempts)
        .where(t.attempts.c.run == run_id, t.attempts.c.fence == fence)
        .values(status=status.value, reason=plain(reason), finished_at=db_now())
    )


def _insert_found(
    connection: sa.Connection,
    run_id: str,
    scraps: Sequence[Scrap],
    artifacts: Sequence[StoredFile],
) -> None:
    if scraps:
        rows = [scrap_columns(run_id, scrap) for scrap in scraps]
        connection.execute(sa.insert(t.scraps), rows)
    if artifacts:
        connection.execute(
            sa.insert(t.artifacts),
            [
                {"run": run_id, "path": plain(path), "sha256": sha256, "size_bytes": size}
                for path, sha256, size in artifacts
            ],
        )
