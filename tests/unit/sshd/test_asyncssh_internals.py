"""The names asyncssh keeps private and ``sshd`` leans on. A new version may lack them."""

import inspect

import asyncssh
import pytest

from sshd import algorithms


def test_the_version_is_the_one_that_was_read() -> None:
    assert asyncssh.__version__ == "2.24.1"


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (asyncssh.channel.SSHChannel, "_deliver_data", ["self", "data", "datatype"]),
        (asyncssh.channel.SSHChannel, "process_connection_close", ["self", "exc"]),
        (asyncssh.SSHServerChannel, "_process_env_request", ["self", "packet"]),
        (asyncssh.SSHServerConnection, "_send_kexinit", ["self"]),
        (asyncssh.SSHServerConnection, "_send_deferred_packets", ["self"]),
        (
            asyncssh.SSHServerConnection,
            "validate_public_key",
            ["self", "username", "key_data", "msg", "signature"],
        ),
        (asyncssh.SSHServerConnection, "reload_config", ["self"]),
        (asyncssh.SSHServerConnection, "connection_made", ["self", "transport"]),
        (asyncssh.SSHServerConnection, "data_received", ["self", "data", "datatype"]),
        (asyncssh.SSHServerConnection, "pause_writing", ["self"]),
        (asyncssh.SSHServerConnection, "resume_writing", ["self"]),
        (
            asyncssh.SSHServerChannel,
            "__init__",
            [
                "self",
                "conn",
                "loop",
                "allow_pty",
                "line_editor",
                "line_echo",
                "line_history",
                "max_line_length",
                "encoding",
                "errors",
                "window",
                "max_pktsize",
            ],
        ),
    ],
)
def test_methods_that_are_overridden(owner: type, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


@pytest.mark.parametrize(
    ("owner", "attribute"),
    [
        (asyncssh.channel.SSHChannel, "_recv_buf"),
        (asyncssh.channel.SSHChannel, "_session"),
        (asyncssh.connection.SSHConnection, "_deferred_packets"),
    ],
)
def test_attributes_that_are_read(owner: type, attribute: str) -> None:
    assert f"self.{attribute}" in inspect.getsource(owner.__init__)


def test_a_request_is_handled_by_the_method_named_after_it() -> None:
    source = inspect.getsource(asyncssh.channel.SSHChannel._service_next_request)
    assert "'_process_' + map_handler_name(request) + '_request'" in source


def test_the_signed_in_key_is_the_one_just_verified() -> None:
    """Between a verified signature and the end of the sign-in nothing else is awaited."""
    verify = inspect.getsource(asyncssh.auth._ServerPublicKeyAuth._start)
    succeed = inspect.getsource(asyncssh.connection.SSHConnection.send_userauth_success)
    assert "await self._conn.validate_public_key(" in verify
    assert verify.count("await ") == 2  # validate_public_key, then send_success
    assert succeed.index("self._owner.auth_completed()") < succeed.index("await ")


def test_every_algorithm_offered_exists() -> None:
    def names(known: list[bytes]) -> set[str]:
        return {name.decode() for name in known}

    assert set(algorithms.CIPHERS) <= names(asyncssh.encryption.get_encryption_algs())
    assert set(algorithms.MACS) <= names(asyncssh.mac.get_mac_algs())
    assert set(algorithms.SIGNATURES) <= names(asyncssh.public_key.get_public_key_algs())
    assert set(algorithms.HOST_KEY_SIGNATURES) <= set(algorithms.SIGNATURES)
    # ML-KEM needs OpenSSL 3.5; everything else is everywhere.
    assert set(algorithms.KEY_EXCHANGES) - set(algorithms.supported_key_exchanges()) <= {
        "mlkem768x25519-sha256"
    }
