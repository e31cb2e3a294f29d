"""A server that forks by the protocol and does nothing else: what the client's tests talk to.

`python small_zygote.py KEY MODE`, where the mode says how it answers. It ends with its parent.
"""

import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from nbprod.kernels import places
from nbprod.kernels.protocol import (
    Describe,
    Done,
    Exited,
    Fork,
    Forked,
    Inbox,
    Refused,
    State,
    Stop,
    Stopping,
    send,
)


def run(request: Fork, peer: socket.socket, descriptors: list[int]) -> None:
    """Be the process: one word says what to do."""
    os.setsid()
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
    os.chdir(request.cwd)
    match request.argv:
        case ["exit", code]:
            os._exit(int(code))
        case ["die", number]:
            os.kill(os.getpid(), int(number))
        case ["done", code]:
            send(peer, Done(code=int(code)))
            time.sleep(30)
        case ["say", name]:
            os.write(1, json.dumps([request.environment.get(name), str(Path.cwd())]).encode())
            os._exit(0)
        case _:
            select.select([peer], [], [], 60)  # until the owner leaves


def serve(listener: socket.socket, mode: str) -> None:
    running: dict[int, socket.socket] = {}
    while os.getppid() == PARENT:
        for pid, peer in list(running.items()):
            found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
                send(peer, Exited(code=code))
                peer.recv(1)  # the client closes: now its pid may go
                os.waitpid(pid, 0)
                peer.close()
                del running[pid]
        if not select.select([listener], [], [], 0.01)[0]:
            continue
        peer, _ = listener.accept()
        if mode == "silent":
            time.sleep(60)
        if mode == "leaving":
            peer.close()
            continue
        if mode == "leaving once":
            peer.close()
            mode = ""
            continue
        if mode == "garbage":
            peer.sendall(b"\x00\xff not JSON\n")
            continue
        received = Inbox(peer).receive()
        assert received is not None
        match received:
            case Describe(), _:
                send(peer, State(facts={"pid": os.getpid(), "mode": mode}))
            case Stop(), _:
                send(peer, Stopping())
                return
            case Fork(), _ if mode == "refusing":
                send(peer, Refused(reason="somemodule started a thread"))
            case Fork(), _ if mode == "stale":
                send(peer, Refused(reason="a module changed", is_stale=True))
            case Fork() as request, descriptors:
                told, tell = os.pipe()
                pid = os.fork()
                if not pid:
                    os.read(told, 1)  # it speaks after us
                    run(request, peer, descriptors)
                    os._exit(1)
                pidfd = os.pidfd_open(pid)
                send(peer, Forked(pid=pid), [pidfd])
                os.write(tell, b"!")
                for descriptor in (*descriptors, pidfd, told, tell):
                    os.close(descriptor)
                running[pid] = peer


PARENT = os.getppid()

if __name__ == "__main__":
    key, mode = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    places.take_lock(key)
    serve(places.listen(key), mode)
