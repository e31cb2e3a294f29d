"""What is committed works on anyone's machine: no local paths, no package index's address."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BINARY = {".parquet", ".png", ".safetensors", ".npy", ".npz"}
# Written in pieces, so that this file does not find itself.
FORBIDDEN = re.compile(
    "|".join(
        [
            r"(?<![\w.-])/" + r"work/",
            r"(?<![\w.-])/" + r"opt/(?:pypi|wheels)",
            r"(?<![\w.-])/" + r"root/",
            "python" + r"hosted\.org",
            r"pypi\." + "org",
            "npm" + r"js\.(?:org|com)",
            r"deb\." + r"debian\.org",
        ]
    )
)


def tracked() -> list[Path]:
    """Return the files that git knows; skips where this is no checkout."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_local_path_and_no_index_address_is_committed() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        if path.suffix not in BINARY
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if FORBIDDEN.search(line)
    ]

    assert found == []


def test_no_committed_file_is_large() -> None:
    large = [
        f"{path.relative_to(ROOT)}: {size:,} bytes"
        for path in tracked()
        if (size := path.stat().st_size) > 3_000_000
    ]

    assert large == []


def test_what_a_run_leaves_behind_is_not_committed() -> None:
    left = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if {".nbprod", ".ipynb_checkpoints", "__pycache__"} & set(path.parts)
        or path.name.endswith(".executed.ipynb")
    ]

    assert left == []
