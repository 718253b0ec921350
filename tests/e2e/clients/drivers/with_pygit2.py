"""Does one thing with pygit2, in a process of its own: JSON in, JSON out (see ``clients.py``)."""

import json
import sys
from typing import Any

import pygit2
from pygit2.enums import CredentialType

HOST = b"127.0.0.1"


class Callbacks(pygit2.RemoteCallbacks):
    """Signs in, once: libgit2 asks again, for ever, where a credential is not accepted."""

    def __init__(self, request: dict[str, Any]) -> None:
        super().__init__()
        self.request = request
        self.asked = 0
        self.refused: list[str] = []

    def credentials(
        self, url: str, username_from_url: str | None, allowed_types: CredentialType
    ) -> pygit2.UserPass | pygit2.Keypair:
        self.asked += 1
        if self.asked > 1:
            raise pygit2.GitError("the server did not accept the credential")
        if self.request["key"] is None:
            return pygit2.UserPass(self.request["login"], self.request["token"])
        key = self.request["key"]
        return pygit2.Keypair(username_from_url or "git", f"{key}.pub", key, "")

    def certificate_check(self, certificate: None, valid: bool, host: bytes) -> bool:
        return host == HOST

    def push_update_reference(self, refname: str, message: str | None) -> None:
        if message is not None:
            self.refused.append(f"{refname}: {message}")


def clone(request: dict[str, Any]) -> None:
    pygit2.clone_repository(
        request["url"], request["path"], callbacks=Callbacks(request), depth=request["depth"] or 0
    ).free()


def fetch(request: dict[str, Any]) -> None:
    remote = pygit2.Repository(request["path"]).remotes["origin"]
    remote.fetch(callbacks=Callbacks(request), depth=request["depth"] or 0)


def push(request: dict[str, Any]) -> None:
    """Raises RuntimeError if the server refused a ref: libgit2 tells only the callback."""
    callbacks = Callbacks(request)
    remote = pygit2.Repository(request["path"]).remotes.create_anonymous(request["url"])
    remote.push(request["refspecs"], callbacks=callbacks)
    if callbacks.refused:
        raise RuntimeError("\n".join(callbacks.refused))


def main() -> None:
    request = json.load(sys.stdin)
    try:
        {"clone": clone, "fetch": fetch, "push": push}[request["action"]](request)
    except Exception as error:
        json.dump({"error": f"{type(error).__name__}: {error}"}, sys.stdout)
    else:
        json.dump({"error": None}, sys.stdout)


main()
