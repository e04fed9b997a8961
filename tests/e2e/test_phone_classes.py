"""Agents' phones of different classes, named over REST: codecs of a narrow line, and a browser, each in a real call."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from dialplans.endpoints import PhoneClass
from dialplans.schema import Pop
from tests.dialplans.certificates import certificate
from tests.lab.asterisk import AsteriskServer
from tests.lab.audio import tone_level_db
from tests.lab.flows import QUEUE_FLOW
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.phone import Account, Phone
from tests.lab.stack import POP_ID, Stack
from tests.support import browser

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLER_HZ, AGENT_HZ = 1000, 600
PRESENT_DB, ABSENT_DB = -35.0, -50.0
WSS_PORT = 8443
REGISTER = """REGISTER sip:pop SIP/2.0
Via: SIP/2.0/WSS page.invalid;branch=z9hG4bKpage
From: <sip:page@pop>;tag=page
To: <sip:page@pop>
Call-ID: page
CSeq: 1 REGISTER
Contact: <sip:page@page.invalid;transport=ws>
Max-Forwards: 70
Content-Length: 0

"""
CLASSES = {"wide": PhoneClass(codecs=["g722", "alaw"])}


def tls_dir(settings: Pop) -> Path:
    return Path(settings.recording_dir).parent / "tls"


def cli(stack: Stack, command: str) -> str:
    assert isinstance(stack.server, AsteriskServer)
    return stack.server.cli(command)


def put_certificate(directory: Path, address: str) -> None:
    private, public = certificate(address)
    for name, data in (("key.pem", private), ("cert.pem", public), ("ca.pem", public)):
        (directory / name).write_bytes(data)
        (directory / name).chmod(0o644)


def adapted(settings: Pop, _carrier: Host) -> Pop:
    directory = tls_dir(settings)
    directory.mkdir()
    put_certificate(directory, settings.sip_address)
    return settings.model_copy(
        update={"tls_dir": str(directory), "wss_port": WSS_PORT, "phone_classes": CLASSES, "tls_minimum": "1.2"}
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(lab: Lab) -> AsyncIterator[Stack]:
    env = {
        "CALLPLANE_POP_BROWSERS": "true",
        "CALLPLANE_POP_PHONE_CLASSES": json.dumps({name: one.model_dump() for name, one in CLASSES.items()}),
    }
    async with Stack.start(lab, QUEUE_FLOW, adapted=adapted, more_env=env) as started:
        yield started
        started.server.wait_idle()


@pytest.mark.parametrize(
    ("kind", "phone_codecs", "offered", "spoken"),
    [
        ("low-bandwidth", ("PCMA/8000/1", "GSM/8000/1"), "3 101", "gsm"),
        ("wide", ("PCMA/8000/1", "G722/16000/1"), "9 8 101", "g722"),
        (None, ("PCMU/8000/1", "PCMA/8000/1"), "8 0 101", "alaw"),
    ],
)
async def test_a_phone_gets_the_codecs_of_its_class(
    stack: Stack, kind: str | None, phone_codecs: tuple[str, ...], offered: str, spoken: str
) -> None:
    name = kind or "plain"
    agent = await stack.add_agent(name, phone_class=kind)
    await stack.synced()
    server = f"{stack.pop.address}:{stack.settings.sip_port}"
    uri = f"sip:{name}@{stack.pop.address}"
    account = Account(uri=uri, server=server, password=agent.password, answer="auto", codecs=phone_codecs)
    async with Phone.start(stack.phones, name, tone_hz=AGENT_HZ, account=account) as phone:
        await phone.wait_registered()
        await stack.status(name, "AVAILABLE")
        async with stack.caller(f"caller-{name}", tone_hz=CALLER_HZ) as caller:
            await phone.wait_for("CALL_ESTABLISHED", deadline_s=20)
            await caller.hears(AGENT_HZ, deadline_s=10)
            await phone.hears(CALLER_HZ, deadline_s=10)
            statistics = cli(stack, "pjsip show channelstats").splitlines()
            await caller.hang_up()
            await phone.wait_for("CALL_CLOSED")
        await stack.status(name, "LOGGED_OUT")
    invite = phone.process.log_text().replace("\r", "").partition("\nINVITE ")[2]
    media = invite.partition("\nm=audio ")[2].splitlines()
    assert media[0].partition("AVP ")[2] == offered
    [line] = [line for line in statistics if f" {name}-" in line]
    assert line.split()[3] == spoken


async def test_a_browser_takes_a_call(stack: Stack) -> None:
    agent = await stack.add_agent("web", phone_class="browser")
    await stack.synced()
    ca = (tls_dir(stack.settings) / "ca.pem").read_bytes()
    with browser.phone(stack.phones, stack.pop.address, WSS_PORT, ca, agent.phone_id, agent.password, AGENT_HZ) as page:
        connected = await asyncio.to_thread(page.wait_for, "connected")
        assert (connected["tls"], connected["subprotocol"]) == ("TLSv1.3", "sip")
        await asyncio.to_thread(page.wait_for, "registered")
        await stack.status("web", "AVAILABLE")
        async with stack.caller("caller-web", tone_hz=CALLER_HZ) as caller:
            await asyncio.to_thread(page.wait_for, "media", state="connected")
            await caller.hears(AGENT_HZ, deadline_s=10)
            samples, rate = await asyncio.to_thread(page.heard)
            await caller.hang_up()
            await asyncio.to_thread(page.wait_for, "closed")
        await stack.status("web", "LOGGED_OUT")
    said = {one["event"]: one for one in page.events()}
    offer = said["called"]["offer"]
    assert "UDP/TLS/RTP/SAVPF 8 0 " in offer
    assert "a=fingerprint:SHA-256 " in offer
    assert "a=crypto:" not in offer
    assert said["heard"]["dtls"] == "connected"
    assert tone_level_db(samples[rate // 2 :], rate, CALLER_HZ) > PRESENT_DB
    assert tone_level_db(samples[rate // 2 :], rate, AGENT_HZ) < ABSENT_DB


async def test_of_the_http_server_only_the_socket_is_there(stack: Stack) -> None:
    """ARI has a password, and is nobody's but the controller's all the same."""
    ca = (tls_dir(stack.settings) / "ca.pem").read_text()
    trusting = ssl.create_default_context(cadata=ca)
    where = f"https://{stack.pop.address}:{WSS_PORT}"
    ari = {"Authorization": aiohttp.encode_basic_auth(stack.settings.ari_user, stack.settings.ari_password)}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
        for path in ("/ari/asterisk/info", "/ari/api-docs/resources.json", "/httpstatus", "/static/", "/"):
            async with session.get(where + path, headers=ari) as response:
                assert response.status in (403, 404), (path, response.status)
    # What listens there speaks TLS; in the clear it is heard on the host itself only.
    listening = stack.pop.run(["ss", "-Hltnp"], rootfs=False).stdout.splitlines()
    of_server = {line.split()[3] for line in listening if '"asterisk"' in line}
    assert {one for one in of_server if not one.startswith("127.0.0.1:")} == {
        f"{stack.pop.address}:{port}" for port in (WSS_PORT, 5061)
    }


async def test_a_renewed_certificate_is_shown_and_connections_stay(stack: Stack) -> None:
    where, directory = (stack.pop.address, WSS_PORT), tls_dir(stack.settings)
    before = await asyncio.to_thread(ssl.get_server_certificate, where)
    trusting = ssl.create_default_context(cadata=(directory / "ca.pem").read_text())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
        url = f"wss://{stack.pop.address}:{WSS_PORT}/ws"
        async with session.ws_connect(url, protocols=["sip"], heartbeat=5) as page:
            put_certificate(directory, stack.pop.address)
            cli(stack, "module reload http")
            end = asyncio.get_running_loop().time() + 10
            while await asyncio.to_thread(ssl.get_server_certificate, where) == before:
                assert asyncio.get_running_loop().time() < end, "the former certificate is still shown"
            await page.send_str(REGISTER.replace("\n", "\r\n"))
            assert (await page.receive_str(timeout=5)).startswith("SIP/2.0 401 ")


async def test_a_class_that_the_pop_has_not_is_named(stack: Stack) -> None:
    agent = await stack.add_agent("lost", phone_class="sattelite")

    def told(pop: dict[str, object]) -> bool:
        return "phone_class" in str(pop)

    pop = await stack.api.until(f"pops/{POP_ID}", told)
    assert f"agent.{agent.agent_id}" in str(pop)
    assert "is none of this POP's: browser, desk, low-bandwidth, wide" in str(pop)
    await stack.api.ask("DELETE", f"agents/{agent.agent_id}")
    await stack.synced()
