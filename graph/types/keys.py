"""SSH keys: those of users (PublicKey) and those of repositories (DeployKey)."""

import datetime as dt

import strawberry

import models
from graph.types.interfaces import Node
from graph.view import field, view_of
from resolvers import credentials, users


@strawberry.type(description="A user's public key.")
@view_of(models.SSHKey, when=lambda row: row.user_id is not None)
class PublicKey(Node):
    accessed_at: dt.datetime | None = field(
        credentials.own_time("last_used_at"),
        description="The last time this key was used. Null for keys not owned by the viewer, or "
        "without the scope `read:public_key`.",
    )
    created_at: dt.datetime | None = field(
        credentials.own_time("created_at"),
        description="Identifies the date and time when the key was created. Null for keys not "
        "owned by the viewer, or without the scope `read:public_key`.",
    )
    database_id: int | None = field(
        users.database_id, description="Identifies the primary key from the database."
    )
    fingerprint: str = field(description="The fingerprint for this PublicKey, `SHA256:...`.")
    is_read_only: bool | None = field(
        credentials.own_is_read_only,
        description="Whether this PublicKey is read-only or not. Null for keys not owned by the "
        "viewer, or without the scope `read:public_key`.",
    )
    key: str = field(credentials.public_key, description="The public key string.")
    title: str | None = field(
        credentials.own_title,
        description="What the owner calls the key. Null for keys not owned by the viewer, or "
        "without the scope `read:public_key`.",
    )


@strawberry.type(description="A repository deploy key.")
@view_of(models.SSHKey, when=lambda row: row.repository_id is not None)
class DeployKey(Node):
    created_at: dt.datetime = field(
        description="Identifies the date and time when the object was created."
    )
    fingerprint: str = field(description="The fingerprint of the key, `SHA256:...`.")
    key: str = field(credentials.public_key, description="The deploy key.")
    last_used_at: dt.datetime | None = field(description="When the key was last used, if ever.")
    read_only: bool = field(description="Whether or not the deploy key is read only.")
    title: str = field(description="The deploy key title.")
