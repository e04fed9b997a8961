"""/api/v1/erasures: a person's number erased everywhere, with a certificate."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import ErasureRow
from orchestrator.api.access import COMPLIANCE
from orchestrator.api.filters import Id, Period, narrowed, within
from orchestrator.api.registry import Registry
from orchestrator.api.rights_schemas import Certificate, Erasure, RightsKey, erasure_of
from orchestrator.api.schemas import PageOf, page_of
from orchestrator.domain import certificates
from orchestrator.domain.problems import Conflict
from orchestrator.domain.rights import SubjectSpec
from orchestrator.services import erasure_requests
from orchestrator.services.context import Services
from orchestrator.services.paging import page


class ErasureQuery(Period):
    state: Id | None = None


async def find(services: Services, query: ErasureQuery) -> PageOf[Erasure]:
    """List erasures, newest first; with a limited scope those that this caller asked for. ``waits_for`` is empty
    here."""
    statement = within(narrowed(select(ErasureRow), query, state=ErasureRow.state), query, ErasureRow.requested_at)
    async with services.database.read() as session:
        rows = await page(session, statement, ErasureRow.erasure_id, query.page(), newest_first=True)
        counts = {row.erasure_id: await erasure_requests.counts(session, row.erasure_id) for row in rows.items}
    return page_of(rows, lambda row: erasure_of(row, counts[row.erasure_id], []))


async def _shown(session: AsyncSession, row: ErasureRow) -> Erasure:
    steps = await erasure_requests.steps(session, row.erasure_id)
    counts = await erasure_requests.counts(session, row.erasure_id)
    return erasure_of(row, counts, [step for step in steps if step.state != "done"])


async def get(services: Services, erasure_id: str) -> Erasure:
    """How far it is: what is done, what waits for a POP that is away or a call that is live, what a hold keeps."""
    async with services.database.read() as session:
        return await _shown(session, await erasure_requests.get(session, erasure_id))


async def request(services: Services, body: SubjectSpec) -> Erasure:
    """Erase a number everywhere: records, events, recordings (their keys), voicemails, callbacks, messages to
    webhooks, the POPs' journals. It goes on until all is done, also when a POP is away or the centre dies meanwhile.
    What must be kept for accounting stays without the number. Asked again while it runs, it is the same erasure."""
    async with services.database.write() as session:
        row = await erasure_requests.request(session, services.rights, body.number)
        made = await _shown(session, row)
    services.eraser.wake()
    return made


async def go_on(services: Services, erasure_id: str) -> Erasure:
    """Look again at what a legal hold kept. 409 ``not_held``: none did."""
    async with services.database.write() as session:
        made = await _shown(session, await erasure_requests.go_on(session, erasure_id))
    services.eraser.wake()
    return made


async def _certificate(services: Services, erasure_id: str) -> Certificate:
    async with services.database.read() as session:
        row = await erasure_requests.get(session, erasure_id)
    if row.certificate is None:
        raise Conflict("not_finished", "the erasure is not over: its steps say what it waits for")
    return Certificate.model_validate(row.certificate)


async def certificate(services: Services, erasure_id: str) -> Certificate:
    """The newest certificate, signed (Ed25519): what was destroyed, where and when, what was kept and why, what a
    hold keeps. 409 ``not_finished``."""
    return await _certificate(services, erasure_id)


async def certificate_text(services: Services, erasure_id: str) -> web.Response:
    """The same for people; only the JSON is signed. 409 ``not_finished``."""
    found = await _certificate(services, erasure_id)
    return web.Response(text=certificates.text(found.certificate), content_type="text/plain")


async def key(services: Services) -> RightsKey:
    """The public key that certificates are verified with."""
    public = services.rights.public
    return RightsKey(algorithm=certificates.ALGORITHM, key_id=certificates.key_id(public), public_key=public)


def routes(registry: Registry) -> None:
    every, one = "/api/v1/erasures", "/api/v1/erasures/{erasure_id}"
    registry.route("GET", every, tag="rights", roles=COMPLIANCE)(find)
    registry.route("POST", every, tag="rights", status=201, roles=COMPLIANCE, purpose=True)(request)
    registry.route("GET", one, tag="rights", roles=COMPLIANCE, tagged=False)(get)
    registry.route("POST", one + "/continue", tag="rights", problems=(409,), roles=COMPLIANCE, purpose=True)(go_on)
    registry.route(
        "GET", one + "/certificate", tag="rights", problems=(409,), roles=COMPLIANCE, tagged=False, recorded=True
    )(certificate)
    registry.route(
        "GET",
        one + "/certificate/text",
        tag="rights",
        media_type="text/plain",
        problems=(409,),
        roles=COMPLIANCE,
        recorded=True,
    )(certificate_text)
    registry.route("GET", "/api/v1/certificate-key", tag="rights", roles=COMPLIANCE)(key)
