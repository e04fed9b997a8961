"""Routes say who may use them, or the centre does not start."""

from __future__ import annotations

import pytest
from aiohttp import web

from orchestrator.api.access import ADMINS, Undeclared
from orchestrator.api.app import registry
from orchestrator.api.registry import Registry, openapi
from orchestrator.domain.grants import Role
from orchestrator.services.context import Services


async def nothing(services: Services) -> None:
    """Nothing."""


def test_every_route_says_who_may_use_it() -> None:
    registry().check()


@pytest.mark.parametrize("declared", [{}, {"public": True, "roles": ADMINS}])
def test_a_route_that_says_nothing_or_both_keeps_the_centre_from_starting(declared: dict[str, bool]) -> None:
    made = Registry()
    made.route("GET", "/api/v1/quiet", tag="x", **declared)(nothing)  # type: ignore[arg-type]
    with pytest.raises(Undeclared, match="GET /api/v1/quiet"):
        made.install(web.Application())


LINKED = {f"/api/v1/{noun}/content" for noun in ("recordings/{recording_id}", "voicemails/{voicemail_id}")}
"""What a player may read by a sealed link, without a token."""


def test_the_document_names_the_roles() -> None:
    document = openapi(registry(), "Callplane", "1", {})
    roles = set(Role)
    public = set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if operation["security"] == []:
                public.add(path)
                continue
            by_link = path in LINKED
            assert operation["security"] == [{"token": []}, {"link": []}][: 1 + by_link], path
            assert operation["x-roles"], path
            assert set(operation["x-roles"]) <= roles, path
            assert {"401", "403", "429"} <= set(operation["responses"]), path
    assert public >= {"/health", "/api/v1/health"}
