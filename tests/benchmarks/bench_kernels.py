"""Measure warm kernels against everyone else who executes notebooks without a browser.

    make bench-kernels
    .venv/bin/python tests/benchmarks/bench_kernels.py rounds --cases empty,heavy --rounds 9
    .venv/bin/python tests/benchmarks/bench_kernels.py load --seconds 60

All contenders take turns in the same run, on quiet cores; their outputs are compared each time. The
tables, the chart and every single execution are written below .nbprod/benchmarks/; a whole run also
writes the README's chart.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Benchmarks are programs beside this one, not a package.
sys.path[:0] = [str(Path(__file__).parent)]

from figures import machine  # noqa: E402
from warm.program import PARTS, Options, measure  # noqa: E402

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str]) -> int:
    """Measure the named parts, or all; return 1 where a figure does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small: does the program work?")
    parser.add_argument("--cases", help="of the notebooks, separated by commas")
    parser.add_argument("--contenders", help="by their names in the JSON, separated by commas")
    parser.add_argument("--rounds", type=int, help="that count (7)")
    parser.add_argument("--seconds", type=float, help="of sustained load (600)")
    parser.add_argument("--submitters", type=int, help="runs at a time under load (2)")
    parser.add_argument("--shutdowns", type=int, help="runs with atexit handlers (500)")
    parser.add_argument("--out", type=Path, default=ROOT / ".nbprod" / "benchmarks")
    given = parser.parse_args(arguments)
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; parts: {', '.join(PARTS)}")
    options = Options.of(
        quick=given.quick,
        parts=given.parts,
        cases=given.cases.split(",") if given.cases else None,
        contenders=given.contenders.split(",") if given.contenders else (),
        rounds=given.rounds,
        seconds=given.seconds,
        submitters=given.submitters,
        shutdowns=given.shutdowns,
    )
    # As nbprod sets it for its runs: then all kernels on offer here come from one zygote.
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    where = machine()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.out) as scratch:  # on a disk; /tmp may be memory
        report = measure(options, folder=Path(scratch), where=where)
    print(report.text())
    chart = ROOT / "docs" / "images" / "kernels.png"
    report.save(given.out, chart_path=chart if options.is_whole else None)
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
