from datetime import UTC, datetime, timedelta, timezone

import pytest

from nbprod.core.evidence import Role
from nbprod.core.scraps import Scrap, ScrapDeclaration, ScrapType
from nbprod.core.words import bytes_size, duration, moment, number, spoken
from nbprod.reports import Comparison, KeyFigure, compare, key_figures


def scrap(name: str, value: object, kind: ScrapType = ScrapType.ANY) -> Scrap:
    return Scrap(name=name, encoder="json", type=kind, value=value)  # type: ignore[arg-type]


def test_declared_scraps_come_first_and_tables_never() -> None:
    scraps = {
        found.name: found
        for found in (
            scrap("extra", 3),
            scrap("frame", "3 rows", ScrapType.FRAME),
            scrap("verdict", "good", ScrapType.TEXT),
            scrap("digest", "a" * 64),
            scrap("accuracy", 0.5, ScrapType.NUMBER),
            scrap("is_balanced", True, ScrapType.BOOLEAN),
        )
    }
    declared = (
        ScrapDeclaration(name="accuracy", type=ScrapType.NUMBER, range=(0.0, 2.0), unit="points"),
        ScrapDeclaration(name="verdict", type=ScrapType.TEXT),
        ScrapDeclaration(name="missing"),
    )

    assert key_figures(scraps, declared) == (
        KeyFigure(name="accuracy", label="Accuracy", value="0.500", unit="points", share=0.25),
        KeyFigure(name="verdict", label="Verdict", value="good", is_number=False),
        KeyFigure(name="extra", label="Extra", value="3"),
        KeyFigure(name="is_balanced", label="Is balanced", value="yes", is_number=False),
    )


def test_a_metric_is_compared_with_the_same_metric_of_other_models() -> None:
    scraps = {
        name: scrap(name, value)
        for name, value in {
            "latency_ms": 20.0,
            "champion_latency_ms": 20.0,
            "baseline_latency_ms": 31.0,
            "rows": 2000,
        }.items()
    }
    declared = (ScrapDeclaration(name="latency_ms", unit="ms", higher_is_better=False),)

    (found,) = compare(scraps, declared)

    assert found == Comparison(
        metric="latency_ms",
        label="Latency",
        unit="ms",
        values={Role.CANDIDATE: 20.0, Role.CHAMPION: 20.0, Role.BASELINE: 31.0},
        higher_is_better=False,
    )
    assert found.best == {Role.CANDIDATE, Role.CHAMPION}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3000, "3,000"),
        (0.70234, "0.702"),
        (7.5, "7.50"),
        (23.14, "23.1"),
        (1234.5, "1,234"),
        (0.0003, "0.0003"),
        (0.0, "0"),
        (-0.5, "-0.500"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
    ],
)
def test_numbers_keep_the_digits_that_matter(value: float, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, ""), (0.42, "0.4 s"), (9.97, "10.0 s"), (59.6, "1 min 0 s"), (3725, "1 h 2 min")],
)
def test_durations_read_aloud(seconds: float | None, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("macro_f1", "", "Macro F1"),
        ("latency_p95_ms", "ms", "Latency p95"),
        ("train_seconds", "s", "Train"),
        ("roc_auc", "", "ROC AUC"),
        ("ms", "ms", "Ms"),
        ("_", "", "_"),
    ],
)
def test_names_become_words(name: str, unit: str, expected: str) -> None:
    assert spoken(name, unit=unit) == expected


def test_sizes_and_moments() -> None:
    berlin = timezone(timedelta(hours=1))

    assert [bytes_size(size) for size in (999, 90_900_000)] == ["999 B", "90.9 MB"]
    assert moment(datetime(2026, 11, 22, 0, 5, tzinfo=berlin)) == "21 November 2026, 23:05 UTC"
    assert moment(datetime(2026, 1, 2, tzinfo=UTC)) == "2 January 2026, 00:00 UTC"
