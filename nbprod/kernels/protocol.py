"""What a zygote and its clients say to each other: JSON lines over a Unix socket.

One connection asks for one thing. The first line carries file descriptors (SCM_RIGHTS): of a
`Fork` its stdin, stdout and stderr, of a `Forked` the pidfd of the new process. A connection that
asked for a process stays open as long as that process lives: its end, whoever closes it, is how
each side learns that the other is gone.

    client                      zygote, or the process it forked
    Fork + 3 descriptors   ->
                           <-   Forked + pidfd, or Refused
                           <-   Done      a command's result, while it still cleans up behind it
                           <-   Exited    reaped when the client has closed its end
    Describe               ->
                           <-   State
    Stop                   ->
                           <-   Stopping
"""

import array
import contextlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

#: The target of a `Fork` that asks for an IPython kernel. Others are `package.module:function`,
#: called with the list of arguments; what it returns is the exit code.
KERNEL = "kernel"
#: Bytes of one message at most: an environment may have 2 MiB by Linux's own limit.
LONGEST = 8 * 2**20
#: Descriptors of a `Fork`: stdin, stdout, stderr.
STDIO = 3
#: Descriptors that travel with a message at most: a spare gets its owner's connection as well.
DESCRIPTORS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Ask for a process. It gets exactly these arguments, variables, folder and limits."""

    kind: ClassVar[str] = "fork"
    target: str
    argv: Sequence[str]  #: without the program's name
    environment: Mapping[str, str]
    cwd: str
    umask: int
    nice: int = 0
    affinity: Sequence[int] = ()  #: CPUs that the process may use
    limits: Mapping[str, Sequence[int]] = field(default_factory=dict)  #: RLIMIT_...: soft, hard
    may_be_spare: bool = True  #: a kernel forked ahead of need will do, if it is faithful


@dataclass(frozen=True, slots=True, kw_only=True)
class Describe:
    """Ask what the zygote is and has done."""

    kind: ClassVar[str] = "describe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Ask the zygote to leave: no more forks; running kernels live on."""

    kind: ClassVar[str] = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forked:
    """The process is there, leader of a session of its own. Its pidfd comes along."""

    kind: ClassVar[str] = "forked"
    pid: int
    is_spare: bool = False  #: it was forked ahead of need
    connection_info: Mapping[str, Any] | None = None  #: of a spare kernel: its ports and key
    not_spare_because: str = ""  #: why no spare served a request that would have taken one


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No process, and why: start a cold one."""

    kind: ClassVar[str] = "refused"
    reason: str  #: a sentence
    is_stale: bool = False  #: the zygote leaves; a new one will do


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command has its result; its process lives on to clean up. The client need not wait."""

    kind: ClassVar[str] = "done"
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """The process ended: its exit status, negative for a signal, as subprocess has it."""

    kind: ClassVar[str] = "exited"
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What `nbprod kernels` shows of one zygote."""

    kind: ClassVar[str] = "state"
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """The zygote leaves."""

    kind: ClassVar[str] = "stopping"


Message: TypeAlias = Fork | Describe | Stop | Forked | Refused | Done | Exited | State | Stopping
_KINDS: dict[str, type[Message]] = {
    kind.kind: kind
    for kind in (Fork, Describe, Stop, Forked, Refused, Done, Exited, State, Stopping)
}


class BadMessageError(Exception):
    """What came is not of this protocol. Internal: it never reaches a user."""


def send(peer: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send a message whole, its descriptors with its first byte.

    Raises:
        OSError: the other end is gone, or the socket's own timeout passed.
    """
    # Not asdict: it would copy every variable of an environment.
    fields = {name: getattr(message, name) for name in message.__slots__}
    line = memoryview(json.dumps({"kind": message.kind} | fields).encode() + b"\n")
    if descriptors:
        sent = socket.send_fds(peer, [line], list(descriptors))
        line = line[sent:]
    # Sending nothing fails as well, if whoever has all of it by now has left.
    if line:
        peer.sendall(line)


class Inbox:
    """Takes messages from a socket as they come in, whole or in pieces."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._rest = b""
        self._descriptors: list[int] = []

    def receive(self) -> tuple[Message, list[int]] | None:
        """Return the next message and its descriptors, now the caller's; None at the end.

        Blocks as the socket does: BlockingIOError or TimeoutError when nothing whole is there yet.

        Raises:
            BadMessageError: not of this protocol, or too long.
        """
        while b"\n" not in self._rest:
            piece, descriptors = _receive_some(self._peer)
            self._descriptors += descriptors
            if not piece:
                self.close()
                return None
            self._rest += piece
            if len(self._rest) > LONGEST or len(self._descriptors) > DESCRIPTORS:
                self.close()
                raise BadMessageError("The message is too long.")
        line, _, self._rest = self._rest.partition(b"\n")
        descriptors, self._descriptors = self._descriptors, []
        try:
            return _parse(line), descriptors
        except BadMessageError:
            _close(descriptors)
            raise

    def close(self) -> None:
        """Close descriptors that came with a message of which the rest never did."""
        _close(self._descriptors)
        self._descriptors = []


def _receive_some(peer: socket.socket) -> tuple[bytes, list[int]]:
    # Like socket.recv_fds, which leaves descriptors inheritable by whatever is started meanwhile.
    room = socket.CMSG_SPACE(DESCRIPTORS * array.array("i").itemsize)
    piece, ancillary, _, _ = peer.recvmsg(65536, room, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(content) - len(content) % descriptors.itemsize
            descriptors.frombytes(content[:whole])
    return piece, list(descriptors)


def _parse(line: bytes) -> Message:
    try:
        fields = json.loads(line)
        return _KINDS[fields.pop("kind")](**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadMessageError(str(error)) from error


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
