"""Which run holds which GPU. Two runs never share one: the rows are taken in one transaction."""

import time
from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from nbprod.core.errors import GpusBusyError
from nbprod.core.resources import Gpu
from nbprod.core.runs import RunStatus
from nbprod.store import tables as t
from nbprod.store.database import Database
from nbprod.store.expressions import db_now
from nbprod.store.reaping import this_host
from nbprod.store.runs import Runs, record_devices

#: How long the GPUs of a run that has its result are waited for: its kernel has as long to end.
LEAVING_SECONDS = 90.0
LOOK_SECONDS = 0.02


class GpuLeases:
    """The GPUs that runs of this store hold, by host and UUID."""

    def __init__(self, database: Database, runs: Runs) -> None:
        self._database = database
        self._runs = runs

    def take(
        self,
        host: str,
        gpus: Sequence[Gpu],
        *,
        required: int,
        preferred: int,
        run: str,
        fence: int,
        lease: timedelta,
    ) -> tuple[Gpu, ...]:
        """Lease up to `preferred` free GPUs of the host's inventory, and at least `required`.

        A GPU whose holder let its lease run out is free again once the holder's processes,
        where they are on this host, have been killed. One whose run has its result already, and
        whose kernel is about to end, is waited for. What is taken enters the run's lineage.

        Raises:
            GpusBusyError: fewer than `required` are free; nothing is taken.
        """
        deadline = time.monotonic() + LEAVING_SECONDS
        while True:
            self._free_expired(host)
            taken = self._take(
                host,
                gpus,
                required=required,
                preferred=preferred,
                run=run,
                fence=fence,
                lease=lease,
                is_patient=time.monotonic() < deadline,
            )
            if taken is not None:
                return taken
            time.sleep(LOOK_SECONDS)

    def _take(
        self,
        host: str,
        gpus: Sequence[Gpu],
        *,
        required: int,
        preferred: int,
        run: str,
        fence: int,
        lease: timedelta,
        is_patient: bool,
    ) -> tuple[Gpu, ...] | None:
        """Lease what is free; None where more will be in a moment, and the caller is patient."""
        here = t.gpu_leases.c.host == host
        with self._database.write() as connection:
            query = (
                sa.select(t.gpu_leases.c.uuid, t.gpu_leases.c.run, t.runs.c.status)
                .select_from(t.gpu_leases.outerjoin(t.runs, t.runs.c.id == t.gpu_leases.c.run))
                .where(here)
            )
            rows = connection.execute(query).all()
            held = {row.uuid: f"run {row.run}" for row in rows}
            leaving = {
                row.uuid
                for row in rows
                if row.status is not None and RunStatus(row.status).is_final
            }
            free = [gpu for gpu in gpus if gpu.uuid not in held]
            is_short = len(free) < min(max(required, preferred), len(gpus))
            if is_patient and is_short and any(gpu.uuid in leaving for gpu in gpus):
                return None
            if len(free) < required:
                holders = [held[gpu.uuid] for gpu in gpus if gpu.uuid in held]
                raise GpusBusyError(host, required, len(gpus), holders)
            taken = tuple(free[: max(required, preferred)])
            if taken:
                until = self._database.now(connection) + lease.total_seconds()
                connection.execute(
                    sa.insert(t.gpu_leases),
                    [
                        {
                            "host": host,
                            "uuid": gpu.uuid,
                            "run": run,
                            "fence": fence,
                            "lease_until": until,
                        }
                        for gpu in taken
                    ],
                )
                record_devices(connection, run, fence, taken)
        return taken

    def renew(self, run: str, fence: int, *, lease: timedelta) -> int:
        """Prolong what the attempt holds; return how many GPUs that is."""
        return self._database.touch(
            sa.update(t.gpu_leases)
            .where(t.gpu_leases.c.run == run, t.gpu_leases.c.fence == fence)
            .values(lease_until=db_now() + lease.total_seconds())
        )

    def release(self, run: str, fence: int) -> None:
        """Give back what the attempt holds. Call it when all of its processes are gone."""
        with self._database.write() as connection:
            connection.execute(
                sa.delete(t.gpu_leases).where(
                    t.gpu_leases.c.run == run, t.gpu_leases.c.fence == fence
                )
            )

    def _free_expired(self, host: str) -> None:
        expired = (t.gpu_leases.c.host == host, t.gpu_leases.c.lease_until < db_now())
        if host != this_host():
            return  # its processes cannot be seen from here
        self._runs.expire()
        query = sa.select(t.gpu_leases.c.run, t.gpu_leases.c.fence).where(*expired).distinct()
        with self._database.read() as connection:
            holders = connection.execute(query).all()
        for run, fence in holders:
            self._runs.reap(run, fence)
            with self._database.write() as connection:
                connection.execute(
                    sa.delete(t.gpu_leases).where(
                        *expired, t.gpu_leases.c.run == run, t.gpu_leases.c.fence == fence
                    )
                )
