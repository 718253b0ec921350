"""E-mail addresses of the viewer."""

import datetime as dt

import strawberry

import models
from graph.types.interfaces import Node
from graph.view import field, view_of
from resolvers import credentials


@strawberry.type(description="An e-mail address of the viewer.")
@view_of(models.EmailAddress)
class EmailAddress(Node):
    created_at: dt.datetime = field(description="When the address was added.")
    email: str = field(description="The address.")
    is_primary: bool = field(
        credentials.email_is_primary, description="Whether mail to the account goes here."
    )
    is_verified: bool = field(
        credentials.email_is_verified, description="Whether the address was proven."
    )
    verified_at: dt.datetime | None = field(description="When the address was proven.")
