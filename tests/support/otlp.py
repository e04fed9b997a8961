"""A receiver of traces: OTLP over HTTP, protobuf. Each span it is sent becomes a line of JSON.

As a program: ``python -m tests.support.otlp HOST PORT FILE``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from pathlib import Path
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


def _attributes(pairs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    pair: KeyValue
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        found[pair.key] = None if kind is None else getattr(pair.value, kind)
    return found


def spans_of(data: bytes) -> list[dict[str, Any]]:
    """Raises DecodeError for what is not OTLP."""
    request = ExportTraceServiceRequest.FromString(data)
    found = []
    for resource in request.resource_spans:
        of = _attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                found.append(
                    {
                        "service": of.get("service.name"),
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "name": span.name,
                        "kind": Span.SpanKind.Name(span.kind),
                        "began": span.start_time_unix_nano / 1e9,
                        "ended": span.end_time_unix_nano / 1e9,
                        "failed": span.status.code == Status.STATUS_CODE_ERROR,
                        "attributes": _attributes(span.attributes),
                        "links": [{"trace": link.trace_id.hex(), "id": link.span_id.hex()} for link in span.links],
                    }
                )
    return found


def make_app(path: Path) -> web.Application:
    async def take(request: web.Request) -> web.Response:
        data = await request.read()
        if request.content_type != "application/x-protobuf":
            return web.Response(status=415)
        if request.headers.get("Content-Encoding") == "gzip" and data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        lines = "".join(json.dumps(span) + "\n" for span in spans_of(data))
        with path.open("a") as file:
            file.write(lines)
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")

    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/traces", take)
    return app


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    web.run_app(make_app(options.file), host=options.host, port=options.port, print=None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
