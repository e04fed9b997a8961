"""Which prompts there are: those of the package and those that were uploaded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from orchestrator.adapters.db.models import PromptRow


async def there(session: AsyncSession, packaged: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Language -> ids of the prompts there are in it."""
    found: dict[str, set[str]] = defaultdict(set)
    for language, ids in packaged.items():
        found[language].update(ids)
    for language, prompt_id in await session.execute(select(PromptRow.language, PromptRow.prompt_id)):
        found[language].add(prompt_id)
    return {language: frozenset(ids) for language, ids in found.items()}
