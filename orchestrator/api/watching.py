"""Counts requests by the template of their path and, where traces are wanted, makes a span of each."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

from aiohttp import web
from aiohttp.typedefs import Middleware

from pbx.wire.telemetry.call_place import place_of
from pbx.wire.telemetry.counts import Histogram

if TYPE_CHECKING:
    from pbx.wire.telemetry.traces import Traces

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
NOT_TRACED = frozenset({"/health", "/ready", "/api/v1/health", "/api/v1/ready"})


class HttpCounts:
    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        """(method, template of the path, status)."""
        self.seconds: defaultdict[tuple[str, str], Histogram] = defaultdict(Histogram)

    def answered(self, method: str, route: str, response: web.StreamResponse, seconds: float) -> None:
        self.requests[method, route, response.status] += 1
        if isinstance(response, web.Response):  # a stream lasts as long as somebody listens
            self.seconds[method, route].observe(seconds)


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "none" if resource is None else resource.canonical


def middleware(counts: HttpCounts, traces: Traces | None) -> Middleware:
    """The outermost: it sees what is answered."""

    @web.middleware
    async def watch(request: web.Request, handler: Next) -> web.StreamResponse:
        began = time.perf_counter()
        route = _route(request)
        method = request.method if request.method in METHODS else "other"
        if traces is None or route in NOT_TRACED:
            response = await handler(request)
        else:
            response = await _traced(traces, request, f"{method} {route}", handler)
        counts.answered(method, route, response, time.perf_counter() - began)
        return response

    return cast(Middleware, watch)


async def _traced(traces: Traces, request: web.Request, name: str, handler: Next) -> web.StreamResponse:
    """No path and no query: they hold numbers."""
    above = traces.begin(request.headers.get("traceparent"))
    if above is None:
        return await handler(request)
    call = place_of(request.match_info.get("call_id", ""))
    with traces.span(name, "server", above, [] if call is None else [call]) as span:
        response = await handler(request)
        method, _, route = name.partition(" ")
        span.attributes |= {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": response.status,
        }
        if response.status >= 500:
            span.failed = str(response.status)
        return response
