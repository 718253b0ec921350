"""``GET /metrics``, for operators alone. Everybody else is told what an unknown path is told."""

import asyncio

from opencodehub.asgi import Scope, Send, header, request_id, send_bytes, send_error
from opencodehub.metrics import CONTENT_TYPE, HubMetrics
from opencodehub.settings import Settings
from services.access import is_operator
from services.actor import ANONYMOUS
from services.authentication import authenticate_authorization
from services.context import OpContext
from services.errors import ForgeError
from services.runtime import Runtime
from services.tokens import hash_token, is_same_hash


async def send_metrics(scope: Scope, send: Send, runtime: Runtime, settings: Settings) -> None:
    """All processes of this machine, in Prometheus's text format."""
    observer = runtime.observer
    if not isinstance(observer, HubMetrics) or not await _may_read(scope, runtime, settings):
        await send_error(scope, send, 404, "not found")
        return
    text = await asyncio.to_thread(observer.render)
    await send_bytes(send, 200, CONTENT_TYPE, text, [(b"cache-control", b"no-store")])


async def _may_read(scope: Scope, runtime: Runtime, settings: Settings) -> bool:
    given = header(scope, b"authorization")
    if given is None:
        return False
    token = settings.metrics_token.get_secret_value()
    scheme, _, value = given.partition(" ")
    if token and scheme.lower() == "bearer" and is_same_hash(hash_token(value), hash_token(token)):
        return True
    client = scope["client"][0] if scope.get("client") else None
    op = OpContext(runtime, ANONYMOUS, request_id(scope), client)
    try:
        return is_operator(await authenticate_authorization(op, given))
    except ForgeError:
        return False
