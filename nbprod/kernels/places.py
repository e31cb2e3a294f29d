"""Where zygotes and their clients meet: a folder that only its owner can enter.

In it, for each key: its socket, its log, and a lock that the zygote holds as long as it serves.
"""

import fcntl
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbprod.core.errors import RuntimeFolderError

FOLDER_VARIABLE = "NBPROD_RUNTIME_DIR"
#: struct ucred of unix(7): pid, uid, gid.
_CREDENTIALS = struct.Struct("3i")
_BACKLOG = 128


def runtime_folder() -> Path:
    """Return the folder, made if need be: `$NBPROD_RUNTIME_DIR`, or one of this user's own.

    Raises:
        RuntimeFolderError: it is another user's, a link, or cannot be made or written.
    """
    folder = _chosen()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise _unusable(folder, f"{error.strerror}.") from error
    # In /tmp anyone may have been there first; a link could lead anywhere.
    if not stat.S_ISDIR(found.st_mode):
        raise _unusable(folder, "It is a link, not a folder.")
    if found.st_uid != os.geteuid():
        raise _unusable(folder, f"It belongs to another user (uid {found.st_uid}).")
    try:
        if found.st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise _unusable(folder, f"{error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unusable(folder, "It cannot be written.")
    return folder


def _unusable(folder: Path, problem: str) -> "RuntimeFolderError":
    # Loaded when needed: with it come all our errors, which a thin client has no use for.
    from nbprod.core.errors import RuntimeFolderError

    return RuntimeFolderError(folder, problem)


def _chosen() -> Path:
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).absolute()
    of_session = os.environ.get("XDG_RUNTIME_DIR", "")
    if of_session and Path(of_session).is_dir():
        return Path(of_session) / "nbprod"
    return Path(f"/tmp/nbprod-{os.geteuid()}")


def socket_path(key: str) -> Path:
    """Return where the zygote of that key listens."""
    return runtime_folder() / f"{key}.sock"


def log_path(key: str) -> Path:
    """Return where the zygote of that key, and kernels before they are lent, write."""
    return runtime_folder() / f"{key}.log"


def lock_path(key: str) -> Path:
    """Return the file that the zygote of that key holds locked from its start to its end."""
    return runtime_folder() / f"{key}.lock"


def take_lock(key: str) -> int:
    """Lock a key for this process and return the descriptor to keep open.

    Raises:
        BlockingIOError: a zygote of that key is there, or on its way.
    """
    descriptor = os.open(lock_path(key), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_locked(key: str) -> bool:
    """Say whether a zygote of that key is there, or on its way."""
    try:
        os.close(take_lock(key))
    except BlockingIOError:
        return True
    return False


def connect(key: str, *, timeout: float) -> socket.socket:
    """Return a connection to the zygote of that key; its own timeout is `timeout` seconds.

    Raises:
        PermissionError: another user listens there.
        OSError: nobody listens, or not in time.
    """
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        peer.settimeout(timeout)
        with _short(socket_path(key)) as address:
            peer.connect(address)
        if not is_own(peer):
            raise PermissionError("Another user listens there.")
    except BaseException:
        peer.close()
        raise
    return peer


def listen(key: str) -> socket.socket:
    """Return a socket on which clients of that key find us, from now on; not blocking."""
    path = socket_path(key)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with _short(new) as address:
            listener.bind(address)
        new.chmod(0o600)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        # At once for whoever looks: before it, a client would find a socket and nobody there.
        new.replace(path)
    except BaseException:
        listener.close()
        raise
    return listener


def is_own(peer: socket.socket) -> bool:
    """Say whether the process at the other end is this user's."""
    found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(found)[1] == os.geteuid())


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a path of at most 107 bytes, which is all that an address has room for."""
    if len(os.fsencode(path)) <= 100:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        with suppress(OSError):
            os.close(folder)
