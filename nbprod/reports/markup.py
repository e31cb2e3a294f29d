"""HTML that a notebook left, made fit for a page: nothing that runs, nothing that is fetched.

BeautifulSoup comes with nbconvert, which requires it. The page's Content-Security-Policy is the
second wall: whatever slips through here, a browser neither runs nor fetches it.
"""

from typing import TYPE_CHECKING

from nbprod.reports.tables import tidy_tables

if TYPE_CHECKING:
    from bs4 import Tag

#: Elements that run, fetch, submit or change the page around them. They go with their content.
_DROPPED = (
    "script",
    "noscript",
    "template",
    "iframe",
    "frame",
    "object",
    "embed",
    "applet",
    "link",
    "meta",
    "base",
    "title",
    "form",
    "audio",
    "video",
    "source",
)
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_FETCHING = frozenset({"src", "srcset", "href", "xlink:href", "poster", "background", "action"})
#: The page styles tables.
_STYLING = frozenset({"border", "cellpadding", "cellspacing", "bgcolor"})
_LINKS = ("#", "http://", "https://", "mailto:")


def clean(fragment: str, *, demote: int = 0) -> str:
    """Return `fragment` balanced, without scripts or remote content, headings `demote` levels down.

    Links to other pages stay: they are followed, not fetched. Remote pictures become their
    alternative text. pandas' scoped style goes, since the page styles tables.
    """
    if "<" not in fragment:
        return fragment
    from bs4 import BeautifulSoup, Comment  # 0.1 s, and most commands render nothing

    soup = BeautifulSoup(fragment, "html.parser")
    for comment in soup.find_all(string=lambda text: isinstance(text, Comment)):
        comment.extract()
    for element in soup.find_all(_DROPPED):
        element.decompose()
    for style in soup.find_all("style"):
        css = style.get_text().lower()
        if style.has_attr("scoped") or "url(" in css or "@import" in css:
            style.decompose()
    for element in soup.find_all(True):
        _clean_attributes(element)
        if element.name in _HEADINGS:
            element.name = f"h{min(6, _HEADINGS.index(element.name) + 1 + demote)}"
    for picture in soup.find_all("img"):
        if not picture.has_attr("src"):
            picture.replace_with(str(picture.get("alt") or "[picture not included]"))
    tidy_tables(soup)
    return str(soup)


def _clean_attributes(element: "Tag") -> None:
    for name in list(element.attrs):
        if _must_go(element.name, name.lower(), str(element.attrs[name]).strip()):
            del element.attrs[name]


def _must_go(tag: str, attribute: str, value: str) -> bool:
    if attribute == "style":
        return "url(" in value.lower() or "expression(" in value.lower()
    return (
        attribute.startswith("on")
        or (tag == "table" and attribute in _STYLING)
        or (attribute in _FETCHING and not _is_harmless(tag, attribute, value))
    )


def _is_harmless(tag: str, attribute: str, value: str) -> bool:
    if attribute == "src" and tag == "img":
        return value.lower().startswith("data:image/")
    return attribute == "href" and tag == "a" and value.lower().startswith(_LINKS)
