"""The commands that make accounts, credentials and repositories, as the server's operator."""

import argparse
import getpass
import secrets
import sys
from collections.abc import Awaitable, Callable

from models import Visibility
from opencodehub import wiring
from opencodehub.failures import CommandError
from opencodehub.settings import Settings
from services import access_tokens, accounts, git_access, repositories, ssh_keys
from services.actor import OPERATOR
from services.context import OpContext

MAXIMUM_KEY_FILE_BYTES = 64 * 1024

Command = Callable[[OpContext, argparse.Namespace], Awaitable[None]]


async def run(settings: Settings, command: Command, options: argparse.Namespace) -> None:
    """Run one command on a database that is up to date. Raises what the command raises."""
    await wiring.require_migrated(settings)
    async with wiring.open_command_runtime(settings) as runtime:
        await command(OpContext(runtime, OPERATOR, f"och-{secrets.token_hex(8)}"), options)


async def create_user(op: OpContext, options: argparse.Namespace) -> None:
    """Make an account; says what was made. On a terminal it asks for the password."""
    password = _password(from_stdin=options.password_stdin)
    user = await accounts.create_user(
        op, options.login, options.email, password, site_admin=options.site_admin
    )
    kind = "administrator" if user.is_site_admin else "user"
    without = "" if password else ", who has no password and cannot sign in on the web"
    _write(f"created {kind} {user.login}{without}")


async def create_token(op: OpContext, options: argparse.Namespace) -> None:
    """Make an access token; prints it and nothing else."""
    scopes = [scope for scope in (part.strip() for part in options.scopes.split(",")) if scope]
    user_id = await _user_id(op, options.login)
    made = await access_tokens.create_access_token(op, user_id, options.name, scopes)
    _write(made.token)


async def create_ssh_key(op: OpContext, options: argparse.Namespace) -> None:
    """Give an account a key; prints its fingerprint."""
    text = _key_text(str(options.key_file))
    key = await ssh_keys.add_ssh_key(op, await _user_id(op, options.login), options.title, text)
    _write(f"added {key.fingerprint} to {options.login}")


async def create_repository(op: OpContext, options: argparse.Namespace) -> None:
    """Make an empty repository; prints its addresses."""
    owner, slash, name = options.path.partition("/")
    if not slash or not owner or not name or "/" in name:
        raise CommandError(f"{options.path!r} is not of the form OWNER/NAME")
    visibility = Visibility.PRIVATE if options.private else Visibility.PUBLIC
    repository = await repositories.create_repository(op, owner, name, visibility=visibility)
    opened = await git_access.open_repository(
        op, f"{owner}/{repository.name}", git_access.GitService.FETCH
    )
    settings = op.runtime.settings
    _write(f"{settings.web_url}/{opened.name_with_owner}.git")
    host, port = settings.ssh_clone_host, settings.ssh_public_port
    _write(f"ssh://git@{host}:{port}/{opened.name_with_owner}.git")


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")


async def _user_id(op: OpContext, login: str) -> int:
    async with op.read() as tx:
        return (await accounts.get_user(tx, login)).id


def _password(*, from_stdin: bool) -> str | None:
    if from_stdin:
        # One line; a password may contain anything but its end.
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise CommandError("no password came on standard input")
        return password
    if not sys.stdin.isatty():
        return None
    password = getpass.getpass("Password (empty for none): ")
    if password and getpass.getpass("The same again: ") != password:
        raise CommandError("the two passwords differ")
    return password or None


def _key_text(path: str) -> str:
    try:
        if path == "-":
            return sys.stdin.read(MAXIMUM_KEY_FILE_BYTES)
        with open(path, encoding="utf-8") as file:
            return file.read(MAXIMUM_KEY_FILE_BYTES)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is not a public key: it is not text") from error
