"""The command ``och``. Each failure is one line on standard error and a non-zero exit code.

Everything a command needs is imported when it runs: the supervisor stays small, and ``och serve``
listens sooner.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opencodehub import __version__
from opencodehub.console import say
from opencodehub.lifeline import Lifeline

if TYPE_CHECKING:
    from opencodehub.settings import Settings

EXIT_USAGE = 2
EXIT_BROKEN_PIPE = 1
EXIT_INTERRUPTED = 130
# Options that stand for settings, by the setting's name.
_SETTINGS_FLAGS = {
    "host": "address the web server listens at",
    "port": "port the web server listens at",
    "ssh_host": "address the SSH server listens at",
    "ssh_port": "port the SSH server listens at",
    "data_dir": "folder for everything the hub keeps",
    "tls_cert": "certificate chain (PEM), to serve https without a proxy",
    "tls_key": "private key (PEM) of the certificate",
}


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line in our form, one line."""

    def error(self, message: str) -> Any:
        say(f"{message}; see {self.prog} --help")
        sys.exit(EXIT_USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    # What the hub writes is for the hub alone.
    os.umask(0o077)
    lifeline = Lifeline.from_environment()
    options = _parser().parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace, Lifeline | None], int | None] = options.run
        return run(options, lifeline) or 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception as error:
        from opencodehub import failures

        return failures.report(error)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="och", description="OpenCodeHub: a server for git repositories.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    _add_servers(commands)
    _add_upkeep(commands)
    _add_accounts(commands)
    _add_repository_upkeep(commands)
    return parser


def _add(commands: Any, name: str, run: Callable[..., int | None], words: str) -> Any:
    command = commands.add_parser(name, help=words, description=words[:1].upper() + words[1:] + ".")
    command.set_defaults(run=run)
    _add_settings(command, ["data_dir"])
    return command


def _add_settings(command: argparse.ArgumentParser, names: Sequence[str]) -> None:
    for name in names:
        flag = f"--{name.replace('_', '-')}"
        command.add_argument(flag, default=None, help=_SETTINGS_FLAGS[name])


def _add_servers(commands: Any) -> None:
    for name, run, words in (
        ("serve", _serve, "run the whole hub: web, SSH, worker, scheduler, and Redis if needed"),
        ("web", _web, "run a web server alone"),
        ("sshd", _sshd, "run an SSH server alone"),
        ("worker", _worker, "run a worker for background jobs alone"),
        ("beat", _beat, "run the scheduler of background jobs alone; one per installation"),
    ):
        command = _add(commands, name, run, words)
        _add_settings(command, [flag for flag in _SETTINGS_FLAGS if flag != "data_dir"])
        if name == "worker":
            command.add_argument("--beat", action="store_true", help="also be the scheduler")


def _add_upkeep(commands: Any) -> None:
    migrate = _add(commands, "migrate", _migrate, "bring the database's tables up to date")
    migrate.add_argument("--quiet", action="store_true", help="print nothing")
    _add(commands, "seed", _seed, "fill an empty hub with users, repositories and history")
    _add(commands, "schema", _schema, "print the GraphQL schema")
    doctor = _add(
        commands, "doctor", _doctor, "look for faults of the installation, and tell their cures"
    )
    doctor.add_argument(
        "--deep", action="store_true", help="also compare every manifest with the object store"
    )
    _add(commands, "version", _version, "print the version")


def _add_accounts(commands: Any) -> None:
    user = _add(commands, "create-user", _account("create_user"), "make an account")
    user.add_argument("login", metavar="LOGIN")
    user.add_argument("--email", required=True, help="the account's primary address")
    user.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input"
    )
    user.add_argument("--site-admin", action="store_true", help="may administer the whole hub")
    token = _add(commands, "create-token", _account("create_token"), "make an access token")
    token.add_argument("login", metavar="LOGIN")
    token.add_argument("--name", required=True, help="what the token is for")
    token.add_argument("--scopes", required=True, help="comma-separated, such as repo,read:org")
    key = _add(commands, "create-ssh-key", _account("create_ssh_key"), "give an account an SSH key")
    key.add_argument("login", metavar="LOGIN")
    key.add_argument("--title", required=True, help="what the key is called")
    key.add_argument("--key-file", required=True, type=Path, help="the public key, or - for stdin")
    repository = _add(
        commands, "create-repository", _account("create_repository"), "make an empty repository"
    )
    repository.add_argument("path", metavar="OWNER/NAME")
    repository.add_argument("--private", action="store_true", help="only for collaborators")


def _add_repository_upkeep(commands: Any) -> None:
    group = commands.add_parser(
        "repository", help="look after one repository", description="Look after one repository."
    )
    actions = group.add_subparsers(metavar="ACTION", required=True, parser_class=_Parser)
    compact = _add(
        actions, "compact", _repository("compact"), "roll up packs and make derived files"
    )
    how = compact.add_mutually_exclusive_group()
    how.add_argument("--all", action="store_true", help="into a single pack")
    how.add_argument(
        "--prune", action="store_true", help="and drop all objects that no ref reaches, for good"
    )
    fsck = _add(actions, "fsck", _repository("fsck"), "check a fresh copy out of the object store")
    fork = _add(actions, "fork", _repository("fork"), "copy it into an account, as a fork")
    stats = _add(actions, "stats", _repository("stats"), "print what the repository consists of")
    for command in (compact, fsck, fork, stats):
        command.add_argument("path", metavar="OWNER/NAME")
    fork.add_argument("fork", metavar="NEWOWNER/NEWNAME")


