"""/api/v1/calls/{call_id}/correction: a call's record rectified."""

from __future__ import annotations

from orchestrator.adapters.db.models import CorrectionRow
from orchestrator.api.access import COMPLIANCE
from orchestrator.api.registry import Registry
from orchestrator.api.rights_schemas import Correction, correction_of
from orchestrator.domain.rights import CorrectionSpec
from orchestrator.services import corrections
from orchestrator.services.context import Services


def _shown(call_id: str, row: CorrectionRow | None) -> Correction:
    if row is not None:
        return correction_of(row)
    return Correction(call_id=call_id, number=None, name=None, note=None, corrected_at=None, corrected_by=None)


async def get(services: Services, call_id: str) -> Correction:
    """What was corrected of a call; all null where nothing was."""
    async with services.database.read() as session:
        return _shown(call_id, await corrections.get(session, call_id))


async def put(services: Services, call_id: str, body: CorrectionSpec) -> Correction:
    """Say whose call it was, and what is to be noted of it. The number replaces the carrier's in the record, in
    voicemails and reports; what was said before stays in the events. 409 ``live``."""
    async with services.database.write(projections=True) as session:
        return _shown(call_id, await corrections.put(session, call_id, body))


def routes(registry: Registry) -> None:
    one = "/api/v1/calls/{call_id}/correction"
    registry.route("GET", one, tag="rights", roles=COMPLIANCE)(get)
    registry.route("PUT", one, tag="rights", problems=(409,), roles=COMPLIANCE, purpose=True)(put)
