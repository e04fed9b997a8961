"""/api/v1/prompts and /api/v1/prompt-catalogue"""

from __future__ import annotations

import asyncio
import re

from aiohttp import web
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import defer

from dialplans import uploads
from orchestrator.adapters.db.models import PromptRow, PromptVersionRow
from orchestrator.api.access import ENGINEERS, STAFF
from orchestrator.api.answer import Answer
from orchestrator.api.auth import who
from orchestrator.api.filters import Id, narrowed
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import At, PageOf, PageQuery, page_of
from orchestrator.domain.problems import one
from orchestrator.domain.resources import SLUG_PATTERN, VersionToRestore
from orchestrator.domain.strict import Strict
from orchestrator.services import prompt_catalogue, prompts
from orchestrator.services.context import Services
from orchestrator.services.paging import page

_LANGUAGE = re.compile(r"[a-z]{2,3}")


class PromptVersion(Answer):
    language: str
    prompt_id: str
    version: int
    sha256: str
    """Of the sound as A-law."""
    duration_ms: int
    text: str
    """What is said, as far as it was told."""
    uploaded_at: At
    uploaded_by: str
    """Name of the token."""


class Prompt(PromptVersion):
    """The version in force."""


class CatalogueLanguage(Answer):
    language: str
    prompt_ids: list[str]


class Catalogue(Answer):
    """All prompts that flows and queues may name: the package's and those that were uploaded."""

    languages: list[CatalogueLanguage]


class PromptQuery(PageQuery):
    language: Id | None = None
    prompt_id: Id | None = None


class UploadQuery(Strict):
    text: str = Field(default="", max_length=1000)
    """What is said."""


class ContentQuery(Strict):
    version: int | None = Field(default=None, ge=1, lt=1 << 31)


def _version(row: PromptVersionRow) -> PromptVersion:
    language, _, prompt_id = row.prompt_key.partition("/")
    return PromptVersion(
        language=language,
        prompt_id=prompt_id,
        version=row.version,
        sha256=row.sha256,
        duration_ms=row.duration_ms,
        text=row.text,
        uploaded_at=row.created_at,  # type: ignore[arg-type]
        uploaded_by=row.created_by,
    )


def _prompt(row: PromptVersionRow) -> Prompt:
    return Prompt.model_validate(_version(row).model_dump())


async def find(services: Services, query: PromptQuery) -> PageOf[Prompt]:
    """List prompts that were uploaded. ``GET /prompt-catalogue`` names those of the package too."""
    in_force = (PromptVersionRow.prompt_key == PromptRow.prompt_key) & (PromptVersionRow.version == PromptRow.version)
    statement = select(PromptVersionRow).join(PromptRow, in_force).options(defer(PromptVersionRow.alaw))
    statement = narrowed(statement, query, language=PromptRow.language, prompt_id=PromptRow.prompt_id)
    async with services.database.read() as session:
        return page_of(await page(session, statement, PromptVersionRow.prompt_key, query.page()), _prompt)


async def catalogue(services: Services) -> Catalogue:
    """Every prompt that flows and queues may name, by language."""
    async with services.database.read() as session:
        found = await prompt_catalogue.there(session, services.prompts())
    return Catalogue(
        languages=[
            CatalogueLanguage(language=language, prompt_ids=sorted(found[language])) for language in sorted(found)
        ]
    )


async def get(services: Services, language: str, prompt_id: str) -> Prompt:
    """One prompt that was uploaded, in the version in force."""
    async with services.database.read() as session:
        return _prompt(await prompts.get(session, language, prompt_id))


async def upload(
    services: Services, request: web.Request, language: str, prompt_id: str, content: bytes, query: UploadQuery
) -> Prompt:
    """Upload a prompt: WAV of 8 to 48 kHz, or G.711 without a header (``audio/PCMA``, ``audio/PCMU``).

    It is in force at once, at all POPs as soon as they have fetched it, and instead of the package's of the same name.
    The same sound and text again makes no new version.
    """
    if not _LANGUAGE.fullmatch(language):
        raise one("language", "must be two or three lower case letters")
    if not re.fullmatch(SLUG_PATTERN, prompt_id):
        raise one("prompt_id", "must be lower case letters, digits and dashes, at most 31")
    try:
        sound = await asyncio.to_thread(uploads.read, content, request.content_type.lower())
    except uploads.NoSound as error:
        raise one("body", str(error)) from None
    async with services.units.begin() as unit:
        return _prompt(await prompts.upload(unit, language, prompt_id, sound, query.text, who(request)))


async def content(services: Services, language: str, prompt_id: str, query: ContentQuery) -> web.StreamResponse:
    """The sound, as WAV; that of the version in force where none is named."""
    async with services.database.read() as session:
        alaw = await prompts.sound_of(session, language, prompt_id, query.version)
    return web.Response(body=await asyncio.to_thread(uploads.wav, alaw), content_type="audio/wav")


async def versions(services: Services, language: str, prompt_id: str, query: PageQuery) -> PageOf[PromptVersion]:
    """The versions of a prompt, newest first."""
    async with services.database.read() as session:
        return page_of(await prompts.versions(session, language, prompt_id, query.page()), _version)


async def roll_back(services: Services, language: str, prompt_id: str, body: VersionToRestore) -> Prompt:
    """Put an earlier version in force again."""
    async with services.units.begin() as unit:
        return _prompt(await prompts.roll_back(unit, language, prompt_id, body.version))


async def delete(services: Services, language: str, prompt_id: str) -> None:
    """Delete a prompt with its versions. Where the package has one of the same name, that one counts again; otherwise
    it goes only when no flow and no queue names it.
    """
    async with services.units.begin() as unit:
        await prompts.delete(unit, language, prompt_id, services.prompts())


def routes(registry: Registry) -> None:
    one = "/api/v1/prompts/{language}/{prompt_id}"
    registry.route("GET", "/api/v1/prompts", tag="prompts", roles=STAFF)(find)
    registry.route("GET", "/api/v1/prompt-catalogue", tag="prompts", roles=STAFF)(catalogue)
    registry.route("GET", one, tag="prompts", roles=STAFF)(get)
    registry.route(
        "PUT", one, tag="prompts", content_types=uploads.KINDS, max_body=uploads.MOST_BYTES, roles=ENGINEERS, whole=True
    )(upload)
    registry.route("DELETE", one, tag="prompts", status=204, problems=(409,), roles=ENGINEERS, whole=True)(delete)
    registry.route("GET", one + "/content", tag="prompts", media_type="audio/wav", roles=STAFF)(content)
    registry.route("GET", one + "/versions", tag="prompts", roles=STAFF)(versions)
    registry.route("POST", one + "/rollback", tag="prompts", roles=ENGINEERS, whole=True)(roll_back)
