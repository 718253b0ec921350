"""Does one thing with dulwich, in a process of its own: JSON in, JSON out (see ``clients.py``)."""

import io
import json
import sys
from typing import Any

from dulwich import porcelain


def clone(request: dict[str, Any], transport: dict[str, Any]) -> None:
    porcelain.clone(
        request["url"],
        request["path"],
        depth=request["depth"],
        errstream=io.BytesIO(),
        **transport,
    ).close()


def fetch(request: dict[str, Any], transport: dict[str, Any]) -> None:
    porcelain.fetch(
        request["path"], "origin", depth=request["depth"], errstream=io.BytesIO(), **transport
    )


def push(request: dict[str, Any], transport: dict[str, Any]) -> None:
    """Raises RuntimeError if the server refused a ref: dulwich only returns that."""
    result = porcelain.push(
        request["path"],
        request["url"],
        request["refspecs"],
        outstream=io.BytesIO(),
        errstream=io.BytesIO(),
        **transport,
    )
    for ref, reason in (result.ref_status or {}).items():
        if reason is not None:
            raise RuntimeError(f"{ref.decode()}: {reason}")


def main() -> None:
    request = json.load(sys.stdin)
    transport: dict[str, Any] = {"username": request["login"], "password": request["token"]}
    if request["ssh_command"]:
        transport = {"ssh_command": request["ssh_command"]}
    try:
        {"clone": clone, "fetch": fetch, "push": push}[request["action"]](request, transport)
    except Exception as error:
        json.dump({"error": f"{type(error).__name__}: {error}"}, sys.stdout)
    else:
        json.dump({"error": None}, sys.stdout)


main()
