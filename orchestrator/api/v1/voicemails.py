"""/api/v1/voicemails: messages that callers left."""

from __future__ import annotations

from typing import Literal

from aiohttp import web
from sqlalchemy import select

from orchestrator.adapters.db.models import VoicemailRow
from orchestrator.api.access import LISTENERS, SUPERVISORS
from orchestrator.api.filters import Id, Period, narrowed, within
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, RecordingLink, Voicemail, page_of, voicemail_of
from orchestrator.api.v1 import recordings
from orchestrator.services import voicemails
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class VoicemailQuery(Period):
    mailbox: Id | None = None
    pop_id: Id | None = None
    did: Id | None = None
    call_id: Id | None = None
    state: Literal["new", "heard"] | None = None


async def find(services: Services, query: VoicemailQuery) -> PageOf[Voicemail]:
    """List voicemails, newest first."""
    statement = narrowed(
        select(VoicemailRow).where(VoicemailRow.deleted_at.is_(None)),
        query,
        mailbox=VoicemailRow.mailbox,
        pop_id=VoicemailRow.pop_id,
        did=VoicemailRow.did,
        call_id=VoicemailRow.call_id,
    )
    statement = within(statement, query, VoicemailRow.left_at)
    if query.state is not None:
        new = query.state == "new"
        statement = statement.where(VoicemailRow.heard_at.is_(None) if new else VoicemailRow.heard_at.is_not(None))
    async with services.database.read() as session:
        rows = await page(session, statement, VoicemailRow.voicemail_id, query.page(), newest_first=True)
    return page_of(rows, voicemail_of)


async def get(services: Services, voicemail_id: str) -> Voicemail:
    """One voicemail's metadata."""
    async with services.database.read() as session:
        return voicemail_of(await voicemails.get(session, voicemail_id))


async def content(services: Services, request: web.Request, voicemail_id: str) -> web.StreamResponse:
    """The message itself, streamed from its POP; caller left, right silent. One byte range may be asked for."""
    async with services.database.read() as session:
        await voicemails.get(session, voicemail_id)
    return await recordings.content(services, request, voicemail_id)


async def link(services: Services, request: web.Request, voicemail_id: str) -> RecordingLink:
    """A link for a player that sends no headers: to this message alone, in the caller's name and for the same
    purpose, good for as long as it plays and ten minutes."""
    async with services.database.read() as session:
        await voicemails.get(session, voicemail_id)
    return await recordings.link_to(services, request, "voicemails", voicemail_id)


async def heard(services: Services, voicemail_id: str) -> None:
    """Somebody has heard it; the first time counts."""
    await voicemails.hear(services, voicemail_id)


async def delete(services: Services, voicemail_id: str) -> None:
    """Delete it for good: its POP destroys the recording."""
    await voicemails.delete(services, voicemail_id)


def routes(registry: Registry) -> None:
    one = "/api/v1/voicemails/{voicemail_id}"
    registry.route("GET", "/api/v1/voicemails", tag="voicemails", roles=LISTENERS)(find)
    registry.route("GET", one, tag="voicemails", roles=LISTENERS)(get)
    registry.route(
        "GET",
        one + "/content",
        tag="voicemails",
        media_type="audio/wav",
        problems=(409, 416, 504),
        roles=LISTENERS,
        recorded=True,
        purpose=True,
    )(content)
    registry.route("POST", one + "/link", tag="voicemails", status=201, roles=LISTENERS, purpose=True)(link)
    registry.route("POST", one + "/heard", tag="voicemails", status=204, roles=SUPERVISORS)(heard)
    registry.route(
        "DELETE", one, tag="voicemails", status=204, problems=(409, 504), roles=SUPERVISORS, checked="before"
    )(delete)
