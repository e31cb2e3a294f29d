"""Errors of the store and of the artifacts: where they are kept, who may write, what is there."""

import shlex
from collections.abc import Sequence

from nbprod.core.errors.root import NbprodError
from nbprod.core.words import without_password


class StoreError(NbprodError):
    """Base of everything that can be wrong with the store itself."""


class StoreUrlError(StoreError, ValueError):
    """The address of the store is none that nbprod can use."""

    def __init__(self, url: str) -> None:
        url = without_password(url)
        super().__init__(url)
        self.url = url
        self.what = f"{url!r} is no address of a store."
        self.why = "A store is a SQLite file or a PostgreSQL database."
        self.do = (
            "Set `store` under [workspace] in nbprod.toml to sqlite:///.nbprod/store.db or "
            "postgresql://USER@HOST/DATABASE, then check it: nbprod doctor"
        )


class StoreDriverError(StoreError, ImportError):
    """PostgreSQL was asked for and its driver is not installed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url
        self.what = f"The store {url} cannot be opened."
        self.why = "It is a PostgreSQL database, and the driver psycopg is not installed."
        self.do = "Install it: pip install 'nbprod[postgres]'"


class StoreUnreachableError(StoreError):
    """The database did not answer, or did not let us in."""

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(url, cause)
        self.url = url
        self.what = f"The store {url} cannot be reached."
        self.why = cause
        self.do = "Check `store` in nbprod.toml and that the database runs: nbprod doctor"


class StoreBusyError(StoreError):
    """Another process held the store for longer than anyone should."""

    def __init__(self, url: str, seconds: float) -> None:
        super().__init__(url, seconds)
        self.url = url
        self.what = f"The store {url} is busy."
        self.why = f"Another process has held its write lock for more than {seconds:.0f} seconds."
        self.do = "See which nbprod processes run, and try again: ps -ef | grep nbprod"


class NewerStoreError(StoreError):
    """The store was written by a newer nbprod than this one."""

    def __init__(self, url: str, found: str, known: str) -> None:
        super().__init__(url, found, known)
        self.url = url
        self.found = found
        self.what = f"The store {url} was written by a newer nbprod."
        self.why = f"It is at revision {found}; this nbprod knows revisions up to {known}."
        self.do = "Nothing was changed. Upgrade: pip install --upgrade nbprod"


class NotAStoreError(StoreError):
    """What lies at the address is something else, or damaged."""

    def __init__(self, url: str, cause: str, backup: str) -> None:
        super().__init__(url, cause, backup)
        self.url = url
        self.what = f"{url} is not a store of nbprod."
        self.why = cause
        self.do = backup


class ReadOnlyError(StoreError):
    """A place that nbprod must write to does not let it."""

    def __init__(self, path: str, there: str = "") -> None:
        super().__init__(path, there)  # `there`: the part of `path` that exists, to look at
        self.path = path
        self.what = f"{path} cannot be written."
        self.why = "Its folder or its filesystem is read-only for this user."
        self.do = f"See who may write there: ls -ld {shlex.quote(there or path)}"


class DiskFullError(StoreError):
    """The disk has no room left, or the user's quota is spent."""

    def __init__(self, path: str, there: str = "") -> None:
        super().__init__(path, there)
        self.path = path
        self.what = f"{path} could not be written: the disk is full."
        self.why = "What was being written was taken back; what was there before is untouched."
        self.do = f"Make room and try again: df -h {shlex.quote(there or path)}"


class RunExistsError(StoreError, FileExistsError):
    """A new run was to be recorded under an id that is taken."""

    def __init__(self, run: str) -> None:
        super().__init__(run)
        self.run = run
        self.what = f"Run {run} exists already."
        self.why = "A new run needs an id of its own."
        self.do = f"Nothing was changed. Look at the run: nbprod runs show {run}"


