"""Refs."""

from typing import TYPE_CHECKING, Annotated

import strawberry

import models
from graph.types.changes import Comparison
from graph.types.git import GitObject
from graph.types.interfaces import Node
from graph.view import field, view_of
from resolvers import changes, git_objects, git_refs

if TYPE_CHECKING:
    from graph.types.repository import Repository

LazyRepository = Annotated["Repository", strawberry.lazy("graph.types.repository")]


@strawberry.type(description="Represents a Git reference.")
@view_of(models.GitRef)
class Ref(Node):
    compare: Comparison | None = field(
        changes.compare_ref,
        description="Compares the current ref as a base ref to another head ref, if the "
        "comparison can be made.",
    )
    name: str = field(git_refs.name, description="The ref name, without the prefix.")
    prefix: str = field(
        git_refs.prefix, description="The ref's prefix, such as `refs/heads/` or `refs/tags/`."
    )
    repository: LazyRepository = field(
        git_refs.repository, description="The repository the ref belongs to."
    )
    target: GitObject | None = field(
        git_objects.ref_target, description="The object the ref points to."
    )
