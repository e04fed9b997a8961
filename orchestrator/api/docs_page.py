"""/docs: a page that shows the API and tries it, made in the browser from its OpenAPI document. All of it comes from
this package; the policy lets it reach nothing but this origin."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from importlib import resources

from aiohttp import web

PATH = "/docs"
_KINDS = {"index.html": "text/html", "docs.css": "text/css", "docs.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


_FILES = {PATH: "index.html", f"{PATH}/docs.css": "docs.css", f"{PATH}/docs.js": "docs.js"}
PATHS = frozenset(_FILES)
"""They ask for no token."""


def install(app: web.Application) -> None:
    for path, name in _FILES.items():
        app.router.add_get(path, _file(name))


def _file(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    data = (resources.files("orchestrator.api") / "docs" / name).read_bytes()
    tag = f'"{hashlib.sha256(data).hexdigest()[:24]}"'

    async def serve(request: web.Request) -> web.Response:
        headers = {**_HEADERS, "ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=data, headers=headers, content_type=_KINDS[name], charset="utf-8")

    return serve
