"""Whether the parts the hub stands on answer: for load balancers and for ``och doctor``."""

import asyncio
from collections.abc import Awaitable

import structlog

from opencodehub.asgi import Scope, Send, send_json
from services.runtime import Runtime
from storage_adapters.errors import ObjectNotFound

CHECK_SECONDS = 5.0
# Nothing is stored under it; a store that says so has answered.
_PROBE_KEY = "health/probe"


async def check(runtime: Runtime) -> dict[str, str]:
    """``ok`` or the fault in words for database, redis and storage; all asked at once."""
    names = ("database", "redis", "storage")
    results = await asyncio.gather(
        _outcome("database", runtime.database.ping()),
        _outcome("redis", runtime.bus.ping()),
        _outcome("storage", ping_storage(runtime)),
    )
    return dict(zip(names, results, strict=True))


async def ping_storage(runtime: Runtime) -> None:
    """Raises when the object store does not answer."""
    try:
        await runtime.object_store.head(_PROBE_KEY)
    except ObjectNotFound:
        return


async def _outcome(name: str, work: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await work
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:.0f} seconds"
    except Exception as error:
        # The text may name hosts and users, which is for the log and not for the public.
        structlog.get_logger("opencodehub.health").warning(
            "a part does not answer", part=name, error=str(error)
        )
        return "unreachable"
    return "ok"


async def send_alive(send: Send) -> None:
    """``GET /healthz``: the process runs and its event loop turns."""
    await send_json(send, 200, {"status": "ok"})


async def send_ready(scope: Scope, send: Send, runtime: Runtime) -> None:
    """``GET /readyz``: 200, or 503 when any part does not answer."""
    parts = await check(runtime)
    ready = all(outcome == "ok" for outcome in parts.values())
    await send_json(
        send, 200 if ready else 503, {"status": "ok" if ready else "unavailable", **parts}
    )
