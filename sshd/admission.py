"""How many connections may be open, so that strangers cannot shut users out."""

import collections
import ipaddress

from sshd.settings import SSHSettings


class Admission:
    """Counts the connections of one process; those that have signed in count only in total."""

    def __init__(self, settings: SSHSettings) -> None:
        self._settings = settings
        self._total = 0
        self._unauthenticated: collections.Counter[str] = collections.Counter()

    def refusal(self, address: str) -> str | None:
        """Why a new connection from this address cannot be taken now, or None."""
        settings = self._settings
        if self._total >= settings.ssh_max_connections:
            return "too many connections to this server; try again in a moment"
        if self._unauthenticated.total() >= settings.ssh_max_unauthenticated:
            return "too many clients are signing in; try again in a moment"
        waiting = self._unauthenticated[network_of(address)]
        if waiting >= settings.ssh_max_unauthenticated_per_address:
            return "too many connections from your address are signing in; try again in a moment"
        return None

    def enter(self, address: str) -> None:
        self._total += 1
        self._unauthenticated[network_of(address)] += 1

    def sign_in(self, address: str) -> None:
        network = network_of(address)
        self._unauthenticated[network] -= 1
        if not self._unauthenticated[network]:
            del self._unauthenticated[network]

    def leave(self, address: str, *, signed_in: bool) -> None:
        self._total -= 1
        if not signed_in:
            self.sign_in(address)


def network_of(address: str) -> str:
    """What counts as one address: with IPv6 a /64, since a single client has that many."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
