"""Secrets that others must be told again (a carrier's password, a webhook's key): sealed in the database under a key
that lies in a file, so that a copy of the database alone tells none of them."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


class BadKey(Exception):
    """The key's file cannot be used, or is not the one that sealed."""


class SecretBox:
    def __init__(self, key: bytes) -> None:
        self._key, self._cipher = key, AESGCM(key)

    def derived(self, use: str) -> bytes:
        """A key of its own for one use, 32 bytes (HKDF-SHA256, RFC 5869): it tells nothing of this one or another."""
        return HKDF(hashes.SHA256(), KEY_BYTES, None, f"callplane {use}".encode()).derive(self._key)

    def seal(self, secret: str, about: str) -> bytes:
        """``about`` says whose it is: moved to another row, it does not open."""
        nonce = secrets.token_bytes(12)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), about.encode())

    def open(self, sealed: bytes, about: str) -> str:
        try:
            return self._cipher.decrypt(sealed[:12], sealed[12:], about.encode()).decode()
        except InvalidTag:
            raise BadKey(f"the secret of {about} was sealed under another key") from None


def load(path: Path) -> SecretBox:
    """The box of the key in ``path``, which is made, readable by us alone, when it is not there."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = bytes.fromhex(path.read_text().strip())
    else:
        key = secrets.token_bytes(KEY_BYTES)
        with os.fdopen(file, "w") as out:
            out.write(key.hex() + "\n")
            out.flush()
            os.fsync(out.fileno())
    if len(key) != KEY_BYTES:
        raise BadKey(f"{path} does not hold a key of {KEY_BYTES} bytes in hexadecimal digits")
    return SecretBox(key)
