"""A POP's key: 32 random bytes, base64url without padding. It is the seed of an Ed25519 pair; the centre keeps
only the public half, written as a NATS user NKey (https://docs.nats.io/running-a-nats-service/configuration/
securing_nats/auth_intro/nkey_auth), and the bus server asks the POP to sign a nonce.
"""

from __future__ import annotations

import base64
import binascii
import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pbx.domain.errors import BadValue

_USER_PREFIX = 20 << 3
"""Makes the encoded key begin with ``U``."""


def new_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


def _pair(key: str) -> Ed25519PrivateKey:
    try:
        seed = base64.b64decode(key.strip() + "=" * (-len(key.strip()) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        seed = b""
    if len(seed) != 32:
        raise BadValue("key", "is not a POP key: 32 bytes in base64url, as the centre printed it")
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_nkey(key: str) -> str:
    """The NKey under which the bus knows the holder of ``key``. Raises BadValue when it is no key."""
    raw = _pair(key).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    body = bytes([_USER_PREFIX]) + raw
    # CRC-16/XMODEM, little endian, as nkeys appends it.
    return base64.b32encode(body + binascii.crc_hqx(body, 0).to_bytes(2, "little")).rstrip(b"=").decode()


def sign(key: str, nonce: str) -> bytes:
    """The signature of the server's nonce, base64url without padding."""
    return base64.urlsafe_b64encode(_pair(key).sign(nonce.encode())).rstrip(b"=")
