"""Every route, every role, every scope: who may, who may not, and that nothing of others is seen or changed."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from sqlalchemy import MetaData

from orchestrator.adapters.db.models import Base
from orchestrator.api.access import STAFF
from orchestrator.api.app import registry
from orchestrator.api.registry import Route
from orchestrator.bootstrap import Centre
from orchestrator.domain.grants import Role
from tests.integration.centre.access_world import (
    BY_REGION,
    BY_UNIT,
    OF_EVERY_REGION,
    OF_WHO_ASKED,
    PLACES,
    SCOPES,
    SHARED,
    WEEK,
    Place,
    Scope,
    World,
    flow_of,
    make_world,
)
from tests.integration.centre.support import Api, agent, did

ROUTES = [route for route in registry().routes if not route.public]
UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
NO_PLACE = frozenset({"token_id", "user_id", "policy_id"})
"""Of nouns that belong to no unit: only who may do everything reaches them."""
ANY_PLACE = {"month": "2026-10", **SHARED}
"""Of what is there for everybody. What each may see of a month: test_reports.py."""


@pytest.fixture
async def world(api: Api, centre: tuple[Centre, str]) -> World:
    return await make_world(api, centre[0])


def filled(route: Route, ids: dict[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] in ANY_PLACE:
            return ANY_PLACE[found[1]]
        assert found[1] in ids, f"access_world.py has to say what {found[1]} is: {route.method} {route.path}"
        return ids[found[1]]

    return re.sub(r"{(\w+)}", value, route.path)


async def status(world: World, method: str, path: str, headers: dict[str, str], body: Any = None) -> int:
    """Of the answer, whose body may be a stream."""
    async with world.api.session.request(method, path, headers=headers, json=body) as response:
        return response.status


def bodies(place: Place) -> dict[str, Any]:
    """Model of a body -> a good one, that changes something of the place."""
    ids, unit = place.ids, place.unit
    return {
        "UnitChange": {"name": "Renamed"},
        "PopChange": {"name": "Renamed", "country": "DE", "region": place.region},
        "DidChange": {
            k: v for k, v in did(pop_id=ids["pop_id"], flow_id=ids["flow_id"], unit_id=unit).items() if k != "number"
        },
        "AgentChange": agent(pop_id=ids["pop_id"], unit_id=unit, name="Renamed"),
        "AgentStatus": {"status": "AVAILABLE"},
        "MoreWrapUp": {"by_s": 5},
        "QueueChange": {"name": "Renamed", "unit_id": unit},
        "FlowChange": {"graph": flow_of(unit)},
        "VersionToRestore": {"version": 1},
        "DraftChange": {"graph": flow_of(unit), "draft_revision": 1},
        "DraftToPublish": {"draft_revision": 1},
        "SupervisionSpec": {"agent_id": ids["agent_id"], "mode": "listen"},
        "Consulted": {"agent_id": ids["agent_id"]},
        "ParkSpec": {},
        "TransferTarget": {"queue_id": ids["queue_id"]},
        "RetrievalSpec": {"agent_id": ids["agent_id"]},
        "TrunkChange": {"host": "203.0.113.9", "addresses": ["203.0.113.9"]},
        "TrunkSpec": {"name": "more", "host": "203.0.113.9", "addresses": ["203.0.113.9"]},
        "WebhookChange": {"url": "https://crm.example.org", "events": ["CallEnded"], "unit_id": unit},
        "SecretRenewal": {},
        "RegionChange": {"name": "Renamed"},
        "SkillChange": {"name": "Renamed"},
        "HoursChange": {**WEEK, "name": "Renamed"},
        "ShiftsChange": {**WEEK, "name": "Renamed"},
        "HolidaysChange": {"name": "Renamed", "days": []},
        "ConsentPolicyChange": {"name": "Renamed", "floor": "notice"},
        "HoldLifted": {"why": "settled"},
        "CorrectionSpec": {"name": "Renamed"},
    }


def body_for(route: Route, place: Place) -> Any:
    if route.body is None:
        return None
    known = bodies(place)
    assert route.body.__name__ in known, f"say what a good {route.body.__name__} is: {route.method} {route.path}"
    return known[route.body.__name__]


@pytest.mark.parametrize("role", list(Role))
async def test_a_route_is_for_its_roles_and_no_others(world: World, role: Role) -> None:
    caller = await world.caller(role, Scope())
    unknown = dict.fromkeys((*world.places[PLACES[0]].ids, *NO_PLACE), UNKNOWN)
    let_in = 0
    for route in sorted(ROUTES, key=lambda route: route.path == "/api/v1/session"):  # last: its DELETE ends the token
        got = await status(world, route.method, filled(route, unknown), caller, None if route.body is None else {})
        may = role in route.needs.roles and not (role is Role.AGENT and route.needs.whole)
        assert (got != 403) is may, (route.method, route.path, got)
        assert got not in (401, 500), (route.method, route.path)
        let_in += may
    assert 0 < let_in <= len(ROUTES)


def reach(route: Route, scope: Scope, place: Place) -> str:
    """``outside``: it is not there for this caller; ``fixed``: it is seen, but for others too, who forbid a change."""
    noun = route.parameters[0]
    if noun in ANY_PLACE:
        return "inside"
    if noun in OF_WHO_ASKED:
        return "outside"
    if noun in OF_EVERY_REGION:
        return "inside" if scope.unit(place) and scope.regions is None else "outside"
    if noun in BY_REGION:
        return "outside" if not scope.region(place) else "fixed" if scope.units is not None else "inside"
    if noun in BY_UNIT:
        return "outside" if not scope.unit(place) else "fixed" if scope.regions is not None else "inside"
    return "inside" if scope.unit(place) and scope.region(place) else "outside"


async def contents(centre: Centre) -> dict[str, list[Any]]:
    """Everything in the database that a change would change."""
    assert centre.database is not None
    metadata: MetaData = Base.metadata
    found = {}
    async with centre.database.read() as session:
        for table in metadata.sorted_tables:
            if table.name not in ("audit_log", "audit_head", "config_outbox"):
                rows = (await session.execute(table.select())).all()
                found[table.name] = sorted(str(row) for row in rows if table.name != "pops" or row.pop_id)
    return {name: [re.sub(r"'?heartbeat.*", "", text) for text in rows] for name, rows in found.items()}


def wanted(route: Route, role: Role, scope: Scope, place: Place) -> set[int] | None:
    """Statuses; None where a change would succeed."""
    if route.needs.whole:
        return {403}
    where = "outside" if role is Role.AGENT else reach(route, scope, place)
    if where == "outside":
        return {404}
    if route.method == "GET" or route.path.endswith("/check"):
        return {200, 409, 503}
    return {403, 409} if where == "fixed" else None


@pytest.mark.parametrize("name", list(SCOPES))
async def test_what_is_outside_the_scope_is_not_there(world: World, name: str) -> None:
    """One table: every route that names a thing, every role that may use it, things of every unit and region."""
    scope, own = SCOPES[name], world.places["sales", "eu"]
    callers = {role: await world.caller(role, scope) for role in Role}
    before = await contents(world.centre)
    seen = {200: 0, 403: 0, 404: 0}
    for route in ROUTES:
        if not route.parameters or route.parameters[0] in NO_PLACE:
            continue
        for role, place in itertools.product(sorted(route.needs.roles), world.places.values()):
            want = wanted(route, role, scope, place)
            no_such_unit = place.unit is None and "unit_id" in route.parameters
            agents_own = role is Role.AGENT and (place is own or "unit_id" in route.parameters)
            if want is None or no_such_unit or agents_own:
                continue
            got = await status(world, route.method, filled(route, place.ids), callers[role], body_for(route, place))
            assert got in want, (role, place.name, route.method, route.path, got)
            seen[got] = seen.get(got, 0) + 1
    assert seen[200] > 50
    assert seen[403] > 5
    assert seen[404] > 100
    assert await contents(world.centre) == before


@pytest.mark.parametrize("name", list(SCOPES))
async def test_lists_show_what_the_scope_contains(world: World, name: str) -> None:
    scope = SCOPES[name]
    callers = {role: await world.caller(role, scope) for role in STAFF}
    listing = [r for r in ROUTES if r.method == "GET" and not r.parameters and r.response is not None]
    lists = [r for r in listing if r.response is not None and "items" in r.response.model_fields]
    # No lists of things (test_reports.py), and what no POP says here (test_access_named.py).
    lists = [r for r in lists if "/reports/" not in r.path and not r.path.endswith("/waiting-calls")]
    shown = 0
    for route in lists:
        noun = next((n for n in _KEYS if route.path.endswith(_KEYS[n])), None)
        for role in sorted(route.needs.roles & STAFF):
            async with world.api.session.get(route.path, headers=callers[role]) as response:
                if route.needs.whole:
                    assert response.status == 403, route.path
                    continue
                assert response.status == 200, route.path
                text = await response.text()
            assert noun is not None, f"say which noun {route.path} lists"
            for place in world.places.values():
                inside = _visible(noun, scope, place)
                there = f'"{ANY_PLACE.get(noun) or place.ids[noun]}"' in text
                assert there is inside, (role, route.path, place.name)
                shown += there
    assert shown > 20


_KEYS: dict[str, str | tuple[str, ...]] = {
    "unit_id": "/units",
    "pop_id": "/pops",
    "number": "/dids",
    "agent_id": "/agents",
    "queue_id": "/queues",
    "flow_id": ("/flows", "/flow-drafts"),
    "call_id": "/calls",
    "recording_id": "/recordings",
    "voicemail_id": "/voicemails",
    "callback_id": "/callbacks",
    "webhook_id": "/webhooks",
    "delivery_id": "/webhook-deliveries",
    "hold_id": "/holds",
    "mark_id": "/minor-marks",
    "erasure_id": "/erasures",
    "region_id": "/regions",
    "skill_id": "/skills",
    "hours_id": "/hours",
    "shifts_id": "/shifts",
    "holidays_id": "/holidays",
    "consent_policy_id": "/consent-policies",
    "role": "/roles",
    "country": "/countries",
    "prompt_id": "/prompts",
}


def _visible(noun: str, scope: Scope, place: Place) -> bool:
    if noun in ANY_PLACE:
        return True
    if noun in OF_WHO_ASKED:
        return False
    if noun in OF_EVERY_REGION:
        return scope.unit(place) and scope.regions is None
    if noun in BY_REGION:
        return scope.region(place)
    if noun in BY_UNIT:
        return scope.unit(place) and not (noun == "unit_id" and place.unit is None)
    return scope.unit(place) and scope.region(place)
