"""Sessions: browsers and API clients that signed in with a password."""

import datetime as dt

import strawberry

import models
from graph.types.interfaces import Node
from graph.view import field, view_of
from resolvers import credentials


@strawberry.type(description="A browser or an API client that is signed in as the viewer.")
@view_of(models.Session)
class Session(Node):
    address: str | None = field(description="The network address that signed in.")
    confirmed_at: dt.datetime = field(
        description="When the password was last proven. Acts that need a recent proof accept it "
        "for 15 minutes."
    )
    created_at: dt.datetime = field(description="When the session began.")
    expires_at: dt.datetime = field(description="When the session ends by itself.")
    is_current: bool = field(
        credentials.session_is_current, description="Whether this request came with this session."
    )
    last_seen_at: dt.datetime = field(description="When the session was last used, about.")
    user_agent: str | None = field(description="The program that signed in, as it named itself.")
