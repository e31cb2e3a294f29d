"""The client's side: ask a zygote for a process, start the zygote where there is none.

Whatever goes wrong is a `NotWarmError` with its reason, and soon: no wait here is without a bound.
"""

import os
import select
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from nbprod.core.errors import RuntimeFolderError
from nbprod.kernels import launch, places
from nbprod.kernels.key import zygote_environment, zygote_key
from nbprod.kernels.launch import NotWarmError
from nbprod.kernels.process import ForkedProcess
from nbprod.kernels.protocol import (
    BadMessageError,
    Describe,
    Fork,
    Forked,
    Inbox,
    Message,
    Refused,
    State,
    Stop,
    Stopping,
    send,
)
from nbprod.kernels.request import request_here as request_here
from nbprod.kernels.settings import KernelSettings
from nbprod.kernels.starts import Start, StartKind, now, owner, record, say_once

#: "off" turns every resident process off; "wait" has kernels wait for a zygote that imports.
VARIABLE = "NBPROD_WARM"
#: Seconds that a zygote may take to answer: a fork takes 0.03, on a busy machine 1.
ANSWER_SECONDS = 10.0
#: Seconds that importing may take where somebody waits for it.
WAIT_SECONDS = 120.0
#: How often a zygote that says that it is stale is followed by another.
ROUNDS = 3
_NO_WAIT = "the zygote is still importing"
_TOO_OFTEN = "its zygote was out of date as often as it was started"


def is_off(environment: Mapping[str, str] | None = None) -> bool:
    """Say whether the user wants no resident process."""
    value = (os.environ if environment is None else environment).get(VARIABLE, "")
    return value.lower() in ("off", "0", "no", "false")


def wait_seconds(asked: float) -> float:
    """Return how long to wait for a zygote that imports: `asked`, unless the user wants more."""
    return WAIT_SECONDS if os.environ.get(VARIABLE, "").lower() == "wait" else asked


def check(environment: Mapping[str, str]) -> None:
    """Refuse where no process with these variables is to be warm, or can be.

    Raises:
        NotWarmError: the user wants it so, or this is not Linux.
    """
    if is_off() or is_off(environment):
        raise NotWarmError(f"{VARIABLE} is off", is_chosen=True)
    if sys.platform != "linux":
        raise NotWarmError("warm kernels need Linux")


def fork(
    request: Fork,
    descriptors: Sequence[int],
    *,
    role: str,
    settings: KernelSettings,
    python: str = sys.executable,
    wait: float | None = None,
) -> ForkedProcess:
    """Return a process that does what is asked, forked from the zygote of its environment.

    `descriptors` become its stdin, stdout and stderr. Where no zygote is up, one is started, and
    waited for at most `wait` seconds. The ledger gets the start either way.

    Raises:
        NotWarmError: there is none; the reason is logged once for a kernel.
    """
    begun, place = time.monotonic(), _Place()
    try:
        check(request.environment)
        place.find(role, python=python, settings=settings, environment=request.environment)
        process = _fork(place, request, descriptors, deadline=begun + (wait or 0.0))
    except NotWarmError as error:
        cold(error, role=role, place=place)
        raise
    kind = StartKind.SPARE if process.is_spare else StartKind.FORKED
    reason = process.not_spare_because
    _record(place, role, kind=kind, reason=reason, seconds=time.monotonic() - begun)
    return process


def warm_up(
    *,
    role: str,
    settings: KernelSettings,
    environment: Mapping[str, str],
    python: str = sys.executable,
    wait: float | None = WAIT_SECONDS,
) -> Mapping[str, Any]:
    """Have a zygote, started now if need be, and return what it says of itself.

    Raises:
        NotWarmError: there is none, or it refuses to fork.
    """
    check(environment)
    place = _Place()
    place.find(role, python=python, settings=settings, environment=environment)
    launch.forget_tries(place.key)
    deadline = time.monotonic() + (wait or 0.0)
    for _ in range(ROUNDS):
        peer = _reach(place, deadline=deadline)
        answer, _ = _ask(peer, Describe(), (), key=place.key)
        peer.close()
        match answer:
            case State(facts=facts):
                return facts
            case Refused(is_stale=True):
                _wait_until_left(place.key)
            case _:
                raise NotWarmError(f"its zygote answered {answer.kind!r} when asked for its state")
    raise NotWarmError(_TOO_OFTEN)


def cold(error: NotWarmError, *, role: str, place: "_Place | None" = None) -> None:
    """Record a cold start and say why, once."""
    if error.is_chosen:
        return
    if role == "kernel":
        say_once(error.reason)
    _record(place or _Place(), role, kind=StartKind.COLD, reason=error.reason)


def keys() -> list[str]:
    """Return the keys of zygotes, also of those that hang or were killed: none is asked."""
    try:
        return sorted(path.stem for path in places.runtime_folder().glob("*.sock"))
    except (RuntimeFolderError, OSError):
        return []


def states() -> list[Mapping[str, Any]]:
    """Return what each zygote says of itself; of one that does not answer, its key and why."""
    return [_state(key) for key in keys()]


def stop(key: str | None = None) -> list[str]:
    """Have the zygote of that key leave, or all of them; return the keys of those that do.

    One that does not answer is killed. Kernels that they forked live on.
    """
    return [found for found in keys() if key in (None, found) and _stop(found)]


def _stop(key: str) -> bool:
    try:
        peer = _connect(key)
        if peer is None:
            _remove_unserved(key)
            return False
        answer, _ = _ask(peer, Stop(), (), key=key)
        peer.close()
    except NotWarmError:
        _wait_until_left(key)  # it did not answer, and was killed for it
        return _remove_unserved(key)
    return isinstance(answer, Stopping)


