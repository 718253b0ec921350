"""From an exception to the one line an operator reads, and the exit code."""

import structlog

from gitstore.process import GitNotFound
from models.database import DatabaseUnavailable
from models.migrations.runner import MigrationInProgress, UnknownRevision
from opencodehub import logs
from opencodehub.console import say
from opencodehub.data_directory import Unusable
from opencodehub.lifeline import EXIT_HOPELESS
from opencodehub.processes import CannotListen
from opencodehub.settings import ConfigurationError
from opencodehub.supervisor import CannotServe
from opencodehub.wiring import MigrationsPending
from services.errors import ForgeError
from storage_adapters.errors import StorageError

EXIT_FAILURE = 1


class CommandError(Exception):
    """A command failed for a reason its user can do something about; the message is one line."""


def report(error: Exception) -> int:
    """Say what went wrong on standard error; returns the exit code.

    Nothing that a restart alone could cure gets the code that tells the supervisor not to try.
    """
    match error:
        case ConfigurationError():
            for fault in error.faults:
                say(f"configuration: {fault}")
            return EXIT_HOPELESS
        case CannotListen() | GitNotFound() | MigrationsPending() | UnknownRevision() | Unusable():
            say(str(error))
            return EXIT_HOPELESS
        case CannotServe():
            if str(error):
                say(str(error))
            return EXIT_FAILURE
        case CommandError() | MigrationInProgress() | DatabaseUnavailable():
            say(str(error))
            return EXIT_FAILURE
        case ForgeError():
            say(error.message)
            return EXIT_FAILURE
        case StorageError():
            say(f"the object store does not answer: {error}")
            return EXIT_FAILURE
        case _:
            if not structlog.is_configured():
                logs.configure("critical", "console", process="och")
            structlog.get_logger("opencodehub").exception("internal error", exc_info=error)
            say(f"internal error: {type(error).__name__}: {error}")
            return EXIT_FAILURE
