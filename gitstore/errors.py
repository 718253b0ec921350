"""What can go wrong in a repository. Doors show these through ``services``."""


class GitStoreError(Exception):
    """Base of all errors of this package; the text may be shown to the user."""


class RepositoryGone(GitStoreError):
    """The repository was deleted."""


class RepositoryUnreadable(GitStoreError):
    """A pack that the manifest names cannot be had from the object store, or is damaged there."""


class QueueFull(GitStoreError):
    """Too many git children run already; none could be started in the time one may wait."""


class GitFailed(GitStoreError):
    """A git child ended badly. ``stderr`` is for the log, not for users."""

    def __init__(self, command: str, returncode: int, stderr: str) -> None:
        super().__init__(f"git {command} failed")
        self.command = command
        self.returncode = returncode
        self.stderr = stderr

    def __str__(self) -> str:
        return f"git {self.command} exited with {self.returncode}: {self.stderr.strip()[-500:]}"


class GitTimedOut(GitFailed):
    """A git child was killed for exceeding its wall clock limit."""


class PackRejected(GitStoreError):
    """The pack is corrupt, incomplete, forbidden or too large; the text says which."""


class MissingObjects(PackRejected):
    """A pushed ref would refer to objects that neither the pack nor the repository has."""


class RelyingOnGarbage(PackRejected):
    """A push needs objects that no ref reaches, of a repository that is being pruned."""


class PruneEpochChanged(GitStoreError):
    """Objects were dropped since the push was checked: refresh and check again."""


class UploadIntentGone(GitStoreError):
    """The sweep took this upload for abandoned and removed it; the push must be sent again."""
