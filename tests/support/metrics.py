"""What a program shows at ``/metrics``, read by Prometheus' own parser."""

from __future__ import annotations

import re

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

PERSONAL = re.compile(r"\+?\d{7,}|[0-7][0-9A-HJKMNP-TV-Z]{25}")
"""What looks like a phone number, or like the id of a call, an agent or an offer."""


class Scrape:
    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels. Fails when there is none."""
        found = [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        assert found, f"no sample {name} with {labels} among {sorted(self.families)}"
        return sum(found)

    def has(self, name: str, **labels: str) -> bool:
        """Whether there is such a sample, and it is not 0."""
        samples = (sample for family in self.families.values() for sample in family.samples)
        return any(s.name == name and labels.items() <= s.labels.items() and s.value for s in samples)

    def label_values(self) -> set[str]:
        samples = (sample for family in self.families.values() for sample in family.samples)
        return {value for sample in samples for name, value in sample.labels.items() if name != "version"}

    def personal(self, *more: str) -> list[str]:
        """Label values that look like a number or an id, or are one of ``more``."""
        return [value for value in sorted(self.label_values()) if PERSONAL.search(value) or value in more]


async def scrape(url: str) -> Scrape:
    async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        return Scrape(await answer.text())


async def ready(url: str) -> tuple[int, dict[str, str]]:
    """Status and parts."""
    async with aiohttp.ClientSession() as session, session.get(url + "/ready") as answer:
        return answer.status, (await answer.json())["parts"]
