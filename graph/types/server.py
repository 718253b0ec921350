"""Facts about the server and the request: its features, and what the request costs."""

import datetime as dt
from typing import Annotated, Any

import strawberry

from graph.charging import Charge
from resolvers.context import Info
from services.errors import ErrorCode


@strawberry.type(description="Represents the client's rate limit.")
class RateLimit:
    cost: int = strawberry.field(
        description="The point cost for the current query counting against the rate limit."
    )
    limit: int = strawberry.field(
        description="The maximum number of points the client is permitted to consume in a 60 "
        "minute window."
    )
    node_count: int = strawberry.field(
        description="The maximum number of nodes this query may return"
    )
    remaining: int = strawberry.field(
        description="The number of points remaining in the current rate limit window."
    )
    reset_at: dt.datetime = strawberry.field(
        description="The time at which the current rate limit window resets."
    )
    used: int = strawberry.field(
        description="The number of points used in the current rate limit window."
    )


def rate_limit(
    info: strawberry.Info[Any, None],
    dry_run: Annotated[
        bool | None,
        strawberry.argument(
            description="If true, calculate the cost for the query without evaluating it: the "
            "other root fields are left out, and one point is taken."
        ),
    ] = False,
) -> RateLimit:
    charge: Charge = info.context.charge
    return RateLimit(
        cost=charge.cost.points,
        limit=charge.limit,
        node_count=charge.cost.nodes,
        remaining=charge.state.remaining,
        reset_at=charge.resets_at,
        used=charge.state.used,
    )


@strawberry.type(description="Represents information about this server.")
class ServerMetadata:
    error_codes: list[ErrorCode] = strawberry.field(
        description="Every value that `extensions.code` of an error can have."
    )
    is_sign_up_enabled: bool = strawberry.field(
        description="Whether strangers may create accounts with `createUser`."
    )


def metadata(info: Info) -> ServerMetadata:
    return ServerMetadata(
        error_codes=list(ErrorCode),
        is_sign_up_enabled=info.context.op.runtime.settings.sign_ups_enabled,
    )


@strawberry.type(description="Represents information about this server, under GitHub's name.")
class GitHubMetadata:
    is_password_authentication_verifiable: bool = strawberry.field(
        description="Whether or not users are verified by password; programs need a token here."
    )


def meta() -> GitHubMetadata:
    return GitHubMetadata(is_password_authentication_verifiable=False)
