"""The caps on connections."""

import pytest

from sshd.admission import Admission, network_of
from sshd.settings import SSHSettings

TOO_MANY = "too many connections to this server; try again in a moment"
TOO_MANY_NEW = "too many clients are signing in; try again in a moment"
TOO_MANY_HERE = "too many connections from your address are signing in; try again in a moment"


def test_per_address() -> None:
    admission = Admission(SSHSettings(ssh_max_unauthenticated_per_address=2))
    for _ in range(2):
        assert admission.refusal("192.0.2.1") is None
        admission.enter("192.0.2.1")
    assert admission.refusal("192.0.2.1") == TOO_MANY_HERE
    assert admission.refusal("192.0.2.2") is None
    admission.sign_in("192.0.2.1")
    assert admission.refusal("192.0.2.1") is None
    admission.enter("192.0.2.1")
    assert admission.refusal("192.0.2.1") == TOO_MANY_HERE
    admission.leave("192.0.2.1", signed_in=True)
    assert admission.refusal("192.0.2.1") == TOO_MANY_HERE
    admission.leave("192.0.2.1", signed_in=False)
    assert admission.refusal("192.0.2.1") is None


def test_all_unauthenticated() -> None:
    admission = Admission(SSHSettings(ssh_max_unauthenticated=2))
    admission.enter("192.0.2.1")
    admission.enter("192.0.2.2")
    assert admission.refusal("192.0.2.3") == TOO_MANY_NEW
    admission.sign_in("192.0.2.1")
    assert admission.refusal("192.0.2.3") is None


def test_all_connections() -> None:
    admission = Admission(SSHSettings(ssh_max_connections=1))
    admission.enter("192.0.2.1")
    admission.sign_in("192.0.2.1")
    assert admission.refusal("192.0.2.2") == TOO_MANY
    admission.leave("192.0.2.1", signed_in=True)
    assert admission.refusal("192.0.2.2") is None


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_what_counts_as_one_address(address: str, network: str) -> None:
    assert network_of(address) == network
