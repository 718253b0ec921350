"""Who gets in, as whom, and what they are told: with the real OpenSSH client."""

import shutil
from hashlib import sha256
from pathlib import Path

import asyncssh
import pytest
from asyncssh.packet import String
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, select, update

from models import SSHKey, User
from models.base import utc_now
from sshd.server import SSHDoor
from tests.e2e.ssh.conftest import StartServer, World, add_key, client_of
from tests.support.ssh import OpenSSH, generate_key

TAIL = "! You've successfully authenticated, but OpenCodeHub does not provide shell access.\n"
GREETING = f"Hi Ann{TAIL}"
REFUSED = "git@127.0.0.1: Permission denied (publickey).\n"
UNKNOWN_KEY = "the SSH key is not known here; add it to an account first"


async def test_a_known_key_is_greeted_by_login(openssh: OpenSSH, world: World) -> None:
    done = await openssh.ssh("-T", identity=world.ann)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", GREETING)


@pytest.mark.parametrize(
    ("kind", "bits"),
    [("ecdsa", 256), ("ecdsa", 384), ("ecdsa", 521), ("rsa", 2048), ("rsa", 4096)],
)
async def test_every_kind_of_key(
    openssh: OpenSSH, world: World, tmp_path: Path, kind: str, bits: int
) -> None:
    key = generate_key(tmp_path / "key", kind=kind, bits=bits)
    await add_key(world.runtime.database, key, user_id=world.ann_id)
    assert (await openssh.ssh(identity=tmp_path / "key")).stderr == GREETING


async def test_a_deploy_key_is_greeted_by_its_repository(
    openssh: OpenSSH, world: World, tmp_path: Path
) -> None:
    key = generate_key(tmp_path / "key")
    await add_key(world.runtime.database, key, repository_id=world.private_id, read_only=True)
    assert (await openssh.ssh(identity=tmp_path / "key")).stderr == f"Hi Ann/secret{TAIL}"


async def test_an_unknown_key(openssh: OpenSSH, world: World) -> None:
    done = await openssh.ssh(identity=world.stranger)
    assert (done.returncode, done.stdout) == (255, b"")
    assert done.stderr.replace("\r", "") == REFUSED


@pytest.mark.parametrize("user", ["root", "Git", "ann", "gi", "git "])
async def test_any_user_but_git(openssh: OpenSSH, world: World, user: str) -> None:
    done = await openssh.ssh("-T", identity=world.ann, user=user)
    assert done.returncode == 255
    assert done.stderr.replace("\r", "") == REFUSED.replace("git@", f"{user}@")


@pytest.mark.parametrize(
    "method", ["none", "password", "keyboard-interactive", "hostbased", "gssapi-with-mic"]
)
async def test_only_public_keys_are_asked_for(openssh: OpenSSH, world: World, method: str) -> None:
    done = await openssh.ssh(identity=world.ann, PreferredAuthentications=method, BatchMode="no")
    assert done.returncode == 255
    assert done.stderr.replace("\r", "") == REFUSED


async def test_a_suspended_user_is_told_so(openssh: OpenSSH, world: World) -> None:
    async with world.runtime.database.write() as session:
        await session.execute(
            update(User).where(User.id == world.ann_id).values(suspended_at=utc_now())
        )
    done = await openssh.ssh(identity=world.ann)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "ERROR: the account is suspended; ask the administrator of this server (request "
    )


async def test_a_key_that_was_only_offered_gives_no_identity(
    openssh: OpenSSH, world: World, tmp_path: Path
) -> None:
    # The client has Ann's public half alone: it offers that, is told that it would do, cannot
    # sign, and goes on to Bob's.
    shutil.copy(f"{world.ann}.pub", tmp_path / "offered.pub")
    done = await openssh.ssh(
        "-T",
        identity=tmp_path / "offered",
        arguments=("-i", str(world.bob)),
    )
    assert done.stderr.splitlines()[-1] + "\n" == f"Hi Bob{TAIL}"
    async with world.runtime.database.read() as session:
        used = dict((await session.execute(select(SSHKey.id, SSHKey.last_used_at))).all())
    assert used[world.keys["ann"]] is None
    assert used[world.keys["bob"]] is not None


