"""For your own tests: a clock that you set, and the contracts that implementations keep.

Subclass a contract, provide its fixture, and pytest checks what nbprod relies on.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbprod.store.artifacts import Artifacts

__all__ = ["ArtifactsContract", "FakeClock"]


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)) -> None:
        self._now = now

    def now(self) -> datetime:
        """Return the moment it was set to, in UTC."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move it by that much."""
        self._now += by


class ArtifactsContract:
    """What a place for artifacts keeps; provide the fixture `artifacts` on your fsspec URL."""

    def test_what_is_stored_comes_back(self, artifacts: "Artifacts", tmp_path: Path) -> None:
        """A file is found under its digest, whole, whatever its size."""
        for content in (b"", b"hello", bytes(range(256)) * 10_000):
            (tmp_path / "source").write_bytes(content)

            sha256, size = artifacts.put_file(tmp_path / "source")
            artifacts.fetch(sha256, tmp_path / "fetched")

            assert (sha256, size) == (hashlib.sha256(content).hexdigest(), len(content))
            assert (tmp_path / "fetched").read_bytes() == content
            assert (tmp_path / "fetched").stat().st_mode & 0o777 == 0o444
            with artifacts.open(sha256) as file:
                assert file.read() == content
            artifacts.verify(sha256)

    def test_storing_again_changes_nothing(self, artifacts: "Artifacts", tmp_path: Path) -> None:
        """Equal content is one artifact."""
        (tmp_path / "one").write_bytes(b"hello")
        (tmp_path / "two").write_bytes(b"hello")

        assert artifacts.put_file(tmp_path / "one") == artifacts.put_file(tmp_path / "two")

    def test_only_what_is_stored_is_there(self, artifacts: "Artifacts", tmp_path: Path) -> None:
        """An unknown digest is missing, before and after another is stored."""
        import pytest

        unknown = hashlib.sha256(b"unknown").hexdigest()
        (tmp_path / "source").write_bytes(b"hello")

        before = artifacts.has(unknown)
        sha256, _ = artifacts.put_file(tmp_path / "source")

        assert (before, artifacts.has(unknown), artifacts.has(sha256)) == (False, False, True)
        with pytest.raises(LookupError, match="is missing"):
            artifacts.open(unknown)
        with pytest.raises(LookupError, match="is missing"):
            artifacts.fetch(unknown, tmp_path / "fetched")
        assert not (tmp_path / "fetched").exists()
