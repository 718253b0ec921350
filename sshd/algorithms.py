"""The cryptography we offer, in our order. The client's order decides, as SSH has it.

Left out on purpose: everything with SHA-1, CBC, MAC-then-encrypt, DSA, groups below 4096 bits.
asyncssh always offers strict key exchange, against prefix truncation (Terrapin). chacha20 is left
out because OpenSSH would always choose it, and it costs twice the time of AES-GCM; a client
without AES is not known. Compression is off: it lets a few bytes in become many.
"""

from collections import OrderedDict

import asyncssh

KEY_EXCHANGES = (
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
)
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")
COMPRESSIONS = ("none",)
# How clients may sign. asyncssh announces these but would accept others: see connections.py.
SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
# How we sign; the first of its list that the client knows is used.
HOST_KEY_SIGNATURES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


def supported_key_exchanges() -> list[str]:
    """Those of ``KEY_EXCHANGES`` that this machine's OpenSSL can do (ML-KEM is young)."""
    known = {name.decode() for name in asyncssh.kex.get_kex_algs()}
    return [name for name in KEY_EXCHANGES if name in known]


def host_key_pairs(keys: list[asyncssh.SSHKey]) -> "OrderedDict[bytes, asyncssh.SSHKeyPair]":
    """A key pair of its own for each way we sign.

    asyncssh shares one pair among all connections and switches its algorithm for each handshake,
    so that two RSA handshakes at once could sign with each other's algorithm.
    """
    pairs: OrderedDict[bytes, asyncssh.SSHKeyPair] = OrderedDict()
    for signature in HOST_KEY_SIGNATURES:
        algorithm = signature.encode()
        for key in keys:
            if algorithm in key.sig_algorithms and algorithm not in pairs:
                (pairs[algorithm],) = asyncssh.load_keypairs([key])
                pairs[algorithm].set_sig_algorithm(algorithm)
    return pairs
