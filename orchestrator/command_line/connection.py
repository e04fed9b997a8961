"""Which centre, and with which token: the environment before what ``callplane login`` has stored."""

from __future__ import annotations

import ipaddress
import json
import os
import ssl
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.command_line.failures import Failure, Misused

DEFAULT_URL = "http://127.0.0.1:8080"
LOGIN = "log in with 'callplane login URL', or give a token as CALLPLANE_TOKEN or CALLPLANE_TOKEN_FILE"


@dataclass(frozen=True, slots=True)
class Connection:
    url: str
    token: str = field(repr=False)
    ca_file: Path | None = None
    """Certificates to believe instead of the system's."""
    timeout_s: float = 60.0

    def tls(self) -> ssl.SSLContext | None:
        """None where the centre is not asked by TLS. Raises Misused for a file that holds no certificates."""
        if not self.url.startswith("https:"):
            return None
        try:
            return ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise Misused(f"{self.ca_file}: {getattr(error, 'strerror', None) or 'holds no certificates'}") from None


@dataclass(frozen=True, slots=True)
class Stored:
    """What ``callplane login`` keeps."""

    url: str
    token: str = field(repr=False)
    session: bool = False
    """It is a session's, which ends with ``callplane logout``."""
    ca_file: str | None = None
    allow_plain_http: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command's own options say; None: nothing."""

    url: str | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout_s: float = 60.0
    allow_plain_http: bool = False


def connection(wanted: Wanted, environment: Mapping[str, str]) -> Connection:
    """Raises Misused, or Failure where there is no token. A stored token goes to the centre it is of, to no other."""
    stored = load(environment)
    url = checked_url(wanted.url or environment.get("CALLPLANE_URL") or (stored.url if stored else DEFAULT_URL))
    mine = stored if stored is not None and stored.url == url else None
    allowed = wanted.allow_plain_http or bool(environment.get("CALLPLANE_ALLOW_PLAIN_HTTP"))
    refuse_plain_http(url, allowed=allowed or (mine is not None and mine.allow_plain_http))
    ca_file = wanted.ca_file or environment.get("CALLPLANE_CA_FILE") or (mine.ca_file if mine else None)
    return Connection(
        url, _token(wanted, environment, mine, url), None if ca_file is None else Path(ca_file), wanted.timeout_s
    )


def _token(wanted: Wanted, environment: Mapping[str, str], stored: Stored | None, url: str) -> str:
    if wanted.token_file is not None:
        return token_in(wanted.token_file)
    if token := environment.get("CALLPLANE_TOKEN"):
        return checked_token(token, "CALLPLANE_TOKEN")
    if named := environment.get("CALLPLANE_TOKEN_FILE"):
        return token_in(Path(named))
    if stored is None:
        raise Failure(f"there is no token for {url}", LOGIN)
    return stored.token


def token_in(path: Path) -> str:
    try:
        return checked_token(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise Misused(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Misused(f"{path}: is not UTF-8") from None


def checked_token(text: str, place: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or any(char.isspace() or not char.isprintable() for char in token):
        raise Misused(f"{place} holds no token")
    return token


def checked_url(text: str) -> str:
    """Without what a user may write behind it. Raises Misused."""
    try:
        parts = urlsplit(text.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username is not None:
        raise Misused(f"{parts.scheme + '://...' if usable else text!r} is no address such as https://centre.example")
    path = parts.path.rstrip("/").removesuffix("/api/v1")
    return f"{parts.scheme}://{parts.netloc}{path}"


def refuse_plain_http(url: str, *, allowed: bool) -> None:
    """A token that crosses a network in clear text is everybody's."""
    host = urlsplit(url).hostname or ""
    if url.startswith("https:") or allowed or host == "localhost":
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass  # a name, which is not this machine's own
    raise Misused(f"{url} is not encrypted: the token would cross the network in clear text", "--allow-plain-http")


# --- what login keeps -------------------------------------------------------------------------------------------------


def store_path(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME") or str(Path.home()), ".config")
    return Path(base) / "callplane" / "login.json"


def load(environment: Mapping[str, str]) -> Stored | None:
    """Raises Failure for a file that others may read, or that is none of ours."""
    path = store_path(environment)
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise Failure(f"{path} can be read by others (mode {mode:o})", f"chmod 600 {path}")
            return Stored(**json.load(file))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise Failure(f"{path} is not what 'callplane login' writes", "log in again") from None


def save(environment: Mapping[str, str], login: Stored) -> Path:
    """Mode 0600 from its first byte on, and whole or not at all."""
    path = store_path(environment)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".login")  # made with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(login), file)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    return path


def forget(environment: Mapping[str, str]) -> None:
    try:
        store_path(environment).unlink(missing_ok=True)
    except OSError as error:
        raise Failure(f"{store_path(environment)}: {error.strerror}") from None