class StaleFenceError(StoreError):
    """A late writer: the run has moved on without it."""

    def __init__(self, run: str, fence: int, status: str, current: int) -> None:
        super().__init__(run, fence, status, current)
        self.run = run
        self.fence = fence
        self.what = f"Attempt {fence} of run {run} may no longer write."
        if status in ("running", "lost") or current != fence:
            self.why = f"Its lease had run out: the run is {status}, at attempt {current}."
        else:
            self.why = f"The run is {status} already."
        self.do = f"Nothing was changed. Look at the run: nbprod runs show {run}"


class StaleJobRunError(StoreError):
    """A late writer: the job run has ended without it."""

    def __init__(self, job_run: str, status: str) -> None:
        super().__init__(job_run, status)
        self.job_run = job_run
        self.what = f"Job run {job_run} may no longer change."
        self.why = f"It is {status} already."
        self.do = f"Nothing was changed. Look at it: nbprod jobs show {job_run}"


class UnknownRunError(StoreError, LookupError):
    """No run, or no job run, has that id."""

    def __init__(self, id_: str, noun: str = "run", latest: Sequence[str] = ()) -> None:
        super().__init__(id_, noun, latest)
        self.id = id_
        self.what = f"There is no {noun} {id_!r}."
        self.why = f"The latest: {', '.join(latest)}." if latest else f"There is no {noun} yet."
        self.do = f"See them all: nbprod {'runs' if noun == 'run' else 'jobs'} list"


class AmbiguousRunError(StoreError, LookupError):
    """Several ids begin like that."""

    def __init__(self, id_: str, noun: str, found: Sequence[str]) -> None:
        super().__init__(id_, noun, found)
        self.id = id_
        self.what = f"{id_!r} is the beginning of more than one {noun}."
        self.why = f"It could be {', '.join(found)}."
        self.do = (
            f"Write one more digit of the id: nbprod {'runs' if noun == 'run' else 'jobs'} show "
            f"{found[0]}"
        )


class GpusBusyError(StoreError):
    """A run must have more GPUs than are free."""

    def __init__(self, host: str, required: int, total: int, holders: Sequence[str]) -> None:
        super().__init__(host, required, total, holders)
        self.host = host
        self.holders = tuple(holders)
        self.what = (
            f"The run needs {_gpus(required)}; {_gpus(total - len(holders))} free on {host}."
        )
        if not total:
            self.why = f"{host} has no GPU that nbprod can see."
        elif holders:
            self.why = f"{_gpus(total)} in all; held by {', '.join(holders)}."
        else:
            self.why = f"{_gpus(total)} in all."
        self.do = (
            "Wait for the holder to end, or ask for less under `resources` in the template's "
            "front matter. See who runs: nbprod runs list --status running"
            if holders
            else "Ask for fewer under `resources` in the template's front matter, "
            "and see what is there: nbprod doctor"
        )


def _gpus(count: int) -> str:
    return f"{count} GPU" if count == 1 else f"{count} GPUs"


class ArtifactMissingError(StoreError, LookupError):
    """No artifact is stored under that digest."""

    def __init__(self, sha256: str, place: str) -> None:
        super().__init__(sha256, place)
        self.sha256 = sha256
        self.what = f"Artifact {sha256[:12]} is missing."
        self.why = f"{place} holds no file with that digest."
        self.do = "Restore it from a backup, or run again what made it: nbprod runs list"


class ArtifactDamagedError(StoreError):
    """A stored file no longer has the content that its name says."""

    def __init__(self, sha256: str, place: str, found: str) -> None:
        super().__init__(sha256, place, found)
        self.sha256 = sha256
        self.what = f"Artifact {place} is damaged."
        self.why = f"Its content has the digest {found[:12]}, not {sha256[:12]}: it was edited."
        self.do = (
            f"Restore it from a backup, or delete it and make it again: rm -f {shlex.quote(place)}"
        )


class ArtifactsUnreachableError(StoreError):
    """The place that artifacts are kept in cannot be used."""

    def __init__(self, url: str, cause: str, do: str = "") -> None:
        url = without_password(url)
        super().__init__(url, cause, do)
        self.url = url
        self.what = f"The artifacts at {url} cannot be reached."
        self.why = cause
        self.do = do or "Check `artifacts` in nbprod.toml and your access to it: nbprod doctor"
