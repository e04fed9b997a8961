"""Who may be the other host: one with a certificate of the site's authority that names the address it is known by."""

from __future__ import annotations

import ssl
from pathlib import Path

from pbx.domain.errors import BadValue


def split(text: str, setting: str) -> tuple[str, int]:
    """``host:port``. Raises BadValue."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise BadValue(setting, "is not host:port")
    return host.strip("[]"), int(port)


def context(directory: Path, *, server: bool) -> ssl.SSLContext:
    """Both ends show a certificate and verify the other's. Raises BadValue."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    load(made, directory)
    return made


def load(made: ssl.SSLContext, directory: Path) -> None:
    """Also again, for connections to come: certificates are renewed. Raises BadValue."""
    try:
        made.load_verify_locations(directory / "ca.pem")
        made.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    except (OSError, ssl.SSLError) as error:
        raise BadValue("CALLPLANE_POP_PAIR_TLS_DIR", f"has no usable cert.pem, key.pem and ca.pem: {error}") from error


def names(certificate: dict[str, object] | None) -> set[str]:
    """What a verified certificate is for."""
    found = (certificate or {}).get("subjectAltName", ())
    return {value for _, value in found} if isinstance(found, tuple) else set()
