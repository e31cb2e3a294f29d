"""A notebook's cells as an HTML fragment: nbconvert renders, `markup` cleans."""

import logging
from functools import cache
from pathlib import Path
from typing import Any

from nbprod.core.errors import FrontMatterError
from nbprod.notebook.front_matter import FrontMatter, is_front_matter, parse_front_matter
from nbprod.reports.markup import clean

logger = logging.getLogger(__name__)


def read_notebook(path: Path) -> Any:
    """Return the executed notebook in the file at `path`, as format 4."""
    import nbformat

    return nbformat.read(path, as_version=4)


def own_front_matter(notebook: Any, *, where: str) -> FrontMatter:
    """Return the front matter an executed notebook carries: its template's, as it was then.

    One that can no longer be read says nothing; the run has ended, and its page is wanted.
    """
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "raw" or not is_front_matter(first.source):
        return FrontMatter()
    try:
        return parse_front_matter(first.source, where=where)
    except FrontMatterError as error:
        logger.warning("%s: its front matter is ignored: %s", where, error.what)
        return FrontMatter()


def render_body(notebook: Any, *, code: str, demote: int) -> str:
    """Return the cells as HTML; headings go `demote` levels down, below the page's own."""
    body, _resources = _exporter(code, demote).from_notebook_node(notebook)
    return str(body).strip()


@cache
def _exporter(code: str, demote: int) -> Any:
    """Return nbconvert's exporter without its page: the "basic" template holds cells only.

    The full templates fetch require.js, MathJax and Mermaid from content delivery networks.
    """
    from jinja2 import pass_context
    from nbconvert import HTMLExporter

    exporter: Any = HTMLExporter(
        template_name="basic",
        exclude_input=code == "hidden",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    render = exporter.markdown2html

    @pass_context
    def prose(context: Any, source: str) -> str:
        return clean(render(context, source), demote=demote)

    exporter.register_filter("markdown2html", prose)
    return exporter
