"""A client of the GraphQL endpoint: real HTTP messages into the ASGI application, no socket."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import httpx

from graph.endpoint import GraphQLEndpoint
from services.runtime import Runtime

BASE_URL = "http://127.0.0.1:8000"
ADDRESS = "192.0.2.7"


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One answer. ``errors`` keeps of each error what a test states: type, message and path."""

    response: httpx.Response

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = self.response.json()
        return body

    @property
    def data(self) -> Any:
        """The data of an answer without errors."""
        assert self.response.status_code == 200, self.response.text
        assert "errors" not in self.body, self.body["errors"]
        return self.body["data"]

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [
            {key: error[key] for key in ("type", "message", "path") if key in error}
            for error in self.body.get("errors", [])
        ]

    @property
    def error(self) -> dict[str, Any]:
        """The one error there must be."""
        assert len(self.errors) == 1, self.body
        return self.errors[0]

    @property
    def codes(self) -> list[str]:
        return [error["extensions"]["code"] for error in self.body.get("errors", [])]

    @property
    def fields(self) -> list[str]:
        """The inputs the one error names."""
        (error,) = self.body["errors"]
        fields: list[str] = error["extensions"]["fields"]
        return fields


class GraphQLClient:
    """Asks one runtime's endpoint. Cookies are kept only by the caller."""

    def __init__(self, runtime: Runtime, *, address: str = ADDRESS) -> None:
        self.runtime = runtime
        self._transport = httpx.ASGITransport(GraphQLEndpoint(runtime), client=(address, 1234))

    async def send(self, method: str = "POST", **options: Any) -> httpx.Response:
        """Any request to the endpoint."""
        async with httpx.AsyncClient(transport=self._transport, base_url=BASE_URL) as client:
            return await client.request(method, "/graphql", **options)

    async def __call__(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        cookie: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask one operation: with a token, or as one of the server's own pages with a cookie."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"token {token}"
        if cookie is not None:
            sent["Cookie"] = f"och_session={cookie}"
            sent.setdefault("Origin", BASE_URL)
        body = {"query": query, "variables": dict(variables or {})}
        return Answer(await self.send(json=body, headers=sent))

    async def mutate(
        self, name: str, input: Mapping[str, Any], selection: str, **credentials: Any
    ) -> Answer:
        """One mutation field, its input given as a variable, as clients send it."""
        kind = f"{name[0].upper()}{name[1:]}Input"
        query = (
            f"mutation($input: {kind}!) {{ {name}(input: $input) "
            f"{{ clientMutationId {selection} }} }}"
        )
        return await self(query, {"input": {**input, "clientMutationId": "m1"}}, **credentials)
