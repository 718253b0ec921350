"""Structured logs: one line an entry on standard error, JSON or, on a terminal, for people.

Entries of libraries that use ``logging`` take the same way. Secrets are struck out here as the
last line of defence; no code should log one in the first place.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import Processor

STRUCK_OUT = "[struck out]"
_SECRET_NAMES = re.compile(r"password|secret|token|authorization|cookie|credential$", re.IGNORECASE)
_SECRET_VALUES = re.compile(
    r"\boch_[A-Za-z0-9]{8,}"  # access tokens
    r"|\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"  # signed tokens
    r"|(?<=://)[^/@\s'\"]*:[^/@\s'\"]+(?=@)"  # user and password in an address
    r"|(?<=\bBasic )[A-Za-z0-9+/=]{8,}"
    r"|(?<=\bBearer )\S{8,}"
)


def configure(level: str, form: str, *, process: str) -> None:
    """Set up logging for this process. ``form`` is ``json``, ``console`` or ``auto``."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _naming_process(process),
    ]
    final: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        # Here and not in the renderer, so that secrets in tracebacks are struck out as well.
        structlog.processors.format_exc_info,
        strike_out_secrets,
        _renderer(console),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    # These tell of every connection or query at a level the hub uses for its own news.
    for name in ("asyncssh", "uvicorn", "sqlalchemy", "alembic", "celery", "kombu", "httpx"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def strike_out_secrets(
    _logger: Any, _method: str, entry: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace values under telling names, and telling values under any name."""
    for name, value in entry.items():
        if name != "event" and isinstance(value, str) and _SECRET_NAMES.search(name):
            entry[name] = STRUCK_OUT
        elif isinstance(value, str):
            entry[name] = _SECRET_VALUES.sub(STRUCK_OUT, value)
        elif isinstance(value, (dict, list, tuple, bytes)):
            entry[name] = _strike_out_within(value)
    return entry


def _strike_out_within(value: Any) -> Any:
    match value:
        case dict():
            return {
                key: STRUCK_OUT if _SECRET_NAMES.search(str(key)) else _strike_out_within(inner)
                for key, inner in value.items()
            }
        case list() | tuple():
            return [_strike_out_within(inner) for inner in value]
        case bytes():
            return _SECRET_VALUES.sub(STRUCK_OUT, value.decode("utf-8", "backslashreplace"))
        case str():
            return _SECRET_VALUES.sub(STRUCK_OUT, value)
        case _:
            return value


def _naming_process(process: str) -> Processor:
    def add(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> Any:
        entry.setdefault("process", process)
        return entry

    return add


def _renderer(console: bool) -> Processor:
    if console:
        # The library's own choice shows local variables, and among them secrets.
        return structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.processors.JSONRenderer(ensure_ascii=False, default=repr)
