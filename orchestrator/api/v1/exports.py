"""/api/v1/exports: all data of a number in one archive, streamed."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator

import orjson
from aiohttp import ClientConnectionResetError, web

from orchestrator.adapters.db.models import RecordingRow
from orchestrator.api.access import COMPLIANCE
from orchestrator.api.archive import Archive
from orchestrator.api.call_schemas import call_of
from orchestrator.api.registry import Registry
from orchestrator.api.rights_schemas import (
    ExportedFile,
    ExportedMessage,
    ExportManifest,
    PopNotHeard,
    Pseudonym,
    SubjectExport,
    correction_of,
)
from orchestrator.api.schemas import callback_of, event_of, recording_of, voicemail_of
from orchestrator.domain.grants import current
from orchestrator.domain.problems import Problem
from orchestrator.domain.rights import SubjectSpec
from orchestrator.services import exports, minors, recordings
from orchestrator.services.audit import READ
from orchestrator.services.context import Services

SCHEMA_VERSION = 1
log = logging.getLogger(__name__)


async def export(services: Services, request: web.Request, body: SubjectSpec) -> web.StreamResponse:
    """All data of a number, as a ZIP archive: ``export.json`` (its schema is ``SubjectExport`` here, and
    ``schema.json`` in the archive), ``recordings/ID.wav`` as far as they can be opened, and at last ``manifest.json``,
    which names what is missing and why. POPs that may not tell numbers are asked what they call this one; those that
    did not answer are named in ``not_heard``. Within the caller's units and regions, which the export names."""
    document = await _document(services, body.number)
    await current().note(READ)
    response = web.StreamResponse(status=200, headers={"Cache-Control": "no-store"})
    response.content_type = "application/zip"
    response.headers["Content-Disposition"] = 'attachment; filename="export.zip"'
    try:
        await response.prepare(request)
        archive = Archive(response.write)
        told = document.model_dump_json().encode()
        await archive.add("export.json", told)
        await archive.add("schema.json", json.dumps(SubjectExport.model_json_schema(), indent=1).encode())
        files = [await _recording(services, archive, recording.recording_id) for recording in document.recordings]
        manifest = ExportManifest(
            schema_version=SCHEMA_VERSION,
            sha256_of_export=hashlib.sha256(told).hexdigest(),
            recordings=files,
            not_heard=document.not_heard,
            complete=not document.not_heard
            and all(one.file is not None or one.why_missing == "erased" for one in files),
        )
        await archive.add("manifest.json", manifest.model_dump_json(indent=1).encode())
        await archive.close()
    except Problem as problem:
        # Too late for a problem's response: the client must see that the archive is cut.
        log.warning("an export was cut: %s", problem.error_id)
        if request.transport is not None:
            request.transport.abort()
        return response
    except ClientConnectionResetError:
        return response
    await response.write_eof()
    return response


async def _document(services: Services, number: str) -> SubjectExport:
    async with services.database.read() as session:
        pops = await exports.pops(session)
    heard = await services.names.hear(pops, [number])
    async with services.database.read() as session:
        data = await exports.read(session, services.rights, number, heard.all)
    caller = current()
    return SubjectExport(
        schema_version=SCHEMA_VERSION,
        number=number,
        generated_at=time.time(),  # type: ignore[arg-type]  # a time
        generated_by=caller.name,
        purpose=caller.purpose or "",
        scope=[grant.to_json() for grant in caller.grants],
        pseudonyms=[
            Pseudonym(pop_id=pop_id, pseudonym=name)
            for pop_id, of in sorted(heard.names.items())
            for name in sorted(of[number])
        ],
        not_heard=[PopNotHeard(pop_id=pop_id, why=why) for pop_id, why in sorted(heard.silent.items())],
        calls=[call_of(row) for row in data.calls],
        corrections=[correction_of(row) for row in data.corrections],
        events=[event_of(row, orjson.loads(row.data)) for row in data.events],
        callbacks=[callback_of(row) for row in data.callbacks],
        voicemails=[voicemail_of(row) for row in data.voicemails if row.deleted_at is None],
        recordings=[recording_of(row) for row in data.recordings],
        messages=[
            ExportedMessage.model_validate({n: getattr(row, n) for n in ExportedMessage.model_fields})
            for row in data.messages
        ],
    )


async def _recording(services: Services, archive: Archive, recording_id: str) -> ExportedFile:
    async with services.database.read() as session:
        row = await recordings.get(session, recording_id)
    if row.discarded:
        return ExportedFile(recording_id=recording_id, file=None, why_missing="erased", sha256=None)
    try:
        async with services.database.read() as session:
            # Who exports may open it; that this one was is told by the purpose.
            why = "export of the number's data"
            of_minor = await minors.require(session, services.rights, services.names, row, why)
        opened = await recordings.open_content(services.bus, row, 0, None, minors=of_minor)
    except Problem as problem:
        return ExportedFile(recording_id=recording_id, file=None, why_missing=problem.error_id, sha256=None)
    digest, name = hashlib.sha256(), f"recordings/{recording_id}.wav"
    await archive.stream(name, _hashed(services, row, opened, digest))
    return ExportedFile(recording_id=recording_id, file=name, why_missing=None, sha256=digest.hexdigest())


async def _hashed(
    services: Services, row: RecordingRow, opened: recordings.Content, digest: hashlib._Hash
) -> AsyncIterator[bytes]:
    async for piece in recordings.rest(services.bus, row, opened, opened.total_size):
        digest.update(piece)
        yield piece


def routes(registry: Registry) -> None:
    registry.route(
        "POST",
        "/api/v1/exports",
        tag="rights",
        media_type="application/zip",
        roles=COMPLIANCE,
        purpose=True,
    )(export)
