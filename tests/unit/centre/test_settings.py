"""Settings and the small rules of the centre that need no server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from orchestrator.adapters.bus.accounts import Listen, Login, render
from orchestrator.config import CentreSettings
from orchestrator.domain import access


def test_plain_http_only_on_loopback_unless_allowed(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        assert CentreSettings(state_dir=tmp_path, api_host=host).api_host == host
    for host in ("0.0.0.0", "198.18.0.1", "::", "centre.example"):
        with pytest.raises(ValidationError, match="CALLPLANE_CENTRE_ALLOW_PLAIN_HTTP"):
            CentreSettings(state_dir=tmp_path, api_host=host)
        assert CentreSettings(state_dir=tmp_path, api_host=host, allow_plain_http=True).allow_plain_http
    with pytest.raises(ValidationError, match="go together"):
        CentreSettings(state_dir=tmp_path, tls_cert=tmp_path / "c.pem")


def test_urls_get_the_asynchronous_driver(tmp_path: Path) -> None:
    def url(given: str) -> str:
        return CentreSettings(state_dir=tmp_path, database_url=SecretStr(given)).sqlalchemy_url()

    assert url("") == f"sqlite+aiosqlite:///{tmp_path}/centre.db"
    assert url("postgresql://u:p@h/n") == "postgresql+asyncpg://u:p@h/n"
    assert url("postgresql+asyncpg://h/n") == "postgresql+asyncpg://h/n"


def test_replicas_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLPLANE_CENTRE_BUS_REPLICAS", "3")
    assert CentreSettings(state_dir=tmp_path).bus_replicas == 3
    for wrong in ("2", "three", ""):
        monkeypatch.setenv("CALLPLANE_CENTRE_BUS_REPLICAS", wrong)
        with pytest.raises(ValidationError, match="bus_replicas"):
            CentreSettings(state_dir=tmp_path)


def test_secrets_do_not_show(tmp_path: Path) -> None:
    settings = CentreSettings(state_dir=tmp_path, database_url=SecretStr("postgresql://u:hush@h/n"))
    assert "hush" not in repr(settings)
    with pytest.raises(ValidationError) as caught:
        CentreSettings(state_dir=tmp_path, bus_url=SecretStr("nats://u:hush@h"), api_port=-1)
    assert "hush" not in str(caught.value)


def test_the_bus_file_gives_each_pop_its_own_subjects(tmp_path: Path) -> None:
    text = render(Listen("127.0.0.1", 4222), tmp_path, 'a"b', [Login("de-1", "UA"), Login("de-2", "UB")])
    centre, one, two = json.loads(text)["authorization"]["users"]
    assert centre == {"user": "centre", "password": 'a"b'}
    assert "de-2" not in json.dumps(one)
    assert "de-1" not in json.dumps(two)
    assert "CONSUMER" not in text


def test_tokens_and_sip_accounts() -> None:
    assert access.new_token() != access.new_token()
    assert len(access.token_hash("x")) == 64
    # printf '1001:callplane:secret' | md5sum
    assert access.ha1("1001", "secret") == "d43ff20333f2c896978fa6c2d8cee1b7"
