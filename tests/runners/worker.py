"""A process that does what it is told: the stand-in for a kernel where none is needed."""

import subprocess
import sys
from collections.abc import Mapping

LOOP = """
import sys
names = {}
for line in sys.stdin:
    exec(compile(line.strip().replace(chr(1), chr(10)), "told", "exec"), names)
    print("done", names.get("answer", ""), flush=True)
"""


class Worker:
    """Python in a session of its own, fed one piece of code after another."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )
        self.pid = self.process.pid
        self.does("pass")  # it is up

    def does(self, code: str) -> str:
        """Execute `code` there; return what it left in `answer`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(code.strip().replace("\n", "\1") + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline().split()
        assert said[:1] == ["done"], "the worker ended"
        return " ".join(said[1:])

    def end(self) -> None:
        """Kill it and close its pipes."""
        self.process.kill()
        self.process.wait(timeout=30)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
