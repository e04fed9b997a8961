"""/api/v1/countries: the country packs."""

from __future__ import annotations

import asyncio
import re

from pydantic import Field

from dialplans.pack import countries, load_pack, packs
from orchestrator.api.access import STAFF
from orchestrator.api.named_schemas import Country, CountrySummary, country_fields
from orchestrator.api.registry import Registry
from orchestrator.api.schemas import PageOf, PageQuery
from orchestrator.domain.problems import NotFound
from orchestrator.services.context import Services
from orchestrator.services.paging import cursor


class CountryQuery(PageQuery):
    language: str | None = Field(default=None, max_length=35)
    recording_regime: str | None = Field(default=None, max_length=15)


async def find(services: Services, query: CountryQuery) -> PageOf[CountrySummary]:
    """List countries that there is a pack for."""
    after = query.page().after or ""
    found = [CountrySummary.model_validate(country_fields(pack)) for pack in (await asyncio.to_thread(packs)).values()]
    chosen = [
        one
        for one in found
        if one.country > after
        and query.language in (None, *one.languages)
        and query.recording_regime in (None, one.recording_regime)
    ]
    shown = chosen[: query.limit]
    more = cursor(shown[-1].country) if len(chosen) > len(shown) else None
    return PageOf[CountrySummary](items=shown, next_cursor=more)


async def get(services: Services, country: str) -> Country:
    """A country's pack: every fact with its source and confidence."""
    if not re.fullmatch("[A-Z]{2}", country) or country not in countries():
        raise NotFound("country", country)
    pack = await asyncio.to_thread(load_pack, country)
    return Country.model_validate({**country_fields(pack), "pack": pack})


def routes(registry: Registry) -> None:
    registry.route("GET", "/api/v1/countries", tag="countries", roles=STAFF)(find)
    registry.route("GET", "/api/v1/countries/{country}", tag="countries", roles=STAFF)(get)
