"""What a benchmark hands back, and how it is shown: ratios first, absolutes second."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("papermill", "scrapbook", "pandas", "sqlalchemy", "torch", "transformers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure of the README."""

    name: str
    ratio: str = ""  #: against what it is compared with, in the same run; "" for none
    measured: str  #: the absolute, with its unit
    goal: str = ""  #: what the README promises; "" where nothing is
    holds: bool | None = None  #: None where no goal is set


def machine() -> str:
    """Name the machine and the versions, in a line each."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    versions = ", ".join(f"{package} {number}" for package, number in found.items())
    return (
        f"{model}, {cores} cores, {memory:.0f} GiB; load when it began {load:.1f}\n"
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, {versions}"
    )


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as the Markdown table that the README holds."""
    marks = {True: "yes", False: "**no**", None: ""}
    rows = [("figure", "ratio", "measured", "promised", "holds")]
    rows += [(it.name, it.ratio, it.measured, it.goal, marks[it.holds]) for it in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def save(figures: Sequence[Figure], *, where: str, folder: Path, name: str) -> None:
    """Write `name`.json and `name`.md into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"machine": where.splitlines(), "figures": [asdict(figure) for figure in figures]}
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n")
    (folder / f"{name}.md").write_text(f"{table(figures)}\n\n{where}\n")
