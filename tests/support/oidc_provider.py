"""A real OpenID Connect provider (Canaille) for tests, in an environment of its own that is made once and kept in the
cache; and a browser that logs in there.

`python -m tests.support.oidc_provider` makes the environment if the cache has none and prints its path.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from yarl import URL

from playbooks import environment

ROOT = Path(__file__).parents[2]
LOCK = ROOT / ".requirements" / "oidc-provider.txt"
SERVER = Path(__file__).with_name("oidc_server.py")


def ensure() -> Path:
    """The environment's Python. Two sessions that ask at once make it once."""
    return environment.ensure("oidc-provider", LOCK) / "python"


@dataclass
class Provider:
    port: int
    redirect_uri: str
    users: Mapping[str, Sequence[str]]
    """Name -> groups."""
    client_id: str = "callplane"
    client_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def issuer(self) -> str:
        return f"http://localhost:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        asked = {
            "port": self.port,
            "secret_key": secrets.token_urlsafe(32),
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "redirect_uri": self.redirect_uri,
            "password": self.password,
            "users": self.users,
        }
        python = await asyncio.to_thread(ensure)
        process = await asyncio.create_subprocess_exec(
            str(python), str(SERVER), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(asked).encode())
            process.stdin.close()
            said = await asyncio.wait_for(process.stdout.readline(), 60)
            assert said == b"ready\n", said
            yield
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def browser() -> aiohttp.ClientSession:
    """Keeps cookies of addresses, too."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def log_in(session: aiohttp.ClientSession, start: str, provider: Provider, user: str, password: str) -> str:
    """From ``start`` through the provider's pages; the address that the provider sends the browser back to."""
    method, url, form = "GET", start, None
    answers = {"login": user, "password": password}
    for _ in range(12):
        async with session.request(method, url, data=form, allow_redirects=False) as response:
            text = await response.text()
            location, at = response.headers.get("Location"), response.url
        if location is not None:
            method, url, form = "GET", str(at.join(URL(location))), None
            if url.startswith(provider.redirect_uri):
                return url
            continue
        fields = dict(re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', text))
        asked = [name for name in answers if f'name="{name}"' in text]
        assert asked, f"{at.path} asks for nothing that is known"
        method, url, form = "POST", str(at), fields | {name: answers[name] for name in asked}
    raise AssertionError(f"the provider did not send {user} back")


if __name__ == "__main__":
    print(ensure().parents[1])
