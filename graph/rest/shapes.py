"""What REST answers look like, made of what the contract's documents gave."""

import base64
import zlib
from typing import Any
from urllib.parse import quote, urlsplit

Shown = dict[str, Any]


def user(row: Shown, base: str) -> Shown:
    """A simple user; with ``bio`` and the like where the document asked for them."""
    login = row["login"]
    return {
        "login": login,
        "id": row["databaseId"],
        "node_id": row["id"],
        "avatar_url": "",
        "url": f"{base}/users/{login}",
        "html_url": row["url"],
        "type": row["__typename"],
        "site_admin": row["isSiteAdmin"],
        "name": row.get("name"),
        "bio": row.get("bio"),
        "created_at": row["createdAt"],
        "updated_at": row["updatedAt"],
    }


def repository(row: Shown, base: str) -> Shown:
    full_name = row["nameWithOwner"]
    permission = row["viewerPermission"]
    order = ("READ", "TRIAGE", "WRITE", "MAINTAIN", "ADMIN")
    level = order.index(permission) if permission in order else -1
    shown = {
        "id": row["databaseId"],
        "node_id": row["id"],
        "name": row["name"],
        "full_name": full_name,
        "owner": user(row["owner"], base),
        "private": row["isPrivate"],
        "visibility": row["visibility"].lower(),
        "html_url": row["url"],
        "url": f"{base}/repos/{full_name}",
        "forks_url": f"{base}/repos/{full_name}/forks",
        "description": row["description"],
        "fork": row["isFork"],
        "archived": row["isArchived"],
        "disabled": False,
        "clone_url": f"{row['url']}.git",
        "git_url": f"{row['url']}.git",
        "ssh_url": row["sshUrl"],
        "default_branch": row["defaultBranchName"],
        "size": row["diskUsage"],
        "forks_count": row["forkCount"],
        "has_issues": False,
        "has_wiki": False,
        "has_projects": False,
        "created_at": row["createdAt"],
        "updated_at": row["updatedAt"],
        "pushed_at": row["pushedAt"],
        "permissions": {
            name: level >= needed
            for needed, name in enumerate(("pull", "triage", "push", "maintain", "admin"))
        },
    }
    if row.get("parent"):
        shown["parent"] = repository(row["parent"], base)
    return shown


def key(row: Shown, base: str) -> Shown:
    return {
        "id": row["databaseId"],
        "key": row["key"],
        "url": f"{base}/user/keys/{row['databaseId']}",
        "title": row["title"] or "",
        "created_at": row["createdAt"],
        "verified": True,
        "read_only": bool(row["isReadOnly"]),
    }


def readme(row: Shown, base: str) -> Shown:
    entry = row["readme"]
    content = ((entry["object"] or {}).get("text") or "").encode()
    path = quote(entry["path"])
    full_name = row["nameWithOwner"]
    branch = quote(row["defaultBranchName"])
    return {
        "type": "file",
        "encoding": "base64",
        "name": entry["name"],
        "path": entry["path"],
        "sha": entry["oid"],
        "size": entry["size"],
        "content": base64.encodebytes(content).decode(),
        "url": f"{base}/repos/{full_name}/contents/{path}",
        "html_url": f"{row['url']}/blob/{branch}/{path}",
    }


def meta(host: str, version: str) -> Shown:
    """``installed_version`` tells gh which of GitHub's features to ask for."""
    return {
        "verifiable_password_authentication": False,
        "installed_version": version,
        "domains": {"website": [urlsplit(host).hostname]},
    }


def etag(body: bytes) -> bytes:
    """A weak validator: equal answers have equal ones."""
    return b'W/"%08x-%x"' % (zlib.crc32(body), len(body))