def _settings(options: argparse.Namespace) -> "Settings":
    from opencodehub import settings

    return settings.load(_flags(options))


def _command_settings(options: argparse.Namespace) -> "Settings":
    """The settings of a command that ends soon. It logs on request only: it speaks for itself."""
    settings = _settings(options)
    from opencodehub import logs

    level = settings.log_level if "log_level" in settings.model_fields_set else "critical"
    logs.configure(level, settings.log_format, process="och")
    return settings


def _flags(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name, None) for name in _SETTINGS_FLAGS}


def _serve(options: argparse.Namespace, lifeline: Lifeline | None) -> int:
    settings = _settings(options)
    from opencodehub import bound_exec, event_loop, processes, supervisor

    processes.warn_of_unknown_variables()
    if os.environ.pop("OCH_INTERNAL_STOP_WITH_PARENT", None):
        bound_exec.die_with_parent(supervisor.ORPHANED)
    event_loop.run(supervisor.Supervisor(settings, _flags(options), sys.stdout).run())
    return 0


def _server_settings(
    options: argparse.Namespace, lifeline: Lifeline | None, process: str
) -> "Settings":
    """The settings of one server process, with its logs set up and its dependencies there."""
    settings = _settings(options)
    from opencodehub import logs, processes

    logs.configure(settings.log_level, settings.log_format, process=process)
    processes.raise_open_files_limit()
    if lifeline is None:
        processes.require_redis(settings)
    return settings


def _web(options: argparse.Namespace, lifeline: Lifeline | None) -> None:
    settings = _server_settings(options, lifeline, "web")
    from opencodehub import event_loop, processes, web

    if lifeline is not None:
        lifeline.wait_until_allowed()
    event_loop.run(web.run_web(settings, processes.reporter(lifeline, "web")))


def _sshd(options: argparse.Namespace, lifeline: Lifeline | None) -> None:
    settings = _server_settings(options, lifeline, "sshd")
    from opencodehub import event_loop, processes, ssh

    if lifeline is not None:
        lifeline.wait_until_allowed()
    event_loop.run(ssh.run_sshd(settings, processes.reporter(lifeline, "sshd")))


def _worker(options: argparse.Namespace, lifeline: Lifeline | None) -> None:
    settings = _server_settings(options, lifeline, "worker")
    from opencodehub import event_loop, processes, wiring, worker

    event_loop.run(wiring.require_migrated(settings))
    worker.run_worker(settings, processes.reporter(lifeline, "worker"), with_beat=options.beat)


def _beat(options: argparse.Namespace, lifeline: Lifeline | None) -> None:
    settings = _server_settings(options, lifeline, "beat")
    from opencodehub import event_loop, processes, wiring, worker

    event_loop.run(wiring.require_migrated(settings))
    worker.run_beat(settings, processes.reporter(lifeline, "beat"))


def _migrate(options: argparse.Namespace, lifeline: Lifeline | None) -> None:
    settings = _command_settings(options)
    from models.migrations import runner
    from opencodehub import event_loop

    applied = event_loop.run(runner.upgrade(settings.database_url.get_secret_value()))
    if options.quiet:
        return
    for revision in applied:
        print(f"applied {revision}")
    if not applied:
        print("the database is up to date")


def _seed(options: argparse.Namespace, lifeline: Lifeline | None) -> None:
    settings = _command_settings(options)
    from opencodehub import event_loop, seed

    event_loop.run(seed.seed(settings, sys.stdout))


def _schema(options: argparse.Namespace, lifeline: Lifeline | None) -> None:
    from graph.schema import print_sdl

    print(print_sdl(), end="")


def _doctor(options: argparse.Namespace, lifeline: Lifeline | None) -> int:
    settings = _command_settings(options)
    from opencodehub import deep_doctor, doctor, event_loop

    code = event_loop.run(doctor.examine(settings, sys.stdout))
    if options.deep:
        code = max(code, event_loop.run(deep_doctor.examine(settings, sys.stdout)))
    return code


def _version(options: argparse.Namespace, lifeline: Lifeline | None) -> None:
    print(__version__)


def _repository(name: str) -> Callable[[argparse.Namespace, Lifeline | None], None]:
    def run(options: argparse.Namespace, lifeline: Lifeline | None) -> None:
        settings = _command_settings(options)
        from opencodehub import account_commands, event_loop, repository_commands

        command = getattr(repository_commands, name)
        event_loop.run(account_commands.run(settings, command, options))

    return run


def _account(name: str) -> Callable[[argparse.Namespace, Lifeline | None], None]:
    def run(options: argparse.Namespace, lifeline: Lifeline | None) -> None:
        settings = _command_settings(options)
        from opencodehub import account_commands, event_loop

        command = getattr(account_commands, name)
        event_loop.run(account_commands.run(settings, command, options))

    return run
