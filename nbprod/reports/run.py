"""The page of one run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nbprod.core.runs import Run
from nbprod.core.scraps import Scrap
from nbprod.core.verdicts import Verdict
from nbprod.notebook.front_matter import FrontMatter
from nbprod.reports.page import lay_out
from nbprod.reports.view import view


def render_run(
    run: Run,
    *,
    notebook: Path | None,
    scraps: Mapping[str, Scrap],
    front_matter: FrontMatter | None = None,
    verdicts: Sequence[Verdict] = (),
    workspace: str = "",
) -> str:
    """Return the HTML page of `run`: one file, no code unless its front matter shows it.

    `notebook` is the executed one; None or a missing file leaves the cells out. Its own front
    matter is used unless another is given. `workspace` is the name that the page's head bears.
    """
    return lay_out(
        "run.html.j2",
        view=view(run, notebook=notebook, scraps=scraps, front_matter=front_matter, demote=1),
        verdicts=verdicts,
        workspace=workspace,
    )
