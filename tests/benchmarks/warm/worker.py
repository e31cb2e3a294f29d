"""A process that stays open and executes notebooks when told to: the in-process contenders.

    python worker.py papermill|nbclient
    python worker.py workspace FOLDER

One JSON line in, one out. What a contender imports is imported before the first line is answered,
so that the seconds it answers with are those of the notebook alone.
"""

import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
Act = Callable[[Mapping[str, Any]], Answer]


def papermill() -> dict[str, Act]:
    """Return what `papermill.execute_notebook` does."""
    import papermill as pm

    def run(asked: Mapping[str, Any]) -> Answer:
        begin = time.perf_counter()
        pm.execute_notebook(
            asked["notebook"],
            asked["output"],
            kernel_name=asked["kernel"],
            cwd=asked["cwd"],
            progress_bar=False,
        )
        return {"seconds": time.perf_counter() - begin, "output": asked["output"]}

    return {"run": run}


def nbclient() -> dict[str, Act]:
    """Return what an NBClient does that saves once, at the end."""
    import nbformat
    from nbclient import NotebookClient

    def run(asked: Mapping[str, Any]) -> Answer:
        begin = time.perf_counter()
        notebook = nbformat.read(asked["notebook"], as_version=4)
        client = NotebookClient(
            notebook,
            kernel_name=asked["kernel"],
            timeout=None,
            resources={"metadata": {"path": asked["cwd"]}},
        )
        client.execute()
        nbformat.write(notebook, asked["output"])
        return {"seconds": time.perf_counter() - begin, "output": asked["output"]}

    return {"run": run}


def workspace(folder: str) -> dict[str, Act]:
    """Return what an open workspace does."""
    import nbprod
    from nbprod.kernels import client
    from nbprod.kernels.places import runtime_folder
    from nbprod.kernels.settings import find_settings
    from nbprod.kernels.starts import starts

    ws = nbprod.open(folder)
    len(ws.runs(limit=1))  # the store is opened, as in a workspace that ran something before

    def run(asked: Mapping[str, Any]) -> Answer:
        if asked.get("profile"):
            return _profiled(lambda: _run(asked))
        return _run(asked)

    def _run(asked: Mapping[str, Any]) -> Answer:
        called = time.time()
        begin = time.perf_counter()
        done = ws.run(asked["notebook"], parameters=asked.get("parameters"))
        seconds = time.perf_counter() - begin
        return {
            "seconds": seconds,
            "called": called,
            "returned": called + seconds,
            "run": done.id,
            "status": str(done.status),
            "reason": done.reason,
            "scraps": dict(done.scraps) if asked.get("scraps") else {},
            "output": str(done.notebook),
        }

    def states(_asked: Mapping[str, Any]) -> Answer:
        return {"states": [dict(facts) for facts in client.states()]}

    def warm(_asked: Mapping[str, Any]) -> Answer:
        settings = find_settings(Path(folder))
        for role in ("kernel", "command"):
            client.warm_up(role=role, settings=settings, environment=os.environ)
        return {}

    def stop(_asked: Mapping[str, Any]) -> Answer:
        return {"stopped": client.stop()}

    def count(asked: Mapping[str, Any]) -> Answer:
        found = ws.runs(template=asked["template"])
        recorded = sum(run.status == "succeeded" and len(run.scraps) == 3 for run in found)
        known = list(starts(runtime_folder()))
        kinds = Counter(str(start.kind) for start in known if start.role == "kernel")
        return {"recorded": recorded, "starts": kinds}

    return {"run": run, "states": states, "warm": warm, "stop": stop, "count": count}


def _profiled(act: Callable[[], Answer]) -> Answer:
    """Return the answer with the functions that its own thread spent most time in or under."""
    import cProfile

    from warm.profiles import top

    profile = cProfile.Profile()
    answer = profile.runcall(act)
    return answer | {"profile": top(profile, by="cumulative")}


KINDS: dict[str, Callable[..., dict[str, Act]]] = {
    "papermill": papermill,
    "nbclient": nbclient,
    "workspace": workspace,
}


def main(argv: list[str]) -> int:
    """Answer until nothing more is asked."""
    # Contenders print what they like; only answers go to whoever asks.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    acts = KINDS[argv[0]](*argv[1:])
    print(json.dumps({"pid": os.getpid()}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = acts[asked["do"]](asked)
        except Exception as error:  # noqa: BLE001 - whoever asked raises it
            answer = {"raised": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
    with contextlib.suppress(OSError):
        answers.close()
    return 0


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]
    sys.exit(main(sys.argv[1:]))