@pytest.mark.parametrize("order", ["offer first", "signature first"])
async def test_pipelined_offers_and_signatures_are_not_mixed_up(
    start_server: StartServer, world: World, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ann's key is offered and Bob's signs, in one go, without waiting for an answer."""
    ann, bob = (asyncssh.load_keypairs([str(path)])[0] for path in (world.ann, world.bob))

    async def sign_and_offer(self: asyncssh.auth.ClientAuth) -> None:
        connection = self._conn
        offer = [
            asyncssh.packet.Boolean(False),
            asyncssh.packet.String(ann.algorithm),
            asyncssh.packet.String(ann.public_data),
        ]
        signed = [
            asyncssh.packet.Boolean(True),
            asyncssh.packet.String(bob.algorithm),
            asyncssh.packet.String(bob.public_data),
        ]
        steps = [
            lambda: connection.send_userauth_request(b"publickey", *offer),
            lambda: connection.send_userauth_request(b"publickey", *signed, key=bob),
        ]
        for step in steps if order == "offer first" else reversed(steps):
            await step()

    monkeypatch.setattr(asyncssh.auth._ClientPublicKeyAuth, "_start", sign_and_offer)
    handlers = asyncssh.auth._ClientPublicKeyAuth._packet_handlers
    monkeypatch.setitem(handlers, asyncssh.auth.MSG_USERAUTH_PK_OK, lambda *_: None)
    server = await start_server(ssh_login_grace_seconds=2)
    told = await greeting_of(server, client_keys=[bob])
    # A signature that was overtaken by an offer counts for nothing; nobody ever becomes Ann.
    assert told == (f"Hi Bob{TAIL}" if order == "offer first" else None)


async def greeting_of(server: SSHDoor, **options: object) -> str | None:
    """What a session is told; None when the sign-in failed."""
    try:
        async with asyncssh.connect(
            "127.0.0.1",
            server.port,
            username="git",
            known_hosts=None,
            config=None,
            agent_path=None,
            **options,
        ) as connection:
            done = await connection.run()
            assert isinstance(done.stderr, str)
            return done.stderr
    except (asyncssh.PermissionDenied, asyncssh.ConnectionLost):
        return None


class SoftwareSecurityKey(asyncssh.SSHKeyPair):
    """Signs as a FIDO token would (PROTOCOL.u2f of OpenSSH); ``flags`` 1 means it was touched."""

    def __init__(self, *, flags: int) -> None:
        self._private = Ed25519PrivateKey.generate()
        self._flags = bytes([flags])
        raw = self._private.public_key().public_bytes_raw()
        name = b"sk-ssh-ed25519@openssh.com"
        data = String(name) + String(raw) + String(b"ssh:")
        super().__init__(name, name, (name,), (name,), data, None)

    def sign(self, data: bytes) -> bytes:
        counter = b"\0\0\0\7"
        signed = sha256(b"ssh:").digest() + self._flags + counter + sha256(data).digest()
        return (
            String(self.sig_algorithm) + String(self._private.sign(signed)) + self._flags + counter
        )


@pytest.mark.parametrize("touched", [True, False])
async def test_security_keys_must_be_touched(server: SSHDoor, world: World, touched: bool) -> None:
    key = SoftwareSecurityKey(flags=1 if touched else 0)
    public = asyncssh.public_key.decode_ssh_public_key(key.public_data)
    await add_key(world.runtime.database, public, user_id=world.ann_id)
    told = await greeting_of(server, client_keys=[key])
    assert told == (GREETING if touched else None)


async def test_sha1_signatures_are_refused(server: SSHDoor, world: World, tmp_path: Path) -> None:
    key = generate_key(tmp_path / "key", kind="rsa", bits=2048)
    await add_key(world.runtime.database, key, user_id=world.ann_id)
    private = asyncssh.read_private_key(tmp_path / "key")
    options = {"client_keys": [private]}
    assert await greeting_of(server, **options, signature_algs=["rsa-sha2-256"]) == GREETING
    assert await greeting_of(server, **options, signature_algs=["ssh-rsa"]) is None


async def test_revoked_key_on_an_open_connection(
    openssh: OpenSSH, world: World, tmp_path: Path
) -> None:
    control = tmp_path / "control"
    async with openssh.start(
        identity=world.ann, arguments=("-M", "-N"), ControlPath=str(control)
    ) as master:
        greeted = await openssh.ssh(identity=world.ann, ControlPath=str(control))
        while not control.exists():
            greeted = await openssh.ssh(identity=world.ann, ControlPath=str(control))
        greeted = await openssh.ssh(identity=world.ann, ControlPath=str(control))
        assert greeted.stderr == GREETING
        async with world.runtime.database.write() as session:
            await session.execute(delete(SSHKey).where(SSHKey.id == world.keys["ann"]))
        for command in ([], ["git-upload-pack 'ann/demo.git'"]):
            refused = await openssh.ssh(*command, identity=world.ann, ControlPath=str(control))
            assert (refused.returncode, refused.stdout) == (1, b"")
            assert refused.stderr.startswith(f"ERROR: {UNKNOWN_KEY} (request ")
        assert master.returncode is None


async def test_revoked_key_ends_a_running_command(
    start_server: StartServer, world: World, tmp_path: Path
) -> None:
    openssh = client_of(await start_server(ssh_recheck_seconds=1), tmp_path)
    async with openssh.start("git-upload-pack 'ann/demo.git'", identity=world.ann) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert await running.stdout.read(4)  # the advertisement has begun
        async with world.runtime.database.write() as session:
            await session.execute(delete(SSHKey).where(SSHKey.id == world.keys["ann"]))
        told = await running.stderr.read()
        assert told.decode().startswith("ERROR: ")
        assert await running.wait() == 1


async def test_too_many_keys(start_server: StartServer, world: World, tmp_path: Path) -> None:
    openssh = client_of(await start_server(ssh_max_auth_attempts=3), tmp_path)
    offered = []
    for number in range(4):
        generate_key(tmp_path / f"key{number}")
        offered += ["-i", str(tmp_path / f"key{number}")]
    done = await openssh.ssh("-T", identity=world.stranger, arguments=tuple(offered))
    assert done.returncode == 255
    assert (
        "too many keys were tried; choose one with IdentityFile and IdentitiesOnly" in done.stderr
    )


@pytest.mark.parametrize(
    "algorithm", ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256"]
)
async def test_host_key_algorithms(openssh: OpenSSH, world: World, algorithm: str) -> None:
    done = await openssh.ssh(identity=world.ann, HostKeyAlgorithms=algorithm)
    assert done.stderr == GREETING


@pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields")
@pytest.mark.parametrize(
    "algorithm",
    [
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp384",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group18-sha512",
    ],
)
async def test_key_exchanges(openssh: OpenSSH, world: World, algorithm: str) -> None:
    done = await openssh.ssh(identity=world.ann, KexAlgorithms=algorithm)
    assert done.stderr == GREETING


@pytest.mark.parametrize(
    ("cipher", "mac"),
    [
        ("aes128-gcm@openssh.com", "hmac-sha2-256-etm@openssh.com"),
        ("aes256-gcm@openssh.com", "hmac-sha2-256-etm@openssh.com"),
        ("aes128-ctr", "hmac-sha2-256-etm@openssh.com"),
        ("aes192-ctr", "hmac-sha2-512-etm@openssh.com"),
        ("aes256-ctr", "hmac-sha2-512-etm@openssh.com"),
    ],
)
async def test_ciphers_and_macs(openssh: OpenSSH, world: World, cipher: str, mac: str) -> None:
    assert (await openssh.ssh(identity=world.ann, Ciphers=cipher, MACs=mac)).stderr == GREETING


@pytest.mark.parametrize(
    "option",
    [
        ("KexAlgorithms", "diffie-hellman-group14-sha1"),
        ("KexAlgorithms", "diffie-hellman-group14-sha256"),
        ("KexAlgorithms", "diffie-hellman-group-exchange-sha256"),
        ("Ciphers", "aes128-cbc"),
        ("Ciphers", "3des-cbc"),
        ("Ciphers", "chacha20-poly1305@openssh.com"),
        ("HostKeyAlgorithms", "ssh-rsa"),
    ],
    ids="=".join,
)
async def test_weak_algorithms_are_refused(
    openssh: OpenSSH, world: World, option: tuple[str, str]
) -> None:
    done = await openssh.ssh(identity=world.ann, LogLevel="INFO", **{option[0]: option[1]})
    assert done.returncode == 255
    assert "no matching" in done.stderr


@pytest.mark.parametrize("mac", ["hmac-sha1", "hmac-sha2-256", "umac-64-etm@openssh.com"])
async def test_weak_macs_are_refused(openssh: OpenSSH, world: World, mac: str) -> None:
    done = await openssh.ssh(identity=world.ann, Ciphers="aes128-ctr", MACs=mac, LogLevel="INFO")
    assert done.returncode == 255
    assert "no matching MAC found" in done.stderr


async def test_strict_key_exchange_is_in_force(openssh: OpenSSH, world: World) -> None:
    done = await openssh.ssh("-T", identity=world.ann, arguments=("-vv",), LogLevel="DEBUG2")
    assert "kex-strict-s-v00@openssh.com" in done.stderr
    assert "compression: none" in done.stderr
