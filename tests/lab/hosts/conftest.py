"""One installed site for all tests of this directory, which run in the order of their files' names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.lab.hosts.centre import Centre
from tests.lab.hosts.site import Run, SiteOfLab
from tests.lab.lab import Lab


@pytest.fixture(scope="session")
def site() -> Iterator[SiteOfLab]:
    """The machines, bare."""
    with Lab.start() as lab, SiteOfLab.start(lab) as running:
        yield running


@pytest.fixture(scope="session")
def installed(site: SiteOfLab) -> Run:
    """The run of `site.yml` that made them a site."""
    run = site.play("site")
    print(f"site seconds={run.seconds:.0f}, of these:")
    print(run.longest(12))
    return run


@pytest.fixture(scope="session")
def configured(site: SiteOfLab, installed: Run) -> None:
    """Numbers, flows and a queue at the centre."""

    async def configure() -> None:
        async with Centre.open(site) as centre:
            await centre.configure()

    asyncio.run(configure())


@pytest.fixture
async def centre(site: SiteOfLab, configured: None) -> AsyncIterator[Centre]:
    async with Centre.open(site) as opened:
        yield opened
