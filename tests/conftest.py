"""Fixtures for every room: databases, folders, processes without privileges."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

# A shell that starts pytest in the background, or nohup, has signals ignored that tests send:
# what tests start would inherit that.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        is_interrupt = _number is signal.SIGINT
        signal.signal(_number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)

# Nothing stays behind but where a test asks for it, with a runtime folder of its own.
os.environ["NBPROD_WARM"] = "off"

#: root ignores file modes, and PostgreSQL refuses to run as root: "nobody" stands in.
NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
#: The interpreter may lie in a home that nobody else can enter: first import, then drop.
DROP = f"""
def drop_privileges():
    import os
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
        os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
"""
Python = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def workspace_folder(tmp_path: Path) -> Path:
    """A folder as `nbprod init` makes it: nbprod.toml and the four folders, all empty."""
    folder = tmp_path / "team"
    for name in ("templates", "notebooks", "scheduler"):
        (folder / name).mkdir(parents=True)
    (folder / "nbprod.toml").write_text('[workspace]\nname = "team"\n')
    return folder


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other users can reach, as pytest's own cannot be."""
    folder = Path(tempfile.mkdtemp(prefix="nbprod-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=True)
    shutil.rmtree(folder)


@pytest.fixture
def unprivileged_python() -> Python:
    """Run Python code in which `drop_privileges()` makes it a user whom file modes bind.

    Everything must be imported before, if only by doing the same thing elsewhere.
    """
    return lambda code, *arguments: _python(DROP + code, *arguments)


@pytest.fixture
def python_on_small_disk() -> Python:
    """Run Python code with a disk of its own: `/mnt`, in a namespace that ends with it."""

    def run(code: str, *arguments: str | Path, kib: int) -> "subprocess.CompletedProcess[str]":
        mount = f'mount -t tmpfs -o size={kib}k,nr_inodes=1000 tmpfs /mnt && exec "$@"'
        before = ("unshare", "-Urm", "sh", "-c", mount, "sh")
        return _python(code, *arguments, before=before)

    return run


def _unprivileged() -> tuple[str, ...]:
    return AS_NOBODY if os.geteuid() == 0 else ()


def _python(
    code: str, *arguments: str | Path, before: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    environment: Mapping[str, str] = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/tmp"}
    command = [*before, sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, env=environment, cwd="/", capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server that is gone after the tests: its URL, without a database.

    It sorts text as people do (ICU), not byte by byte: what relies on the latter must say so.
    """
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name)
    )
    if not folders:
        text = "PostgreSQL is not installed: apt-get install postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    home = Path(tempfile.mkdtemp(prefix="nbprod-pg-"))  # a socket's path has 107 bytes at most
    if os.geteuid() == 0:
        os.chown(home, NOBODY, NOBODY)
    binaries, data = folders[-1], home / "data"
    initdb = [
        *_unprivileged(),
        *(binaries / "initdb", "-D", data, "-U", "nbprod", "-A", "trust", "-E", "UTF8"),
        *("--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "--no-sync"),
    ]
    subprocess.run(initdb, check=True, capture_output=True, cwd=home)
    settings = ("listen_addresses=", f"unix_socket_directories={home}", "fsync=off")
    options = [word for setting in settings for word in ("-c", setting)]
    log = (home / "log").open("w")
    server = subprocess.Popen(
        [*_unprivileged(), binaries / "postgres", "-D", data, *options],
        stdout=subprocess.DEVNULL,
        stderr=log,
        cwd=home,
    )
    try:
        ready = [binaries / "pg_isready", "-q", "-h", home, "-U", "nbprod", "-d", "postgres"]
        deadline = time.monotonic() + 60
        while subprocess.run(ready, check=False).returncode:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start:\n{(home / 'log').read_text()}")
            time.sleep(0.05)  # a server says that it is ready to nobody who does not ask
        yield f"postgresql://nbprod@/?host={home}"
    finally:
        server.send_signal(signal.SIGINT)  # "fast": ends open connections
        server.wait(timeout=60)
        log.close()
        shutil.rmtree(home)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty store: once a SQLite file, once a PostgreSQL database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/.nbprod/store.db"
    else:
        with _database(request.getfixturevalue("postgres_url")) as url:
            yield url


@pytest.fixture
def postgres_store_url(postgres_url: str) -> Iterator[str]:
    """The address of an empty PostgreSQL store."""
    with _database(postgres_url) as url:
        yield url


class _database:  # noqa: N801 - a context manager, read as a verb
    """Make a database, and drop it at the end with whoever is still connected to it."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.name = f"store_{secrets.token_hex(4)}"

    def __enter__(self) -> str:
        self._execute(f"CREATE DATABASE {self.name}")
        return self.server.replace("@/?", f"@/{self.name}?")

    def __exit__(self, *raised: object) -> None:
        self._execute(f"DROP DATABASE {self.name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.server.replace("@/?", "@/postgres?"), autocommit=True) as server:
            server.execute(statement.encode())
