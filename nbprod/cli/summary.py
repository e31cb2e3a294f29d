"""Print what a job run came to."""

from typing import TYPE_CHECKING

from nbprod.cli.output import STATUS_STYLE, console

if TYPE_CHECKING:
    from nbprod.jobs.outcome import JobOutcome

_HEADINGS = ("What the gates say", "Executed notebooks", "Report", "Try next")


def print_summary(outcome: "JobOutcome") -> None:
    """Print the summary on stdout: the same text everywhere, with colours on a terminal."""
    from rich.text import Text

    from nbprod.jobs.summary import as_text, summarise

    summary = summarise(outcome)
    out = console()
    text = Text(as_text(summary).rstrip("\n"))
    text.highlight_words(_HEADINGS, "bold")
    text.highlight_words([summary.title], "bold")
    text.highlight_words([judgement.headline for judgement in summary.judgements], "bold cyan")
    for mark, style in (("✓", "green"), ("✗", "red")):
        text.highlight_words([mark], style)
    for status in {line.status for line in summary.steps}:
        text.highlight_regex(rf"  {status}  ", STATUS_STYLE[status])
    out.print(text)
