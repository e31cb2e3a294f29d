"""Save what a lost run had done: its notebook rendered from the journal, its scraps read."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from nbprod.core.errors import NbprodError
from nbprod.core.runs import Run, RunStatus

if TYPE_CHECKING:
    from nbprod.store.store import Store

#: The template as it was when its run began.
SNAPSHOT_FILE = "template.ipynb"
#: Held in the run's folder by who saves it: two watchers find a lost run at the same moment.
LOCK_FILE, LOCK_SECONDS = ".salvage.lock", 60.0

logger = logging.getLogger(__name__)


def salvage(store: "Store", runs: Iterable[Run], root: Path) -> None:
    """Render the notebook of each lost run that has none yet. What cannot be saved is logged.

    Its sidecars stay in the run's folder: nobody has vouched for them, so they become no
    artifacts.
    """
    for run in runs:
        if run.status is not RunStatus.LOST or run.notebook_digest or not run.folder:
            continue
        try:
            _salvage(store, run, root / run.folder)
        except (NbprodError, OSError, ValueError) as error:
            logger.warning("the notebook of lost run %s could not be saved: %s", run.id, error)


def _salvage(store: "Store", run: Run, folder: Path) -> None:
    from filelock import FileLock

    if not (folder / SNAPSHOT_FILE).is_file():
        return  # it was lost before anything of it was written: there is nothing to save
    with FileLock(folder / LOCK_FILE, timeout=LOCK_SECONDS):
        if not store.runs.get(run.id).notebook_digest:  # nobody was faster
            _save(store, run, folder)


def _save(store: "Store", run: Run, folder: Path) -> None:
    from nbprod.notebook.scraps import read_scraps
    from nbprod.runners.finish import finish

    result = finish(folder, status=RunStatus.LOST, reason=run.reason)
    if result.notebook is None:
        logger.warning("the notebook of lost run %s could not be saved: %s", run.id, result.reason)
        return
    store.runs.salvage(
        run.id,
        run.fence,
        scraps=list(read_scraps(result.notebook).values()),
        notebook_digest=result.notebook_digest,
        usage=result.usage,
    )
