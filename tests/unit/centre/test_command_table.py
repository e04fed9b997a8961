"""The command line's table of nouns against the API's own document: nothing in it is unknown to the API, and nothing
of the API is out of its reach by oversight."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.api.app import registry
from orchestrator.api.registry import openapi
from orchestrator.command_line.document import Document
from orchestrator.command_line.noun import FLAGS, Noun, parameters
from orchestrator.command_line.nouns import NOUNS

OPENAPI = openapi(registry(), "Callplane", "1", {})
DOCUMENT = Document(OPENAPI)
PATHS: dict[str, Any] = {path.removeprefix("/api/v1"): methods for path, methods in OPENAPI["paths"].items()}
ELSEWHERE = {
    ("GET", "/session"),  # whoami
    ("DELETE", "/session"),  # logout
    ("POST", "/login"),
    ("POST", "/dids/import"),
    ("POST", "/agents/import"),
    ("POST", "/pops/{pop_id}/drain"),
    ("POST", "/pops/{pop_id}/undrain"),
    ("GET", "/reports/figures"),
    ("GET", "/reports/heat-map"),
    ("GET", "/reports/months/{month}"),
    ("GET", "/reports/months/{month}/csv"),
    ("GET", "/flow-drafts"),
    ("GET", "/flows/{flow_id}/draft"),
    ("PUT", "/flows/{flow_id}/draft"),
    ("POST", "/flows/{flow_id}/check"),
    ("POST", "/flows/{flow_id}/publish"),
    ("GET", "/flows/{flow_id}/versions/{version}"),
    ("GET", "/recordings/{recording_id}/content"),
    ("GET", "/voicemails/{voicemail_id}/content"),
    ("PUT", "/prompts/{language}/{prompt_id}"),
    ("GET", "/prompts/{language}/{prompt_id}/content"),
    ("POST", "/exports"),
    ("GET", "/erasures"),
    ("POST", "/erasures"),
    ("GET", "/erasures/{erasure_id}"),
    ("POST", "/erasures/{erasure_id}/continue"),
    ("GET", "/erasures/{erasure_id}/certificate"),
    ("GET", "/erasures/{erasure_id}/certificate/text"),
    ("GET", "/certificate-key"),
    ("GET", "/retention-plan"),
    ("GET", "/calls/{call_id}/correction"),
    ("PUT", "/calls/{call_id}/correction"),
}
"""Commands with a file of their own."""
BY_API = {
    ("GET", "/login/oidc"),  # for browsers
    ("GET", "/login/oidc/callback"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("POST", "/flows"),  # flows are drafted and published
    ("PUT", "/flows/{flow_id}"),
    ("GET", "/prompt-catalogue"),
    ("POST", "/recordings/{recording_id}/link"),  # for players
    ("POST", "/voicemails/{voicemail_id}/link"),
}
"""What ``callplane api`` is for."""
VERBS = {"show": "GET", "update": "PUT", "delete": "DELETE"}


def of_noun(noun: Noun) -> set[tuple[str, str]]:
    found = {("GET", noun.every)} | {(action.method, action.path.partition("?")[0]) for action in noun.actions}
    if "create" in noun.verbs:
        found.add(("POST", noun.every))
    return found | {(method, noun.one or "") for verb, method in VERBS.items() if verb in noun.verbs}


@pytest.mark.parametrize("noun", NOUNS.values(), ids=NOUNS.keys())
def test_the_api_has_what_the_noun_names(noun: Noun) -> None:
    for method, path in of_noun(noun):
        assert method.lower() in PATHS[path], (method, path)
    if noun.columns:
        asked = [p["name"] for p in PATHS[noun.every]["get"]["parameters"] if p["in"] == "query"]
        assert set(asked) - {"limit", "cursor"} == set(noun.filters)
        assert noun.paged == ("cursor" in asked)
        flags = {
            p["name"]
            for p in PATHS[noun.every]["get"]["parameters"]
            if p["schema"].get("anyOf", [{}])[0].get("type") == "boolean"
        }
        assert flags == set(noun.filters) & FLAGS
        fields = item_of(noun.every)
        plain = [column.value for column in noun.columns if isinstance(column.value, str)]
        assert set(plain) <= set(fields)


def item_of(path: str) -> set[str]:
    answer = PATHS[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    items = DOCUMENT.resolved(answer)["properties"]["items"]["items"]
    return set(DOCUMENT.resolved(items)["properties"])


@pytest.mark.parametrize("noun", NOUNS.values(), ids=NOUNS.keys())
def test_actions_ask_for_what_the_api_takes(noun: Noun) -> None:
    for action in noun.actions:
        path, _, fixed = action.path.partition("?")
        names = {argument.name for argument in action.arguments}
        if action.method == "GET":
            asked = {p["name"] for p in PATHS[path]["get"]["parameters"] if p["in"] == "query"}
            assert names | {pair.partition("=")[0] for pair in fixed.split("&") if pair} == asked - {"limit", "cursor"}
        else:
            body = DOCUMENT.body(action.method, path)
            assert names == body.names, action.verb
            if names:
                needed = {field.name for field in body.fields() if field.required}
                assert needed <= {argument.name for argument in action.arguments if argument.needed}
        if action.columns:
            plain = {column.value for column in action.columns if isinstance(column.value, str)}
            assert plain <= item_of(path)


def test_no_route_is_out_of_reach_by_oversight() -> None:
    reached = {pair for noun in NOUNS.values() for pair in of_noun(noun)}
    there = {(method.upper(), path) for path, methods in PATHS.items() for method in methods}
    assert there - reached == ELSEWHERE | BY_API


def test_a_noun_is_known_by_what_is_in_its_paths() -> None:
    for noun in NOUNS.values():
        if noun.one is not None:
            assert set(parameters(noun.every)) < set(parameters(noun.one))


def test_secrets_are_known_from_the_document() -> None:
    secret = {
        (path, field.name)
        for path, methods in PATHS.items()
        for method in methods
        if method in ("post", "put")
        for field in DOCUMENT.body(method, path).fields()
        if field.secret
    }
    assert secret == {
        ("/login", "password"),
        ("/users", "password"),
        ("/users/{user_id}", "password"),
        ("/webhooks", "secret"),
        ("/pops/{pop_id}/trunks", "password"),
        ("/pops/{pop_id}/trunks/{name}", "password"),
    }


@pytest.mark.parametrize(
    ("place", "text", "value"),
    [
        ("phone_id", "1001", "1001"),
        ("extension", "null", None),
        ("cost", "23.5", 23.5),
        ("supervises", "true", True),
        ("skills", "{lang:de: 5}", {"lang:de": 5}),
        ("skills.lang:de", "5", 5),
        ("shifts_id", "null", None),
        ("nothing", "no", "no"),
    ],
)
def test_values_are_of_their_fields_kind(place: str, text: str, value: Any) -> None:
    assert DOCUMENT.body("POST", "/agents").value(place, text) == value
