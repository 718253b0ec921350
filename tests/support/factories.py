"""Users, repositories, tokens and keys, made by the rules themselves as the server's operator."""

import dataclasses
import itertools

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from models import Collaborator, Repository, SSHKey, User, Visibility
from services import access_tokens, accounts, repositories, sessions, ssh_keys
from services.access import Role
from services.access_tokens import NewAccessToken
from services.actor import Actor, ActorKind
from services.runtime import Runtime
from services.sessions import SignedIn
from tests.support.runtime import make_op, operator

PASSWORD = "correct horse battery staple"
_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True, slots=True)
class KeyPair:
    """An Ed25519 key: both halves as OpenSSH writes them."""

    public: str
    private: str


async def make_user(
    runtime: Runtime,
    login: str | None = None,
    *,
    password: str | None = PASSWORD,
    site_admin: bool = False,
) -> User:
    login = login or f"user-{next(_numbers)}"
    return await accounts.create_user(
        operator(runtime), login, f"{login}@example.com", password, site_admin=site_admin
    )


async def make_repository(
    runtime: Runtime,
    owner: User | str | None = None,
    name: str | None = None,
    *,
    visibility: Visibility = Visibility.PUBLIC,
) -> Repository:
    owner = owner or await make_user(runtime)
    login = owner if isinstance(owner, str) else owner.login
    name = name or f"repository-{next(_numbers)}"
    return await repositories.create_repository(
        operator(runtime), login, name, visibility=visibility
    )


async def make_token(
    runtime: Runtime, user: User, *scopes: str, repository_ids: list[int] | None = None
) -> NewAccessToken:
    """``.token`` is the text; without scopes it reads public things only."""
    return await access_tokens.create_access_token(
        operator(runtime),
        user.id,
        f"token-{next(_numbers)}",
        scopes,
        repository_ids=repository_ids,
    )


async def make_ssh_key(runtime: Runtime, user: User, public_key: str | None = None) -> SSHKey:
    return await ssh_keys.add_ssh_key(
        operator(runtime), user.id, "key of a test", public_key or make_key_pair().public
    )


async def make_collaborator(
    runtime: Runtime, repository: Repository, user: User, role: Role
) -> None:
    async with runtime.database.write() as session:
        session.add(
            Collaborator(repository_id=repository.id, user_id=user.id, role=role.name.lower())
        )


async def make_session(runtime: Runtime, user: User, password: str = PASSWORD) -> SignedIn:
    """Signed in with a browser; ``.secret`` is the cookie's value."""
    return await sessions.sign_in(make_op(runtime), user.login, password, "Test Browser")


def session_actor(signed_in: SignedIn) -> Actor:
    """The actor of a session, as authentication would make it."""
    return Actor(
        ActorKind.SESSION,
        user_id=signed_in.user.id,
        login=signed_in.user.login,
        is_site_admin=signed_in.user.is_site_admin,
        credential_id=signed_in.session.id,
        confirmed_at=signed_in.session.confirmed_at,
    )


def make_key_pair(comment: str = "ann@laptop") -> KeyPair:
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return KeyPair(f"{public} {comment}", private)
