"""Numbers, times and names as a reader wants to see them. Pages and terminal share them."""

import re
import textwrap
from datetime import UTC, datetime

_GLUE = "\N{NO-BREAK SPACE}"
_UNITS = ("B", "KB", "MB", "GB", "TB")

#: Words that a name holds in lower case and a reader expects otherwise.
_SPELLINGS = {
    "auc": "AUC",
    "cpu": "CPU",
    "f1": "F1",
    "gpu": "GPU",
    "id": "ID",
    "ids": "IDs",
    "mae": "MAE",
    "mse": "MSE",
    "p50": "p50",
    "p95": "p95",
    "p99": "p99",
    "rmse": "RMSE",
    "roc": "ROC",
}


#: Units written out at the end of a name.
_UNIT_WORDS = {"s": "seconds", "ms": "milliseconds", "h": "hours", "%": "percent"}


def spoken(name: str, *, unit: str = "") -> str:
    """Return a scrap's or parameter's name as words: `macro_f1` is "Macro F1".

    A last word that only repeats the unit goes: `latency_p95_ms` in ms is "Latency p95".
    """
    words = [word for word in name.replace("-", "_").split("_") if word]
    if len(words) > 1 and unit and words[-1].lower() in (unit.lower(), _UNIT_WORDS.get(unit)):
        words.pop()
    spelled = [_SPELLINGS.get(word.lower(), word) for word in words]
    if spelled and spelled[0] == words[0]:
        spelled[0] = spelled[0][:1].upper() + spelled[0][1:]
    return " ".join(spelled) or name


def number(value: float) -> str:
    """Return `value` with the digits that matter: 3,000; 12.3; 0.702."""
    if isinstance(value, int) or (abs(value) >= 1000 and value == value // 1):
        return f"{value:,.0f}"
    size = abs(value)
    if value != value or size == float("inf"):
        return str(value)
    if size == 0:
        return "0"
    if size < 0.001:
        return f"{value:.2g}"
    digits = 3 if size < 1 else 2 if size < 10 else 1 if size < 1000 else 0
    return f"{value:,.{digits}f}"


def bytes_size(size_bytes: int) -> str:
    """Return a size in decimal units: "90.9 MB"."""
    size = float(size_bytes)
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("the last unit returns")


def duration(seconds: float | None) -> str:
    """Return a time span: "0.4 s", "12 s", "3 min 5 s", "2 h 4 min"."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(at: datetime | None) -> str:
    """Return a moment in UTC: "21 November 2026, 22:13 UTC"."""
    if at is None:
        return ""
    utc = at.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def short(digest: str) -> str:
    """Return the first twelve digits of a digest or commit: enough to tell two apart."""
    return digest[:12]


def count(amount: int, noun: str) -> str:
    """Return "1 cell" or "7 cells"."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def without_password(url: str) -> str:
    """Return an address that can be printed: `scheme://user:***@host`, whatever the scheme."""
    return re.sub(r"(://[^/@:]*):[^/]*@", r"\1:***@", url)


def wrapped(text: str, width: int) -> list[str]:
    """Return `text` in lines of at most `width`, as far as it may be broken.

    A number stays with its %, and a command at the end stays whole: someone will paste it.
    """
    before, colon, command = text.rpartition(": nbprod ")
    kept = before + colon.replace(" nbprod ", f" nbprod{_GLUE}") + command.replace(" ", _GLUE)
    lines = textwrap.wrap(
        (kept if colon else text).replace(" %", f"{_GLUE}%"),
        width,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_GLUE, " ") for line in lines]
