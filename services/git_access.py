"""Opening a repository for a git door: which repository a path names, and what the actor may do."""

import dataclasses
import enum

from gitstore.manifest import RepositoryState
from services import access
from services.access import Action
from services.context import OpContext
from services.errors import NotFound
from services.ref_names import BRANCHES


class GitService(enum.Enum):
    """What the client asked for; the value is git's own name of the command."""

    FETCH = "git-upload-pack"
    PUSH = "git-receive-pack"
    ARCHIVE = "git-upload-archive"


_ACTION = {
    GitService.FETCH: Action.REPOSITORY_READ,
    GitService.PUSH: Action.REPOSITORY_PUSH,
    GitService.ARCHIVE: Action.REPOSITORY_READ,
}


@dataclasses.dataclass(frozen=True, slots=True)
class GitRepository:
    """A repository opened for one request.

    ``moved_from`` is the old path the client still uses; ``head`` is a full ref name, which need
    not exist; the counters and ``head`` are of the moment at which the right to it was judged.
    """

    id: int
    name_with_owner: str
    object_format: str
    prune_epoch: int
    generation: int
    head: str
    moved_from: str | None = None

    @property
    def state(self) -> RepositoryState:
        """What a local copy has to be as new as."""
        return RepositoryState(
            self.id, self.generation, self.prune_epoch, self.head, self.object_format
        )

    def at(self, state: RepositoryState) -> "GitRepository":
        """The same repository as it was at another moment."""
        return dataclasses.replace(
            self, generation=state.generation, prune_epoch=state.prune_epoch, head=state.head
        )


def parse_path(path: str) -> tuple[str, str]:
    """Owner and name of ``OWNER/NAME``, with or without ``.git`` and slashes around.

    Raises NotFound for anything else, so that a strange path tells nothing either.
    """
    parts = path.strip("/").split("/")
    if len(parts) != 2 or not all(parts):
        raise NotFound("repository not found")
    return parts[0], parts[1].removesuffix(".git")


async def open_repository(op: OpContext, path: str, service: GitService) -> GitRepository:
    """Raises NotFound (also when the actor may not read it), Forbidden, FailedPrecondition."""
    owner, name = parse_path(path)
    return await _open(op, (owner, name), service)


async def open_repository_by_id(
    op: OpContext, repository_id: int, service: GitService
) -> GitRepository:
    """As ``open_repository``, for the API."""
    return await _open(op, repository_id, service)


async def _open(
    op: OpContext, id_or_path: int | tuple[str, str], service: GitService
) -> GitRepository:
    async with op.read() as tx:
        repository, name_with_owner = await access.get_named_repository(
            tx, id_or_path, _ACTION[service]
        )
    asked_for = name_with_owner if isinstance(id_or_path, int) else "/".join(id_or_path)
    return GitRepository(
        id=repository.id,
        name_with_owner=name_with_owner,
        object_format=repository.object_format,
        prune_epoch=repository.prune_epoch,
        generation=repository.generation,
        head=BRANCHES + repository.default_branch,
        moved_from=asked_for if asked_for.lower() != name_with_owner.lower() else None,
    )
