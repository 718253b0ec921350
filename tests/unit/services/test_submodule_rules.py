"""What ``.gitmodules`` may say, and in which words the hub refuses the rest."""

import pytest

from services.submodule_rules import gitmodules_fault, url_fault

A_PATH = "is a path on the disk of whoever clones; begin it with ./ or ../, or name a host"
SCHEME = "use one of https, http, ssh, git"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a/b.git",
        "http://example.com:8080/a",
        "HTTPS://example.com/a",
        "ssh://git@example.com/a",
        "ssh://git@[::1]:22/a",
        "git://example.com/a",
        "git+ssh://example.com/a",
        "git@example.com:a/b.git",
        "example.com:a",
        "git@[::1]:a",
        "./a",
        "../a.git",
        "../../other/a",
    ],
)
def test_an_address_is_accepted(url: str) -> None:
    assert url_fault(url) is None


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("ext::sh -c id", "would run the program git-remote-ext"),
        ("fd::17", "would run the program git-remote-fd"),
        ("testgit::https://example.com", "would run the program git-remote-testgit"),
        ("::x", "would run the program git-remote-"),
        ("file:///etc", f"has the scheme file; {SCHEME}"),
        ("FILE:///etc", f"has the scheme FILE; {SCHEME}"),
        ("ftp://example.com/a", f"has the scheme ftp; {SCHEME}"),
        ("/etc", A_PATH),
        ("a/b", A_PATH),
        ("C:/a", A_PATH),
        ("c:\\a", A_PATH),
        ("ssh://-oProxyCommand=id/a", "has a host that begins with '-'"),
        ("ssh://git@-oProxyCommand=id/a", "has a host that begins with '-'"),
        ("git@-oProxyCommand=id:a", "has a host that begins with '-'"),
        ("https://example.com/%0ahost=evil", "has a control character"),
        ("../%0D", "has a control character"),
    ],
)
def test_an_address_is_refused_in_these_words(url: str, fault: str) -> None:
    assert url_fault(url) == fault


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("submodule.x.path", "x\r", "the path of submodule 'x' has a control character"),
        ("submodule.x.path", "a\nb", "the path of submodule 'x' has a control character"),
        ("submodule.x.path", "\x9b1m", "the path of submodule 'x' has a control character"),
        ("submodule.x.path", "-x", "the path of submodule 'x' begins with '-'"),
        ("submodule.x.path", "a/../b", "the path of submodule 'x' leads out of the repository"),
        ("submodule.x.path", "a\\..\\b", "the path of submodule 'x' leads out of the repository"),
        ("submodule.x.path", "/etc", "the path of submodule 'x' is absolute"),
        ("submodule.x.path", "C:x", "the path of submodule 'x' is absolute"),
        ("submodule.x.url", "-u", "the url of submodule 'x' begins with '-'"),
        ("submodule.x.url", "a\x7f", "the url of submodule 'x' has a control character"),
        (
            "submodule.x.url",
            "fd::3",
            "the url of submodule 'x' would run the program git-remote-fd",
        ),
        ("submodule.x\r.path", "x", "the name of submodule 'x\\r' has a control character"),
        ("submodule.-x.path", "x", "the name of submodule '-x' begins with '-'"),
        ("submodule.../x.path", "x", "the name of submodule '../x' leads out of the repository"),
        ("submodule./x.path", "x", "the name of submodule '/x' is absolute"),
        ("submodule.x.branch", "a\r", "the branch of submodule 'x' has a control character"),
    ],
    ids=ascii,
)
def test_a_setting_is_refused_in_these_words(key: str, value: str, fault: str) -> None:
    assert gitmodules_fault([(key, value)]) == fault


def test_a_name_is_shown_in_ascii_and_cut() -> None:
    assert gitmodules_fault([(f"submodule.{'é' * 100}.path", "\r")]) == (
        f"the path of submodule '{chr(92)}xe9{(chr(92) + 'xe9') * 63}' has a control character"
    )


def test_a_file_that_git_cannot_parse_is_refused() -> None:
    assert gitmodules_fault(None) == "git cannot parse it"


def test_a_usual_file_is_accepted() -> None:
    settings = [
        ("submodule.lib/a.b.path", "lib/a.b"),
        ("submodule.lib/a.b.url", "../a.git"),
        ("submodule.lib/a.b.branch", "main"),
        ("submodule.lib/a.b.shallow", None),
        ("submodule.empty.url", ""),
        ("other.x.path", "\r"),
    ]
    assert gitmodules_fault(settings) is None
