"""Lookups against a real HTTP server on the loopback, over TLS and without."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pbx.adapters.http.lookups import MAX_ANSWER, HttpLookups
from pbx.domain.commands import Lookup
from pbx.domain.errors import BadValue, LookupFailed
from pbx.domain.public_address import is_public
from pbx.ports.lookups import Answer


class Service:
    """A customer's CRM; ``asked`` is what reached it."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.bodies: list[Any] = []
        self.never = asyncio.Event()
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        match request.path:
            case "/slow":
                await self.never.wait()
            case "/trickle":
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(b'{"a": ')
                await self.never.wait()
            case "/big":
                return web.Response(text='"' + "x" * MAX_ANSWER + '"')
            case "/just-fits":
                return web.Response(text='"' + "x" * (MAX_ANSWER - 2) + '"')
            case "/packed":
                response = web.Response(text='"' + "x" * 10_000_000 + '"')
                response.enable_compression(web.ContentCoding.gzip)
                return response
            case "/text":
                return web.Response(text="no such customer")
            case "/nan":
                return web.Response(text='{"score": NaN}')
            case "/deep":
                return web.Response(text="[" * 30_000)
            case "/latin":
                return web.Response(body=b'{"name": "J\xf6rg"}')
            case "/broken":
                raise web.HTTPInternalServerError
            case "/moved":
                raise web.HTTPFound("/")
            case "/cut":
                assert request.transport is not None
                request.transport.abort()
            case "/cookie":
                response = web.json_response({})
                response.set_cookie("session", "1")
                return response
        if request.can_read_body:
            self.bodies.append(await request.json())
        return web.json_response({"customer": {"name": "Ada"}})

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Service]:
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", self.answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            self.never.set()
            await runner.cleanup()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service().running() as running:
        yield running


def lookup(url: str, method: str = "GET", body: dict[str, str] | None = None, deadline_s: float = 5.0) -> Lookup:
    return Lookup("1", method, url, (("X-Key", "k"),), body, {}, deadline_s)


async def ask(lookups: HttpLookups, request: Lookup) -> Answer | tuple[str, int]:
    try:
        return await lookups.ask(request)
    except LookupFailed as failed:
        return failed.reason, failed.status
    finally:
        await lookups.close()


def allowing(service: Service) -> HttpLookups:
    return HttpLookups([f"http://127.0.0.1:{service.port}"])


async def test_an_answer(service: Service) -> None:
    answer = await ask(allowing(service), lookup(f"http://127.0.0.1:{service.port}/a%2Fb?who=%2B49"))
    assert answer == Answer(200, {"customer": {"name": "Ada"}})
    [request] = service.asked
    assert (request.method, request.raw_path) == ("GET", "/a%2Fb?who=%2B49")
    assert (request.headers["X-Key"], request.headers["Accept"]) == ("k", "application/json")


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_what_is_sent(service: Service, method: str) -> None:
    answer = await ask(allowing(service), lookup(f"http://127.0.0.1:{service.port}/", method, {"account": "4711"}))
    assert isinstance(answer, Answer)
    assert service.asked[0].method == method
    assert service.bodies == [{"account": "4711"}]


@pytest.mark.parametrize(
    ("path", "failure"),
    [
        ("slow", ("deadline", 0)),
        ("trickle", ("deadline", 0)),
        ("big", ("too_big", 200)),
        ("packed", ("not_json", 200)),
        ("text", ("not_json", 200)),
        ("nan", ("not_json", 200)),
        ("deep", ("not_json", 200)),
        ("latin", ("not_json", 200)),
        ("broken", ("status", 500)),
        ("moved", ("status", 302)),
        ("cut", ("unreachable", 0)),
    ],
)
async def test_what_cannot_be_used(service: Service, path: str, failure: tuple[str, int]) -> None:
    deadline_s = 0.3 if failure[0] == "deadline" else 5.0
    url = f"http://127.0.0.1:{service.port}/{path}"
    # A POST, which is not sent again when the connection breaks.
    assert await ask(allowing(service), lookup(url, "POST", {}, deadline_s)) == failure
    assert len(service.asked) == 1  # a redirect is not followed


async def test_the_largest_answer(service: Service) -> None:
    answer = await ask(allowing(service), lookup(f"http://127.0.0.1:{service.port}/just-fits"))
    assert isinstance(answer, Answer)


async def test_nobody_listens(service: Service) -> None:
    lookups = HttpLookups(["http://127.0.0.1:1"])
    assert await ask(lookups, lookup("http://127.0.0.1:1/")) == ("unreachable", 0)


async def test_no_proxy_and_no_cookie(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    lookups = allowing(service)
    await lookups.ask(lookup(f"http://127.0.0.1:{service.port}/cookie"))
    await ask(lookups, lookup(f"http://127.0.0.1:{service.port}/"))
    assert len(service.asked) == 2
    assert "Cookie" not in service.asked[1].headers


# --- where it may go ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]"])
async def test_nothing_private_is_reached_by_any_name(service: Service, host: str) -> None:
    lookups = HttpLookups([f"http://127.0.0.1:{service.port}"])
    assert (await ask(lookups, lookup(f"https://{host}:{service.port}/")))[0] == "not_allowed"  # type: ignore[index]
    assert service.asked == []


async def test_a_name_that_resolves_to_a_private_address_is_not_reached(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the name was when somebody checked it."""
    asked: list[str] = []

    async def rebound(_: Any, host: str, port: int = 0, **__: Any) -> list[Any]:
        asked.append(host)
        return [(2, 1, 6, "", ("127.0.0.1", service.port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", rebound)
    assert await ask(HttpLookups(), lookup("https://crm.example/")) == ("not_allowed", 0)
    assert (asked, service.asked) == (["crm.example"], [])


@pytest.mark.parametrize("origin", ["https://127.0.0.1:{port}", "http://127.0.0.1:1", "http://localhost:{port}"])
async def test_only_the_origins_of_the_settings_are_asked_without_tls(service: Service, origin: str) -> None:
    lookups = HttpLookups([origin.format(port=service.port)])
    assert await ask(lookups, lookup(f"http://127.0.0.1:{service.port}/")) == ("not_allowed", 0)
    assert service.asked == []


@pytest.mark.parametrize(
    "origin", ["crm.internal", "http://", "ftp://x", "http://x/path", "http://u:p@x", "http://[::"]
)
def test_origins_that_are_none(origin: str) -> None:
    with pytest.raises(BadValue, match="lookup_origins"):
        HttpLookups([origin])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1",
        "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "2001:0:a00:1::",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["9.9.9.9", "2620:fe::fe", "64:ff9b::9.9.9.9"])
def test_addresses_that_are(address: str) -> None:
    assert is_public(address)


# --- TLS ------------------------------------------------------------------------------------------------------------


def self_signed(directory: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(here, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = directory / "server.pem"
    path.write_bytes(secret + certificate.public_bytes(pem))
    return path


@pytest.mark.parametrize("trusted", [True, False])
async def test_certificates_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    """Even of a host that the settings allow."""
    path = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    if trusted:
        trusting = ssl.create_default_context(cafile=path)
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    async with Service().running(context) as service:
        lookups = HttpLookups([f"https://127.0.0.1:{service.port}"])
        answer = await ask(lookups, lookup(f"https://127.0.0.1:{service.port}/"))
        assert answer == (Answer(200, {"customer": {"name": "Ada"}}) if trusted else ("certificate", 0))
        assert len(service.asked) == trusted
