"""The promise of every gate, kept on simulated challengers of known quality."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "bench_gates.py"


def test_quick_simulation_promotes_few_that_must_not_pass_and_most_that_ought_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    specification = importlib.util.spec_from_file_location("bench_gates", PROGRAM)
    assert specification is not None
    assert specification.loader is not None
    program = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "bench_gates", program)  # dataclasses look their module up
    specification.loader.exec_module(program)
    report = tmp_path / "gates.json"

    status = program.main(["--quick", "--processes", "1", "--json", str(report)])

    rows = json.loads(report.read_text())
    limit = [row for row in rows if row["is_limit"]]
    promoted = sum(row["passed"] * row["simulations"] for row in limit)
    assert status == 0
    assert promoted / sum(row["simulations"] for row in limit) < 0.07
    assert all(row["passed"] == 0 for row in rows if not row["should_pass"] and not row["is_limit"])
    far_better = [row for row in rows if row["challenger"] in ("+0.04", "1 times")]
    assert far_better
    assert all(row["passed"] > 0.4 for row in far_better)
    assert "False promotions: challengers that must not pass" in capsys.readouterr().out
