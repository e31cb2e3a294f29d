"""Text for a terminal is broken where nobody minds."""

from nbprod.core.words import wrapped


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
