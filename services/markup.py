"""Text that users wrote, as HTML that may be shown: GitHub-flavoured Markdown, and plain text.

cmark-gfm (GitHub's own parser) makes the HTML, nh3 keeps of it what is on a list. What comes out
runs nothing and leads to http, https and mailto alone. https://github.github.com/gfm/
"""

import collections
import dataclasses
import html
import posixpath
import re
from urllib.parse import quote, unquote, urlsplit

import cmarkgfm
import nh3
from cmarkgfm.cmark import Options

# A file beyond this is not rendered; nobody reads so much, and parsing it would hold up others.
MAX_BYTES = 512 * 1024
# Changes with what comes out, so that nothing older is taken from a cache.
VERSION = 1
ENDINGS = frozenset((".md", ".markdown", ".mdown", ".mkdn", ".mkd"))

_ID_PREFIX = "user-content-"
_SCHEMES = {"http", "https", "mailto"}
_OPTIONS = (
    Options.CMARK_OPT_UNSAFE  # raw HTML is nh3's to judge
    | Options.CMARK_OPT_FOOTNOTES
    | Options.CMARK_OPT_GITHUB_PRE_LANG
    | Options.CMARK_OPT_VALIDATE_UTF8
)
_TAGS = {
    "a", "abbr", "b", "bdo", "blockquote", "br", "caption", "cite", "code", "dd", "del",
    "details", "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "h1", "h2", "h3", "h4",
    "h5", "h6", "hr", "i", "img", "input", "ins", "kbd", "li", "mark", "ol", "p", "picture",
    "pre", "q", "rp", "rt", "ruby", "s", "samp", "section", "small", "span", "strike",
    "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "time",
    "tr", "tt", "ul", "var", "wbr",
}  # fmt: skip
_ATTRIBUTES: dict[str, set[str]] = {
    "*": {"align", "dir", "id", "lang", "title"},
    "a": {"href", "aria-label", "data-footnote-ref", "data-footnote-backref"},
    "abbr": {"title"},
    "blockquote": {"cite"},
    "del": {"cite", "datetime"},
    "details": {"open"},
    "img": {"src", "alt", "width", "height"},
    "input": {"checked"},
    "ins": {"cite", "datetime"},
    "ol": {"start", "type", "reversed"},
    "q": {"cite"},
    "section": {"data-footnotes"},
    "table": {"width"},
    "td": {"colspan", "rowspan", "width"},
    "th": {"colspan", "rowspan", "scope", "width"},
    "time": {"datetime"},
}
_CLASSES = {
    "a": {"footnote-backref"},
    "section": {"footnotes"},
    "sup": {"footnote-ref"},
}
# Elements within one another; building a tree takes time that grows with the square of its depth.
_MAX_DEPTH = 200
_OPENS_OR_CLOSES = re.compile(r"<(/?)([a-z][a-z0-9]*)", re.IGNORECASE)
# They hold nothing, or end where the next one begins.
_NEVER_DEEP = frozenset(
    ("br", "hr", "img", "input", "wbr", "p", "li", "dd", "dt", "td", "th", "tr")
)
_HEADING = re.compile(r"<(h[1-6])((?: [^>]*)?)>(.*?)</\1>", re.DOTALL)
_ALERT = re.compile(
    r"<blockquote>\n<p>\[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\] *(?:<br ?/?>)?\n", re.IGNORECASE
)
_TAG = re.compile(r"<[^>]*>")
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")
_ADDRESS = re.compile(r"https?://[^\s<>\"'`]+[^\s<>\"'`.,;:!?)\]}]", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a file stands, for its relative links. ``repository`` is the path of the repository's
    page, ``folder`` the file's folder in it (empty for the top)."""

    repository: str
    revision: str
    folder: str


def render_markdown(text: str, place: Place) -> str:
    """Safe HTML of a Markdown file of at most MAX_BYTES: headings have anchors, relative links and
    images lead to the repository's pages. What is nested beyond sense is shown as plain text."""
    raw = cmarkgfm.github_flavored_markdown_to_html(text, _OPTIONS)
    if _is_too_deep(raw):
        return render_preformatted(text)

    def rewrite(element: str, attribute: str, value: str) -> str | None:
        if (element, attribute) == ("a", "href"):
            return _resolved(value, place, "blob")
        if (element, attribute) == ("img", "src"):
            return _resolved(value, place, "raw")
        return value

    clean = nh3.clean(
        raw,
        tags=_TAGS,
        clean_content_tags={"script", "style", "title", "textarea", "xmp", "iframe", "noembed",
                            "noframes", "plaintext", "template"},
        attributes=_ATTRIBUTES,
        attribute_filter=rewrite,
        allowed_classes=_CLASSES,
        set_tag_attribute_values={"input": {"type": "checkbox", "disabled": ""}},
        url_schemes=_SCHEMES,
        link_rel="nofollow noopener noreferrer",
        id_prefix=_ID_PREFIX,
    )  # fmt: skip
    return _with_anchors(_ALERT.sub(_alert, clean))


def render_text(text: str) -> str:
    """Plain text as safe HTML, in which addresses are links."""
    pieces: list[str] = []
    end = 0
    for match in _ADDRESS.finditer(text):
        address = html.escape(match[0])
        pieces.append(html.escape(text[end : match.start()]))
        pieces.append(f'<a href="{address}" rel="nofollow noopener noreferrer">{address}</a>')
        end = match.end()
    pieces.append(html.escape(text[end:]))
    return "".join(pieces)


def render_preformatted(text: str) -> str:
    """Plain text with its lines as they are."""
    return f"<pre>{html.escape(text)}</pre>"


def _is_too_deep(raw: str) -> bool:
    """Whether so many elements are open at once. What closes nothing of its own name counts not."""
    still_open: collections.Counter[str] = collections.Counter()
    depth = 0
    for match in _OPENS_OR_CLOSES.finditer(raw):
        name = match[2].lower()
        if name in _NEVER_DEEP:
            continue
        if not match[1]:
            still_open[name] += 1
            depth += 1
            if depth > _MAX_DEPTH:
                return True
        elif still_open[name]:
            still_open[name] -= 1
            depth -= 1
    return False


def _resolved(address: str, place: Place, kind: str) -> str | None:
    """A link of a file as one of the hub's pages; what leads elsewhere stays. None for nonsense."""
    address = address.strip()
    if address.startswith("#"):
        return f"#{_ID_PREFIX}{address[1:]}" if len(address) > 1 else address
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    if parts.scheme or parts.netloc or address.startswith(("//", "\\")) or not parts.path:
        return address
    path = unquote(parts.path)
    # A path from the top, as GitHub takes it; ".." ends at the top as in a file system.
    base = "/" if path.startswith("/") else f"/{place.folder}/"
    target = posixpath.normpath(base + path).lstrip("/")
    page = f"{place.repository}/{kind}/{quote(place.revision)}/{quote(target)}".rstrip("/")
    query = f"?{parts.query}" if parts.query else ""
    return page + query + (f"#{parts.fragment}" if parts.fragment else "")


def _alert(match: re.Match[str]) -> str:
    kind = match[1].lower()
    return (
        f'<blockquote class="markdown-alert markdown-alert-{kind}">\n'
        f'<p class="markdown-alert-title">{kind.capitalize()}</p>\n<p>'
    )


def _with_anchors(clean: str) -> str:
    """Each heading gets an id made of its text, as on GitHub; equal ones are numbered."""
    given: dict[str, int] = {}

    def add(match: re.Match[str]) -> str:
        tag, attributes, inner = match[1], match[2], match[3]
        words = html.unescape(_TAG.sub("", inner)).strip().lower()
        slug = _NOT_IN_ANCHORS.sub("", words).replace(" ", "-")
        if not slug or " id=" in attributes:
            return match[0]
        count = given.get(slug, 0)
        given[slug] = count + 1
        name = f"{_ID_PREFIX}{slug}" + (f"-{count}" if count else "")
        return f'<{tag}{attributes} id="{html.escape(name)}">{inner}</{tag}>'

    return _HEADING.sub(add, clean)
