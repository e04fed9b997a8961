"""Agents' browsers, classes of phones and SIP timers on installed hosts, and the certificate that browsers believe, got
from a real ACME server and renewed while a browser talks."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.lab.errors import wait_until
from tests.lab.hosts import acme
from tests.lab.hosts.acme import Authority
from tests.lab.hosts.capture import capturing, unevenness
from tests.lab.hosts.centre import ASTERISK, Agent, Centre
from tests.lab.hosts.handshake import shown
from tests.lab.hosts.site import SiteOfLab
from tests.lab.phone import Phone
from tests.support import browser
from tests.support.browser import Browser

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(1800)]

WSS_PORT = 8443
NAME = "pop1.example"
ACME_CA = "/etc/ssl/lab-acme.pem"


def setting(site: SiteOfLab, machine: str, endpoint: str, name: str) -> str:
    """What the media server of ``machine`` says of an endpoint."""
    lines = site.machine(machine).run(f"{ASTERISK} 'pjsip show endpoint {endpoint}'").stdout.splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name)


async def test_classes_of_phones_and_timers_count(site: SiteOfLab, centre: Centre) -> None:
    await centre.add_agent("pop1", "sally", phone_class="satellite")
    await centre.add_agent("pop1", "dirk")
    assert setting(site, "pop1", "sally", "allow") == "(gsm|alaw)"
    assert setting(site, "pop1", "sally", "rtp_timeout") == "120"
    assert setting(site, "pop1", "sally", "timers") == "no"
    assert setting(site, "pop1", "dirk", "allow") == "(alaw|ulaw)"
    for endpoint in ("dirk", "carrier"):
        assert setting(site, "pop1", endpoint, "rtp_timeout") == "60"
        assert setting(site, "pop1", endpoint, "timers_sess_expires") == "900"
        assert setting(site, "pop1", endpoint, "timers_min_se") == "120"


@asynccontextmanager
async def talking(
    centre: Centre, agent: Agent, ca: bytes, name: str | None = None
) -> AsyncIterator[tuple[Phone, Browser]]:
    """A caller of the carrier (1000 Hz) and an agent's browser (600 Hz) at pop1."""
    phones, address = centre.site.hosts["phones"], centre.site.machine("pop1").address
    with browser.phone(phones, address, WSS_PORT, ca, agent.phone_id, agent.password, 600, name) as page:
        await asyncio.to_thread(page.wait_for, "registered")
        await centre.available(agent)
        async with centre.caller("pop1", name=f"to-{agent.phone_id}") as caller:
            await caller.wait_for("CALL_ESTABLISHED", deadline_s=30)
            await asyncio.to_thread(page.wait_for, "media", state="connected")
            assert await caller.hears(600, deadline_s=20)
            yield caller, page


async def test_a_browser_registers_and_talks_and_nothing_of_it_is_clear(site: SiteOfLab, centre: Centre) -> None:
    agent = await centre.add_agent("pop1", "wanda", phone_class="browser")
    ca, address = (site.ca_dir / "ca.pem").read_bytes(), site.machine("pop1").address
    with capturing(site.hosts["phones"], "browser") as cable:
        async with talking(centre, agent, ca) as (_, page):
            await asyncio.to_thread(cable.wait_for_sound, address, 100)
            assert (await asyncio.to_thread(page.wait_for, "heard"))["dtls"] == "connected"
    said = {one["event"]: one for one in page.events()}
    assert (said["connected"]["tls"], said["connected"]["subprotocol"]) == ("TLSv1.3", "sip")
    assert cable.sip_in_clear() == []
    assert unevenness(cable.rtp(address)) < 400


@pytest.fixture(scope="module")
def authority(site: SiteOfLab) -> Iterator[Authority]:
    """To it every name is pop1's. pop1 believes what it shows."""
    pop1 = site.machine("pop1")
    with acme.authority(site.lab.host("acme"), pop1.address, 80) as running:
        pop1.run(f"cat > {ACME_CA} <<'END'\n{running.own_certificate}END")
        yield running


def asking(authority: Authority, **more: Any) -> dict[str, Any]:
    return {
        "tls_acme_server": authority.server,
        "tls_acme_email": "noc@pop.example",
        "tls_acme_names": [NAME],
        "tls_acme_ca": ACME_CA,
        "lab_more_open": [{"name": "ACME", "proto": "tcp", "ports": "80"}],
        "lab_more_pop": {"wss_tls_dir": "/etc/callplane/public-tls"},
        **more,
    }


async def test_what_acme_gives_is_shown_to_browsers_and_renewed_while_one_talks(
    site: SiteOfLab, centre: Centre, authority: Authority
) -> None:
    agent = await centre.add_agent("pop1", "walter", phone_class="browser")
    root = authority.root()
    trusting = ssl.create_default_context(cadata=root)

    def certificate() -> bytes:
        return shown(site.machine("pop1").address, WSS_PORT, trusting, NAME)

    run = await asyncio.to_thread(site.play, "site", "-l", "pop1", variables=asking(authority))
    assert "tls : Ask for it now" in run.changed("pop1")
    again = await asyncio.to_thread(site.play, "site", "-l", "pop1", variables=asking(authority))
    assert again.changed("pop1") == []
    first = certificate()
    async with talking(centre, agent, root.encode(), NAME) as (caller, page):
        # Due at once: what the host's timer runs each day renews it, and nobody is disturbed.
        due = asking(authority, tls_acme_renew_days=20000)
        await asyncio.to_thread(site.play, "rotate_certs", "-l", "pop1", variables=due)
        await asyncio.to_thread(wait_until, lambda: certificate() != first, 20, "the renewed certificate to be shown")
        second = certificate()
        site.machine("pop1").run("systemctl start callplane-acme.service")
        await asyncio.to_thread(wait_until, lambda: certificate() != second, 20, "the daily run to renew it")
        assert await caller.hears(600, deadline_s=20)
        await caller.hang_up()
        await asyncio.to_thread(page.wait_for, "closed")
    timers = site.machine("pop1").run("systemctl list-timers --all callplane-acme.timer").stdout
    assert "callplane-acme.service" in timers
    # And back: browsers see the site's own again.
    await asyncio.to_thread(site.play, "site", "-l", "pop1")
    own = ssl.create_default_context(cafile=str(site.ca_dir / "ca.pem"))
    assert shown(site.machine("pop1").address, WSS_PORT, own, "pop1")
