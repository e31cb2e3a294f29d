"""A notebook's cells as an HTML fragment: nbconvert renders, `markup` cleans."""

from functools import cache
from pathlib import Path
from typing import Any

from nbprod.reports.markup import clean
from nbprod.reports.public import PublicNotebook, public


def read_public(path: Path, *, code: str) -> PublicNotebook:
    """Read an executed notebook and keep what its readers should see."""
    import nbformat

    return public(nbformat.read(path, as_version=4), code=code)


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
