"""The frame of every page: Jinja2 with escaping on, one stylesheet, no script, nothing fetched."""

from functools import cache
from typing import TYPE_CHECKING

from nbprod.core.verdicts import Outcome
from nbprod.core.words import count, duration, moment, number, short, spoken

if TYPE_CHECKING:
    from jinja2 import Environment

#: Nothing may be fetched and nothing may run, whatever a notebook put into its outputs.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:; "
    "base-uri 'none'; form-action 'none'"
)

_MARKS = {Outcome.PASSED: "✓", Outcome.FAILED: "✕", Outcome.UNKNOWN: "?"}


def lay_out(template: str, **values: object) -> str:
    """Return the page `pages/<template>` with `values` in it."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nbprod.reports", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count,
        "duration": duration,
        "moment": moment,
        "number": number,
        "short": short,
        "spoken": spoken,
    }
    environment.globals |= {"marks": _MARKS, "policy": CONTENT_SECURITY_POLICY}
    return environment
