"""The page at /docs: from this package alone, with a policy that lets it reach nothing else."""

from __future__ import annotations

import re

from tests.integration.centre.support import Api

FILES = {"/docs": "text/html", "/docs/docs.css": "text/css", "/docs/docs.js": "text/javascript"}


async def test_the_page_needs_no_token_and_nothing_from_outside(api: Api) -> None:
    for path, kind in FILES.items():
        async with api.session.get(path, headers={"Authorization": ""}) as response:
            text = await response.text()
            assert response.status == 200
            assert response.headers["Content-Type"] == f"{kind}; charset=utf-8"
            policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            tag = response.headers["ETag"]
        assert not re.search(r"(https?:)?//[a-z]", re.sub(r"^\s*//.*$", "", text, flags=re.M)), path
        assert not re.search(r"\b(localStorage|sessionStorage|indexedDB|cookie|innerHTML|eval)\b", text), path
        async with api.session.get(path, headers={"If-None-Match": tag}) as response:
            assert response.status == 304


async def test_the_page_has_no_script_or_style_that_the_policy_would_stop(api: Api) -> None:
    async with api.session.get("/docs") as response:
        text = await response.text()
    assert re.findall(r'(?:src|href)="([^"]+)"', text) == ["docs/docs.css", "docs/docs.js", "api/v1/openapi.json"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text)


async def test_the_document_says_what_fields_are(api: Api) -> None:
    schemas = (await api.get("/openapi.json")).body["components"]["schemas"]
    assert "recordings of this number" in schemas["DidSpec"]["properties"]["region"]["description"]
    assert "Heartbeat" not in schemas
    assert (
        schemas["Did"]["properties"]["region"]["description"]
        == schemas["DidSpec"]["properties"]["region"]["description"]
    )


async def test_the_document_declares_conditions(api: Api) -> None:
    paths = (await api.get("/openapi.json")).body["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            named = {one["name"] for one in operation["parameters"] if one["in"] == "header"}
            if method == "post" and operation["security"]:
                assert "Idempotency-Key" in named, path
                assert "409" in operation["responses"]
            if "If-Match" in named:
                assert method in ("put", "delete")
                assert "412" in operation["responses"]
                assert "ETag" in operations["get"]["responses"]["200"]["headers"]
    changes = [path for path, operations in paths.items() for method in operations if method in ("put", "delete")]
    assert len(changes) > 25
