"""/api/v1/recordings: metadata, and the bytes as they come from the POP."""

from __future__ import annotations

import logging
import re
from typing import Literal

from aiohttp import ClientConnectionResetError, web
from sqlalchemy import select

from orchestrator.adapters.db.models import RecordingRow
from orchestrator.api.access import COMPLIANCE, LISTENERS
from orchestrator.api.errors import problem_response
from orchestrator.api.filters import Id, Period, narrowed, within
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, Recording, RecordingLink, page_of, recording_of
from orchestrator.domain.grants import current
from orchestrator.domain.problems import NotFound, Problem
from orchestrator.services import holds, minors, recording_links, recordings
from orchestrator.services.audit import READ
from orchestrator.services.context import Services
from orchestrator.services.paging import page

_HEADERS = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
log = logging.getLogger(__name__)

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class RecordingQuery(Period):
    call_id: Id | None = None
    pop_id: Id | None = None
    region: Id | None = None
    kind: Literal["conversation", "voicemail"] | None = None
    discarded: bool | None = None


async def find(services: Services, query: RecordingQuery) -> PageOf[Recording]:
    """List recordings, newest first."""
    statement = narrowed(
        select(RecordingRow),
        query,
        call_id=RecordingRow.call_id,
        pop_id=RecordingRow.pop_id,
        region=RecordingRow.region,
        kind=RecordingRow.kind,
        discarded=RecordingRow.discarded,
    )
    statement = within(statement, query, RecordingRow.started_at)
    async with services.database.read() as session:
        rows = await page(session, statement, RecordingRow.recording_id, query.page(), newest_first=True)
    return page_of(rows, recording_of)


async def get(services: Services, recording_id: str) -> Recording:
    """One recording's metadata."""
    async with services.database.read() as session:
        return recording_of(await recordings.get(session, recording_id))


async def _there(services: Services, recording_id: str) -> RecordingRow:
    async with services.database.read() as session:
        row = await recordings.get(session, recording_id)
    if row.discarded:
        raise NotFound("recording_content", recording_id)
    return row


async def _minors(services: Services, request: web.Request, row: RecordingRow) -> bool:
    """Whether it is of a minor, and then the caller may open it."""
    async with services.database.read() as session:
        return await minors.require(
            session, services.rights, services.names, row, request.headers.get("X-Minor-Purpose")
        )


def _is_of(request: web.Request, row: RecordingRow) -> bool:
    """Whether the range asked for is one of this very recording (If-Range); else all of it is answered."""
    wanted = request.headers.get("If-Range")
    return wanted is None or (bool(row.sha256) and wanted == f'"{row.sha256}"')


async def link(services: Services, request: web.Request, recording_id: str) -> RecordingLink:
    """A link for a player that sends no headers: to this recording alone, in the caller's name and for the same
    purpose, good for as long as it plays and ten minutes. Of a minor's recording ``X-Minor-Purpose`` is needed, too."""
    return await link_to(services, request, "recordings", recording_id)


async def link_to(services: Services, request: web.Request, noun: str, recording_id: str) -> RecordingLink:
    row = await _there(services, recording_id)
    await _minors(services, request, row)
    path = f"/api/v1/{noun}/{row.recording_id}/content"
    text, expires_at = recording_links.make(services.secrets, path, current(), row.duration_ms or 0)
    return RecordingLink(url=f"{path}?link={text}", expires_at=expires_at)  # type: ignore[arg-type]  # a time


async def erase(services: Services, recording_id: str) -> None:
    """Erase it for good: its POP destroys the key, so that no copy of it can be opened. 409 ``held``: a legal hold,
    which the answer names, keeps it."""
    row = await _there(services, recording_id)
    async with services.database.read() as session:
        await holds.refuse_held(session, services.rights, services.names, row)
    await recordings.erase(services.bus, row)


async def content(services: Services, request: web.Request, recording_id: str) -> web.StreamResponse:
    """The recording itself, streamed from its POP; caller left, agent right. One byte range may be asked for. Of a
    minor's recording only by the roles admin and compliance, with the header ``X-Minor-Purpose``."""
    row = await _there(services, recording_id)
    of_minor = await _minors(services, request, row)
    found = _RANGE.fullmatch(request.headers.get("Range", "")) if _is_of(request, row) else None
    first, last = found.groups() if found else ("", "")
    start = int(first) if first else 0
    length = int(last) - start + 1 if first and last else None
    if found and not first and not last:
        found = None
    if length is not None and length < 1:
        return problem_response(416, "bad_range", "the range ends before it begins")
    if found and not first:  # the last so many bytes: ask for the size first
        head = await recordings.open_content(services.bus, row, 0, 1, minors=of_minor)
        start = max(0, head.total_size - int(last))
    await current().note(READ)
    opened = await recordings.open_content(services.bus, row, start, length, minors=of_minor)
    total = opened.total_size
    if found and start >= total:
        refused = problem_response(416, "bad_range", f"the recording has {total} bytes")
        refused.headers["Content-Range"] = f"bytes */{total}"
        return refused
    end = total if length is None else min(total, start + length)
    response = web.StreamResponse(status=206 if found else 200)
    response.content_type = "audio/wav"
    response.content_length = end - start
    response.headers.update(_HEADERS)
    if row.sha256:
        response.headers["ETag"] = f'"{row.sha256}"'
    if found:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{total}"
    try:
        await response.prepare(request)
        async for chunk in recordings.rest(services.bus, row, opened, end):
            await response.write(chunk)
    except Problem as problem:
        # Too late for a problem's response: the client must see that the body is cut, not a shorter recording.
        log.warning("recording %s was cut while it was read: %s", recording_id, problem.error_id)
        if request.transport is not None:
            request.transport.abort()
        return response
    except ClientConnectionResetError:
        return response  # a player that seeks breaks off and asks for another range
    await response.write_eof()
    return response


def routes(registry: Registry) -> None:
    one = "/api/v1/recordings/{recording_id}"
    registry.route("GET", "/api/v1/recordings", tag="recordings", roles=LISTENERS)(find)
    registry.route("GET", one, tag="recordings", roles=LISTENERS)(get)
    registry.route(
        "GET",
        one + "/content",
        tag="recordings",
        media_type="audio/wav",
        problems=(409, 416, 504),
        roles=LISTENERS,
        recorded=True,
        purpose=True,
    )(content)
    registry.route("POST", one + "/link", tag="recordings", status=201, roles=LISTENERS, purpose=True)(link)
    registry.route(
        "DELETE",
        one,
        tag="recordings",
        status=204,
        problems=(409, 504),
        roles=COMPLIANCE,
        purpose=True,
        checked="before",
    )(erase)
