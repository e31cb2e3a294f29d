"""Show it: pages for people who never open a notebook. No code, nothing fetched, printable.

May import: notebook, core. A new kind of page is a template in `pages/` and a function here.
"""

from nbprod.reports.comparison import Comparison, compare
from nbprod.reports.figures import KeyFigure, key_figures
from nbprod.reports.job import Decision, StepPart, render_job
from nbprod.reports.run import render_run

__all__ = [
    "Comparison",
    "Decision",
    "KeyFigure",
    "StepPart",
    "compare",
    "key_figures",
    "render_job",
    "render_run",
]
