"""The API against its own OpenAPI document, by schemathesis: on both databases no server error, and no answer that the
document does not allow."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from orchestrator.bootstrap import Centre
from tests.integration.centre.support import Api, agent

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
)
BUDGET_S = 75
"""Of the whole run, by schemathesis' own clock; what it has not come to by then is left out."""


CONFIG = """
hooks = "tests.support.schemathesis_hooks"
warnings = false

[checks.not_a_server_error]
# 503 and 504 are answers of the document's: the POP that is to do it is not there.
expected-statuses = ["2xx", "3xx", "4xx", "503", "504"]
"""
ROOT = Path(__file__).parents[3]


@pytest.mark.timeout(240)
async def test_the_api_does_what_its_document_says(api: Api, centre: tuple[Centre, str], tmp_path: Path) -> None:
    await api.new_site()
    await api.made("/agents", agent())
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run"),
        f"http://127.0.0.1:{centre[0].port}/api/v1/openapi.json",
        *("--header", f"Authorization: Bearer {centre[1]}"),
        *("--header", "X-Purpose: a test"),
        *("--exclude-path", "/api/v1/events"),  # it never ends
        *("--exclude-operation-id", "tokens_delete"),  # it would end the run's own token
        *("--exclude-operation-id", "login_log_out"),  # and so would this
        *("--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS)),
        *("--max-examples", "6", "--max-time", str(BUDGET_S), "--generation-deterministic"),
        *("--request-timeout", "20", "--no-color", "--suppress-health-check", "all"),
    ]
    run = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    told = (await run.communicate())[0].decode()
    assert run.returncode == 0, told[-20_000:]
    assert "Coverage (in" in told  # it has come to every operation at least once
