"""Text for a terminal: broken where nobody minds, and without secrets."""

import pytest

from nbprod.core.errors import ArtifactsUnreachableError, StoreUrlError
from nbprod.core.words import without_password, wrapped


def test_a_number_stays_with_its_percent_sign() -> None:
    assert wrapped("at least, with 95 % confidence, 3", 18) == [
        "at least, with",
        "95 % confidence, 3",
    ]


def test_a_command_at_the_end_stays_whole_to_be_pasted() -> None:
    command = "nbprod models promote router 3 --dry-run"

    assert wrapped(f"Nothing was moved. Judge it again: {command}", 24) == [
        "Nothing was moved. Judge",
        "it again:",
        command,
    ]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql://nbprod:s3cret@db/team", "mysql://nbprod:***@db/team"),
        ("sftp://me:p@ss:w@host:22/kept", "sftp://me:***@host:22/kept"),
        ("ftp://:s3cret@host", "ftp://:***@host"),
        ("postgresql://nbprod@db/team", "postgresql://nbprod@db/team"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("sqlite:///.nbprod/store.db", "sqlite:///.nbprod/store.db"),
    ],
)
def test_an_address_is_printed_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_no_error_prints_a_password() -> None:
    for error in (
        StoreUrlError("mysql://nbprod:s3cret@db/team"),
        ArtifactsUnreachableError("sftp://nbprod:s3cret@host/kept", "It does not answer."),
    ):
        assert "nbprod:***@" in str(error)
        assert "s3cret" not in f"{error}{error.args}"
