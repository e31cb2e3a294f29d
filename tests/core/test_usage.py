"""What was used goes through the journal and back, and adds up."""

import pytest

from nbprod.core.usage import Usage

LOAD = Usage(cpu_seconds=1.5, peak_rss_bytes=900)
TRAIN = Usage(cpu_seconds=20.0, peak_rss_bytes=700, peak_gpu_bytes=50)


@pytest.mark.parametrize("usage", [LOAD, TRAIN])
def test_usage_comes_back_from_json(usage: Usage) -> None:
    assert Usage.from_json(usage.to_json()) == usage


def test_without_a_gpu_nothing_is_said_of_one() -> None:
    assert LOAD.to_json() == {"cpu_seconds": 1.5, "peak_rss_bytes": 900}


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        {},
        3,
        "text",
        [],
        {"cpu_seconds": 1},
        {"cpu_seconds": "x", "peak_rss_bytes": 1},
        {"cpu_seconds": 1, "peak_rss_bytes": float("inf")},
    ],
)
def test_what_is_no_usage_reads_as_none(damaged: object) -> None:
    assert Usage.from_json(damaged) is None


def test_times_add_up_and_the_highest_peak_counts() -> None:
    assert Usage.in_all([LOAD, TRAIN, LOAD]) == Usage(
        cpu_seconds=23.0, peak_rss_bytes=900, peak_gpu_bytes=50
    )
    assert Usage.in_all([LOAD]) == LOAD
    assert Usage.in_all([]) is None
