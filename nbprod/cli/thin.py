"""The thin client: has a command run in a fork, and is to its caller what that fork is."""

import os
import resource
import select
import signal
import socket
import struct
import sys
from types import FrameType

from nbprod.kernels import places
from nbprod.kernels.key import zygote_key
from nbprod.kernels.protocol import BadMessageError, Done, Exited, Forked, Inbox, Refused, send
from nbprod.kernels.request import request_here

#: What the fork calls.
TARGET = "nbprod.cli.served:main"
#: Seconds that a zygote has to answer, as `nbprod.kernels.client` has it.
ANSWER_SECONDS = 10.0
FAILED = 1

#: What a terminal sends to every process of a command, where others send it to one alone.
_TO_ALL = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGWINCH})
_TO_ONE = frozenset({signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2})


class _NoForkError(Exception):
    """There is no fork, and why. Internal: the command runs here then."""


def run(arguments: list[str]) -> int | None:
    """Have the command run in a fork; return its exit code, or None where there is no fork.

    Then a zygote is on its way, for the next command. Where the command ends by a signal, this
    process does too.
    """
    key = ""
    try:
        key = zygote_key("command", python=sys.executable, preload=None, environment=os.environ)
        with places.connect(key, timeout=ANSWER_SECONDS) as peer:
            inbox = Inbox(peer)
            try:
                forked, pidfd = _ask(peer, inbox, arguments)
            except TimeoutError:
                _put_down(key, peer)
                raise
            peer.settimeout(None)
            return _follow(inbox, _Relay(forked.pid), pidfd)
    except KeyboardInterrupt:
        # The fork has not begun yet, or is told by the end of the connection.
        sys.stderr.write("Cancelled.\n")
        return FAILED
    except (ConnectionRefusedError, FileNotFoundError):
        _start_zygote(key, "there was no zygote yet")
    except TimeoutError:
        _start_zygote(key, f"its zygote did not answer within {ANSWER_SECONDS:.0f} s")
    except (_NoForkError, OSError) as problem:
        _start_zygote(key, str(problem).partition("\n")[0])
    return None


def _ask(peer: socket.socket, inbox: Inbox, arguments: list[str]) -> tuple[Forked, int]:
    """Return the fork that the command runs in."""
    # Without a folder, or without one of the three streams, this is an OSError.
    request = request_here(TARGET, arguments, environment=os.environ, cwd=os.getcwd())  # noqa: PTH109
    send(peer, request, (0, 1, 2))
    try:
        received = inbox.receive()
    except BadMessageError as error:
        raise _NoForkError(f"its zygote's answer could not be read ({error})") from error
    match received:
        case (Forked() as forked, [pidfd]):
            return forked, pidfd
        case (Refused(reason=reason), _):
            raise _NoForkError(reason)
        case _:
            raise _NoForkError("its zygote left without an answer")


def _put_down(key: str, peer: socket.socket) -> None:
    """Kill a zygote that does not answer: our streams lie in its queue, open for whoever reads."""
    from nbprod.kernels.launch import put_down

    layout = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
    found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
    put_down(layout.unpack(found)[0], key)


def _follow(inbox: Inbox, relay: "_Relay", pidfd: int) -> int:
    """Wait for the command's result, and pass on what this process is told meanwhile."""
    relay.begin()
    while True:
        try:
            received = inbox.receive()
        except (OSError, BadMessageError):
            received = None
        match received:
            case (Done(code=code), _):
                return code
            case (Exited(code=code), _) if code >= 0:
                return code
            case (Exited(code=code), _):
                _die_by(-code)
            case None:
                break
    # The fork and the zygote are both gone, or about to be.
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    waiting.poll(ANSWER_SECONDS * 1000)
    sys.stderr.write(
        "The command was killed, and so was the process that it came from.\n"
        "What it recorded is in the store.\nSee it: nbprod runs list\n"
    )
    return FAILED


class _Relay:
    """Passes signals on to the command, so that it ends, stops and goes on with this process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid  #: leader of a group; a zombie at least, as long as we are connected

    def begin(self) -> None:
        for number in _TO_ALL | _TO_ONE:
            # Under nohup the terminal's end is none of ours, nor of the command's.
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            signal.signal(number, self._pass_on)
        signal.signal(signal.SIGTSTP, self._stop)
        signal.signal(signal.SIGCONT, self._go_on)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._send(number, to_all=number in _TO_ALL)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        # SIGTSTP has no effect on a group that no shell watches over.
        self._send(signal.SIGSTOP, to_all=True)
        os.kill(os.getpid(), signal.SIGSTOP)

    def _go_on(self, _number: int, _frame: FrameType | None) -> None:
        self._send(signal.SIGCONT, to_all=True)

    def _send(self, number: int, *, to_all: bool) -> None:
        try:
            if to_all:
                os.killpg(self._pid, number)
            else:
                os.kill(self._pid, number)
        except (ProcessLookupError, PermissionError):
            return  # it is over


def _die_by(number: int) -> None:
    """End by the signal that the command ended by, so that a shell sees which one."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the memory that matters was the command's
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)


def _start_zygote(key: str, reason: str) -> None:
    """Have a zygote for the next command; what keeps it from that is on record."""
    from dataclasses import replace
    from pathlib import Path

    from nbprod.kernels import launch
    from nbprod.kernels.key import zygote_environment
    from nbprod.kernels.settings import find_settings
    from nbprod.kernels.starts import Start, StartKind, now, owner, record

    is_new, said = False, reason
    try:
        folder = places.runtime_folder()
        is_new = key != "" and launch.ensure_zygote(
            key,
            role="command",
            python=sys.executable,
            settings=replace(find_settings(Path.cwd()), preload=None),
            environment=zygote_environment(os.environ),
        )
    except launch.NotWarmError as error:
        said = error.reason
    except OSError:
        return  # of the folder: `nbprod kernels` and `nbprod doctor` say what is wrong with it
    starts = {StartKind.ZYGOTE: ""} if is_new else {}
    for kind, because in {**starts, StartKind.COLD: said}.items():
        made = Start(t=now(), role="command", key=key, kind=kind, reason=because, owner=owner())
        record(folder, made)