def _remove_unserved(key: str) -> bool:
    """Remove the socket of a zygote that was killed; say whether there is none any more."""
    if places.is_locked(key):
        return False
    places.socket_path(key).unlink(missing_ok=True)
    return True


class _Place:
    """Which zygote a request is for, as far as that is known yet."""

    def __init__(self) -> None:
        self.key = ""
        self.start: dict[str, Any] = {}

    def find(
        self, role: str, *, python: str, settings: KernelSettings, environment: Mapping[str, str]
    ) -> None:
        """Look for it."""
        try:
            places.runtime_folder()
            self.key = zygote_key(
                role, python=python, preload=settings.preload, environment=environment
            )
        except (RuntimeFolderError, OSError) as error:
            raise NotWarmError(_flat(error)) from error
        self.start = {
            "role": role,
            "python": python,
            "settings": settings,
            "environment": zygote_environment(environment),
        }


def _fork(
    place: _Place, request: Fork, descriptors: Sequence[int], *, deadline: float
) -> ForkedProcess:
    for _ in range(ROUNDS):
        peer = _reach(place, deadline=deadline)
        inbox = Inbox(peer)
        answer, received = _ask(peer, request, descriptors, key=place.key, inbox=inbox)
        match answer:
            case Forked():
                pidfd = received[0] if received else os.pidfd_open(answer.pid)
                return ForkedProcess(peer, inbox, answer, pidfd=pidfd, args=request.argv)
            case Refused(is_stale=True):
                peer.close()
                _wait_until_left(place.key)
            case Refused(reason=reason):
                peer.close()
                raise NotWarmError(reason)
            case _:
                peer.close()
                raise NotWarmError(f"its zygote answered {answer.kind!r} when asked for a process")
    raise NotWarmError(_TOO_OFTEN)


def _reach(place: _Place, *, deadline: float) -> socket.socket:
    """Return a connection to the zygote, once there is one."""
    while True:
        peer = _connect(place.key)
        if peer is not None:
            return peer
        is_new = launch.ensure_zygote(place.key, **place.start)
        if is_new:
            _record(place, place.start["role"], kind=StartKind.ZYGOTE)
        if time.monotonic() >= deadline:
            raise NotWarmError(_NO_WAIT)
        time.sleep(0.01)


def _connect(key: str) -> socket.socket | None:
    """Return a connection to the zygote of that key; None where nobody listens."""
    try:
        return places.connect(key, timeout=ANSWER_SECONDS)
    except (ConnectionRefusedError, FileNotFoundError):
        return None
    except (RuntimeFolderError, OSError) as error:
        raise NotWarmError(f"its zygote cannot be reached ({_flat(error)})") from error


def _ask(
    peer: socket.socket,
    message: Message,
    descriptors: Sequence[int],
    *,
    key: str,
    inbox: Inbox | None = None,
) -> tuple[Message, list[int]]:
    """Return the answer to a message, within `ANSWER_SECONDS`; close the connection on trouble."""
    deadline = time.monotonic() + ANSWER_SECONDS
    inbox = inbox or Inbox(peer)
    received = None
    try:
        send(peer, message, descriptors)
        peer.setblocking(False)
        while True:
            waiting = select.poll()
            waiting.register(peer, select.POLLIN)
            if not waiting.poll(max(deadline - time.monotonic(), 0) * 1000):
                raise TimeoutError
            with suppress(BlockingIOError):
                received = inbox.receive()
                break
    except TimeoutError as error:
        launch.put_down(_pid_of(peer), key)
        peer.close()
        reason = f"its zygote did not answer within {ANSWER_SECONDS:.0f} s"
        raise NotWarmError(reason) from error
    except (BrokenPipeError, ConnectionResetError):
        inbox.close()
    except (OSError, BadMessageError) as error:
        inbox.close()
        peer.close()
        raise NotWarmError(f"its zygote's answer could not be read ({error})") from error
    if received is not None:
        launch.forget_tries(key)
    # None: it left between our connection and its answer, as one does that is out of date.
    return received or (Refused(reason="its zygote left without an answer", is_stale=True), [])


def _wait_until_left(key: str) -> None:
    """Wait for a zygote that is out of date, or was killed, to make room, at most a second."""
    deadline = time.monotonic() + 1
    while places.is_locked(key) and time.monotonic() < deadline:
        time.sleep(0.005)


def _state(key: str) -> Mapping[str, Any]:
    try:
        peer = _connect(key)
        if peer is None:
            return {"key": key, "problem": "nobody listens: it was killed"}
        answer, _ = _ask(peer, Describe(), (), key=key)
        peer.close()
    except NotWarmError as error:
        return {"key": key, "problem": error.reason}
    if isinstance(answer, State):
        return answer.facts
    return {"key": key, "problem": f"it answered {answer.kind!r}"}


def _record(
    place: _Place, role: str, *, kind: StartKind, reason: str = "", seconds: float = 0.0
) -> None:
    try:
        folder = places.runtime_folder()
    except (RuntimeFolderError, OSError):
        return
    record(
        folder,
        Start(
            t=now(),
            role=role,
            key=place.key,
            kind=kind,
            reason=reason,
            seconds=round(seconds, 4),
            owner=owner(),
        ),
    )


def _pid_of(peer: socket.socket) -> int:
    layout = struct.Struct("3i")
    found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
    return int(layout.unpack(found)[0])


def _flat(error: Exception) -> str:
    return " ".join(str(error).split("\n"))
