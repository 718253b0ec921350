"""Refs of a repository, read from its manifest: no git process is asked."""

from typing import Annotated

import strawberry
from strawberry import Parent

from models import GitRef, Repository
from resolvers.context import Info
from services.errors import Invalid, NotFound

_SHORT_NAMES_LEAD_TO = ("refs/", "refs/heads/", "refs/tags/")


async def ref(
    root: Parent[Repository],
    info: Info,
    qualified_name: Annotated[
        str,
        strawberry.argument(
            description="The ref to retrieve. Fully qualified matches are checked in order "
            "(`refs/heads/master`) before falling back onto checks for short name matches "
            "(`master`)."
        ),
    ],
) -> GitRef | None:
    names = [qualified_name]
    if not qualified_name.startswith("refs/"):
        names = [prefix + qualified_name for prefix in _SHORT_NAMES_LEAD_TO]
    found = await info.context.loaders.ref_by_repository_and_name.load_many(
        [(root.id, name) for name in names]
    )
    return next((row for row in found if row is not None), None)


def name(root: Parent[GitRef]) -> str:
    return root.name.removeprefix(prefix(root))


def prefix(root: Parent[GitRef]) -> str:
    """``refs/heads/`` of ``refs/heads/a/b``; ``refs/`` where there is nothing in between."""
    parts = root.name.split("/", 2)
    return f"{parts[0]}/{parts[1]}/" if len(parts) == 3 else f"{parts[0]}/"


async def repository(root: Parent[GitRef], info: Info) -> Repository:
    """Raises NotFound once the viewer may no longer read it."""
    found = await info.context.loaders.repository_by_id.load(root.repository_id)
    if found is None:
        raise NotFound("the repository no longer exists")
    return found


def checked_prefix(ref_prefix: str) -> str:
    """Raises Invalid unless it names a folder of refs."""
    if not ref_prefix.startswith("refs/") or not ref_prefix.endswith("/"):
        raise Invalid(
            "refPrefix must begin with 'refs/' and end with '/', like 'refs/heads/'",
            fields=("refPrefix",),
        )
    return ref_prefix
