"""What the README shows is executed, in the order in which a newcomer would do it.

A block that belongs to the tour has `<!-- tour -->` on the line before it. Lines of a `console`
block that begin with `$ ` are typed into one shell; a `python` block is run where that shell is.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.acceptance.conftest import NBPROD

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^<!-- tour -->\n```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def tour(text: str) -> list[tuple[str, str]]:
    """Return the blocks of the tour: language and what is typed."""
    blocks = []
    for language, body in BLOCK.findall(text):
        lines = body.splitlines()
        if language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        blocks.append((language, "\n".join(lines)))
    return blocks


def script(blocks: list[tuple[str, str]]) -> str:
    """Return the tour as one shell script that stops at the first failure."""
    parts = ["set -eo pipefail"]
    for language, typed in blocks:
        python = f"{shlex.quote(sys.executable)} -W error - <<'END_OF_BLOCK'\n{typed}\nEND_OF_BLOCK"
        parts.append(f"set -x\n{typed}\nset +x" if language == "console" else python)
    return "\n".join(parts)


def test_a_tour_is_what_is_marked() -> None:
    text = "```console\n$ rm x\n```\n\n<!-- tour -->\n```console\n$ cd a\nout\n$ ls\n```\n"

    assert tour(text) == [("console", "cd a\nls")]


def test_every_marked_block_is_found() -> None:
    text = README.read_text(encoding="utf-8")

    assert len(tour(text)) == text.count("<!-- tour -->") >= 2


def test_the_five_minute_tour_works_as_it_stands(tmp_path: Path) -> None:
    path = f"{NBPROD.parent}{os.pathsep}{os.environ['PATH']}"
    blocks = tour(README.read_text(encoding="utf-8"))

    done = subprocess.run(
        ["bash", "-c", script(blocks)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    assert " succeeded " in done.stdout
