"""The SSH door before and after sign-in, met with OpenSSH.

CVE-2026-24058, CVE-2024-45337, CVE-2018-15473, CVE-2023-48795, CVE-2026-52814, CVE-2025-22869.
"""

import contextlib
import socket
from pathlib import Path

import pytest

from tests.e2e.doors.conftest import PATIENCE_SECONDS, Target, add_key, told
from tests.support.hub import running_hub
from tests.support.ssh import generate_key

STRANGERS = 500


async def test_identity_is_the_key_that_signed(target: Target, tmp_path: Path) -> None:
    """The owner's public key is offered first, but only the other account can sign with its own."""
    other = f"s{target.owner[1:]}"
    target.hub.create_user(other)
    add_key(target.hub, other, tmp_path / "own")
    public = tmp_path / "foreign.pub"
    public.write_bytes(target.key.with_name("key.pub").read_bytes())
    foreign = tmp_path / "foreign"
    generate_key(tmp_path / "unrelated")
    # A private half that does not belong to it: the server accepts the offer, the client cannot
    # sign for it and goes on to the next key.
    foreign.write_bytes((tmp_path / "unrelated").read_bytes())
    foreign.chmod(0o600)
    done = await target.openssh.ssh(
        f"git-upload-pack '{target.private}.git'",
        identity=foreign,
        arguments=("-i", str(tmp_path / "own")),
    )
    assert done.returncode == 1
    assert told(done.stderr).splitlines()[-1] == "ERROR: repository not found (request ID)"


@pytest.mark.parametrize("method", ["password", "keyboard-interactive", "none"])
async def test_only_keys_sign_in(target: Target, method: str) -> None:
    done = await target.openssh.ssh(
        "x", identity=target.key, PreferredAuthentications=method, PubkeyAuthentication="no"
    )
    assert (done.returncode, done.stdout) == (255, b"")
    assert done.stderr == "git@127.0.0.1: Permission denied (publickey).\r\n"


@pytest.mark.parametrize("user", ["root", "ann", "Git"])
async def test_only_git_signs_in(target: Target, user: str) -> None:
    command = f"git-upload-pack '{target.public}.git'"
    done = await target.openssh.ssh(command, identity=target.key, user=user)
    assert (done.returncode, done.stdout) == (255, b"")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("KexAlgorithms", "diffie-hellman-group14-sha1", "no matching key exchange method found"),
        ("Ciphers", "aes128-cbc", "no matching cipher found"),
        ("MACs", "hmac-sha1", "no matching MAC found"),
        ("HostKeyAlgorithms", "ssh-rsa", "no matching host key type found"),
    ],
)
async def test_weak_algorithms(target: Target, option: str, value: str, message: str) -> None:
    # A CTR cipher goes with it, because a GCM cipher has no MAC to agree on.
    cipher = ("-o", "Ciphers=aes128-ctr") if option == "MACs" else ()
    done = await target.openssh.ssh(
        "x",
        identity=target.key,
        arguments=("-o", f"{option}={value}", *cipher),
        LogLevel="INFO",
    )
    assert done.returncode == 255
    assert message in done.stderr


async def test_a_crowd_that_says_nothing(target: Target, tmp_path: Path) -> None:
    """Idle sockets of one address use up that address's share alone."""
    with contextlib.ExitStack() as crowd:
        for _ in range(STRANGERS):
            client = crowd.enter_context(socket.socket())
            client.settimeout(PATIENCE_SECONDS)
            client.bind(("127.0.0.2", 0))
            client.connect(("127.0.0.1", target.hub.ssh_port))
        url = target.openssh.url(f"{target.private}.git")
        done = await target.openssh.git(
            "clone", "-q", url, str(tmp_path / "x"), identity=target.key
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_a_dripped_banner_is_cut(tmp_path: Path) -> None:
    with (
        running_hub(tmp_path / "hub", OCH_SSH_LOGIN_GRACE_SECONDS="2") as hub,
        socket.create_connection(("127.0.0.1", hub.ssh_port)) as client,
    ):
        client.settimeout(0.2)
        received, dripped = b"", 0
        # Each byte is progress, yet none of it puts the end off. The bound is patience, not speed.
        while dripped < PATIENCE_SECONDS / 0.2:
            try:
                client.sendall(b"S")
                dripped += 1
                if not (piece := client.recv(4096)):
                    break
                received += piece
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
        else:
            pytest.fail("the connection stayed open")
        assert received.startswith(b"SSH-2.0-")
