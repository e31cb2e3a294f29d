"""Measure the registry on a 90 MB model, against copying, hashing and fsyncing the same file.

    .venv/bin/python tests/benchmarks/bench_registry.py

Both are done in each round, in turns first. On a rented disk whatever writes second within a
second takes three times as long (180 and 550 ms here, whichever it is), so two rounds of opposite
order make one block, and the ratio is the median over blocks.
"""

import hashlib
import json
import os
import shutil
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from figures import Figure, machine, table

from nbprod.core.verdicts import Outcome, Verdict
from nbprod.registry.registry import Registry
from nbprod.store.artifacts import Artifacts
from nbprod.store.store import Store

MODEL_BYTES = 90_000_000
ROUNDS = 16
VERDICTS = [
    Verdict(gate=f"gate {number}", outcome=Outcome.PASSED, reason="It passed.")
    for number in range(5)
]


def make_model(folder: Path) -> None:
    """Write a folder such as save_pretrained would, with weights that do not compress."""
    folder.mkdir()
    header = json.dumps(
        {"w": {"dtype": "U8", "shape": [MODEL_BYTES], "data_offsets": [0, MODEL_BYTES]}}
    ).encode()
    weights = struct.pack("<Q", len(header)) + header + os.urandom(MODEL_BYTES)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "tokenizer.json").write_text(json.dumps({"vocab": list(range(30_000))}))


def change(folder: Path) -> None:
    """Make it another model of the same size."""
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-16, os.SEEK_END)
        file.write(os.urandom(16))


def copy_hash_fsync(source: Path, target: Path) -> None:
    """Do the least that keeps a folder: each file read once, hashed, written and fsynced."""
    target.mkdir()
    for path in source.iterdir():
        digest = hashlib.sha256()
        with path.open("rb") as original, (target / path.name).open("xb") as copy:
            while block := original.read(1 << 20):
                digest.update(block)
                copy.write(block)
            copy.flush()
            os.fsync(copy.fileno())
    descriptor = os.open(target, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def seconds(act: Callable[[], object]) -> float:
    """Return how long something took, on a disk that has nothing left to write."""
    os.sync()  # an fsync pays for whatever the step before left in the cache
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def measure(root: Path) -> dict[str, list[float]]:
    """Return the seconds of each round, by what was done."""
    model = root / "model"
    make_model(model)
    took: dict[str, list[float]] = {}
    with Store.open("sqlite:///store.db", root=root) as store:
        registry = Registry(store, Artifacts("artifacts", root=root), root / "models")
        for round_ in range(ROUNDS):
            change(model)

            def register_and_promote(version: int = round_ + 1) -> None:
                entry = registry.register("router", model, actor="bench")
                assert entry.version == version
                registry.promote(
                    "router", version, expected=version - 1 or None, verdicts=VERDICTS,
                    actor="bench",
                )  # fmt: skip

            def load() -> Path:
                return registry.path("router@champion")

            def bare() -> None:
                copy_hash_fsync(model, root / "copy")

            steps: dict[str, Callable[[], object]] = {
                "bare": bare, "register and promote": register_and_promote,
            }  # fmt: skip
            for name in sorted(steps, reverse=bool(round_ % 2)):
                took.setdefault(name, []).append(seconds(steps[name]))
            took.setdefault("first load", []).append(seconds(load))
            took.setdefault("verified load", []).append(seconds(load))
            took.setdefault("hard links", []).append(seconds(lambda: _link(registry, root)))
            shutil.rmtree(root / "copy")
            shutil.rmtree(root / "models")
    return took


def _link(registry: Registry, root: Path) -> None:
    """Make a folder of hard links, verified: what the first load would cost without copies."""
    artifacts = Artifacts("artifacts", root=root)
    for file in registry.get("router").files:
        artifacts.fetch(file.sha256, root / "models" / "linked" / file.path)


def _blocks(rounds: list[float]) -> list[float]:
    """Return the mean of each two rounds, one of either order."""
    return [(first + second) / 2 for first, second in zip(rounds[::2], rounds[1::2], strict=True)]


def figures() -> list[Figure]:
    """Return the registry's figures."""
    place = Path(__file__).parents[2] / ".nbprod" / "benchmarks"  # on a disk; /tmp may be memory
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        took = measure(Path(folder))
    median = {name: statistics.median(values) for name, values in took.items()}
    mine, bare = _blocks(took["register and promote"]), _blocks(took["bare"])
    ratios = sorted(left / right for left, right in zip(mine, bare, strict=True))
    ratio = statistics.median(ratios)
    return [
        Figure(
            name="registering and promoting a 90 MB model, against copy + hash + fsync",
            ratio=f"{ratio:.2f} (blocks {ratios[0]:.2f} to {ratios[-1]:.2f})",
            measured=f"{statistics.median(mine) * 1e3:.0f} ms",
            goal="at most 2 times",
            holds=ratio <= 2,
        ),
        Figure(
            name="loading it, every byte verified",
            ratio=f"{median['verified load'] / statistics.median(bare):.2f}",
            measured=f"{median['verified load'] * 1e3:.0f} ms",
        ),
        Figure(
            name="loading it for the first time (copied, verified, fsynced; by hard links "
            f"{median['hard links'] * 1e3:.0f} ms)",
            ratio=f"{median['first load'] / statistics.median(bare):.2f}",
            measured=f"{median['first load'] * 1e3:.0f} ms",
        ),
    ]


def main() -> None:
    """Print the figures."""
    sys.stdout.write(f"{machine()}\n\n{table(figures())}\n")


if __name__ == "__main__":
    main()
