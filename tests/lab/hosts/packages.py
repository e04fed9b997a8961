"""Debian packages for lab machines, which reach no network but the lab's: a mirror on this machine's lab address.

It fetches from the mirror that this machine's own apt names and keeps what never changes (packages, indexes by their
hash) in the cache; of the rest it keeps the last copy, for when that mirror is away.
"""

from __future__ import annotations

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from tests.lab.errors import LabError
from tests.lab.rootfs import cache_dir, debian_mirror

PREFIX = "/debian/"
FETCH_S = 60


class _Handler(BaseHTTPRequestHandler):
    mirror: str
    cache: Path
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(self.path)
        parts = Path(path.removeprefix(PREFIX)).parts
        if not path.startswith(PREFIX) or ".." in parts or not parts:
            self.send_error(404)
            return
        kept = self.cache.joinpath(*parts)
        if not (kept.is_file() and _never_changes(parts)):
            status = self._fetch(self.mirror + self.path.removeprefix(PREFIX.rstrip("/")), kept)
            if status is not None:
                self.send_error(status)
                return
        with kept.open("rb") as content:
            self.send_response(200)
            self.send_header("Content-Length", str(kept.stat().st_size))
            self.end_headers()
            while chunk := content.read(1 << 20):
                self.wfile.write(chunk)

    def log_message(self, format: str, *args: object) -> None:
        """What apt was refused stands in apt's own output."""

    def _fetch(self, url: str, kept: Path) -> int | None:
        """None when `kept` holds the answer, else the status to refuse with."""
        aside = kept.with_name(f".{kept.name}.{threading.get_ident()}")
        try:
            with urllib.request.urlopen(url, timeout=FETCH_S) as answer:  # noqa: S310 - this machine's own mirror
                kept.parent.mkdir(parents=True, exist_ok=True)
                with aside.open("wb") as file:
                    while chunk := answer.read(1 << 20):
                        file.write(chunk)
            aside.replace(kept)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:  # the mirror is away
            aside.unlink(missing_ok=True)
            return None if kept.is_file() else 504
        return None


def _never_changes(parts: tuple[str, ...]) -> bool:
    return parts[-1].endswith(".deb") or "by-hash" in parts


@contextlib.contextmanager
def serving(address: str) -> Iterator[str]:
    """Serve on a free port of `address`; yields the mirror's URL. It ends with this process at the latest."""
    handler = type("Handler", (_Handler,), {"mirror": debian_mirror(), "cache": cache_dir() / "apt"})
    try:
        server = ThreadingHTTPServer((address, 0), handler)
    except OSError as error:
        raise LabError(f"no mirror for lab machines on {address}: {error}") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="lab packages", daemon=True)
    thread.start()
    try:
        yield f"http://{address}:{server.server_address[1]}/debian"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
