from datetime import UTC, datetime, timedelta

from nbprod.core.clock import SystemClock
from nbprod.core.ids import new_id


def test_ids_sort_by_creation_and_differ_within_a_second() -> None:
    now = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)

    same_second = {new_id(now) for _ in range(50)}

    assert len(same_second) == 50
    assert all(earlier < new_id(now + timedelta(seconds=1)) for earlier in same_second)
    assert all(found.startswith("20260301-235959-") for found in same_second)


def test_the_system_clock_tells_utc() -> None:
    assert SystemClock().now().tzinfo is UTC
