"""Personal access tokens, without the token itself."""

import datetime as dt

import strawberry

import models
from graph.types.interfaces import Node
from graph.view import field, view_of
from resolvers import credentials


@strawberry.type(
    description="A personal access token of the viewer. The token itself is shown once, when it "
    "is made."
)
@view_of(models.AccessToken)
class AccessToken(Node):
    created_at: dt.datetime = field(
        description="Identifies the date and time when the object was created."
    )
    expires_at: dt.datetime | None = field(description="When the token ends; null for never.")
    is_limited_to_repositories: bool = field(
        credentials.token_is_limited,
        description="Whether the token is good for some repositories only.",
    )
    last_used_at: dt.datetime | None = field(description="When the token was last used, if ever.")
    name: str = field(description="What the token is for, in its owner's words.")
    scopes: list[str] = field(
        credentials.token_scopes, description="What the token may be used for, sorted."
    )
    token_last_eight: str = field(
        description="The last eight characters of the token, to recognise it by."
    )
