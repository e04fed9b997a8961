"""A site that carries calls is looked at, changed, upgraded, drained, lost and restored by its plays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.errors import wait_until
from tests.lab.hosts.centre import ASTERISK, POPS, Agent, Centre
from tests.lab.hosts.handshake import certificate
from tests.lab.hosts.site import Run, SiteOfLab
from tests.lab.phone import Phone
from tests.lab.sipp import Sipp, SippResult

LIMIT_S = 2400
"""Plays of one test together, on a machine that has much else to do."""
pytestmark = [pytest.mark.hosts, pytest.mark.timeout(LIMIT_S + 300)]

NEW_TRUNK = {
    "name": "second",
    "addresses": ["198.51.100.7"],
    "host": "198.51.100.7:5061",
    "transport": "tls",
    "srtp": "required",
}
RELOAD = "dialplan : Reload the media server"
FETCH = """python3 - {url} {certificate} <<'END'
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile="/etc/callplane/tls/ca.pem")
if sys.argv[2] == "True":
    context.load_cert_chain("/etc/callplane/tls/cert.pem", "/etc/callplane/tls/key.pem")
context = context if sys.argv[1].startswith("https") else None
print(urllib.request.urlopen(sys.argv[1], timeout=5, context=context).read().decode())
END
"""
PER_POP = 5
"""Calls a second to each POP: ten in all."""


@dataclass(slots=True)
class Load:
    """Ten calls a second from the carrier's bulk host, five to each POP, for as long as it is open."""

    runs: list[Sipp]

    @classmethod
    @asynccontextmanager
    async def running(cls, site: SiteOfLab) -> AsyncIterator[Load]:
        bulk = site.hosts["bulk"]

        def callers(name: str, did: str) -> Sipp:
            calls, target = [("+491701234567", did)] * PER_POP * LIMIT_S, site.machine(name).address
            return Sipp.callers(bulk, target, calls, rate=PER_POP, hold_ms=4000, limit_s=LIMIT_S)

        load = cls([callers(name, did) for name, (_, did) in POPS.items()])
        try:
            yield load
        finally:
            # With a BYE each: a caller who is gone without one keeps a place in the queue, and the next test's agent.
            for run in load.runs:
                await asyncio.to_thread(run.end)

    def unharmed(self, after: str) -> list[SippResult]:
        """What was done so far. Fails when a call was refused or dropped, or when the load has ended."""
        assert all(run.process.poll() is None for run in self.runs), f"{after}: the load has ended"
        results = [run.result() for run in self.runs]
        assert [result.failed for result in results] == [0, 0], (after, [result.errors for result in results])
        return results


@asynccontextmanager
async def talking(centre: Centre, machine: str, agent: Agent) -> AsyncIterator[tuple[Phone, Phone]]:
    """A caller of the carrier (1000 Hz) and an agent (600 Hz) who talk, over TLS with SRTP."""
    async with centre.phone(machine, agent) as phone:
        await phone.wait_registered()
        await centre.available(agent)
        async with centre.caller(machine) as caller:
            await caller.wait_for("CALL_ESTABLISHED", deadline_s=20)
            await hear_each_other(caller, phone)
            yield caller, phone


async def hear_each_other(caller: Phone, agent: Phone) -> None:
    await agent.hears(1000, deadline_s=20)
    await caller.hears(600, deadline_s=20)


def releases(site: SiteOfLab) -> dict[str, str]:
    return {name: site.machine(name).run("readlink /opt/callplane/current").stdout.strip() for name in POPS}


def changed(run: Run) -> dict[str, list[str]]:
    return {host: tasks for host in sorted(run.recap()) if (tasks := run.changed(host))}


def test_the_plan_shows_what_would_differ_and_changes_nothing(site: SiteOfLab, configured: None) -> None:
    pop1 = site.machine("pop1")
    before = pop1.run("cat /etc/nftables.conf /etc/fail2ban/jail.d/callplane.local").stdout
    pop1.run("echo '; by hand' >> /etc/callplane/asterisk/extensions.conf")
    plan = site.play("site", "--check", "--diff", variables={"hardening_ban_tries": 4})
    assert plan.changed("pop1") == [
        "hardening : Say who is banned, when and for how long",
        "hardening : Restart what bans",
        "dialplan : Say which files would be rendered anew",
    ]
    assert plan.changed("pop2") == plan.changed("pop1")[:2]
    assert "-maxretry = 5" in plan.output
    assert "+maxretry = 4" in plan.output
    assert "differs: extensions.conf" in plan.output
    assert pop1.run("cat /etc/nftables.conf /etc/fail2ban/jail.d/callplane.local").stdout == before
    assert "by hand" in pop1.run("cat /etc/callplane/asterisk/extensions.conf").stdout


@dataclass(slots=True)
class InService:
    """A site under load, with one more call over TLS whose two ends hear each other through all that is done."""

    site: SiteOfLab
    load: Load
    caller: Phone
    agent: Phone

    @classmethod
    @asynccontextmanager
    async def running(cls, site: SiteOfLab, centre: Centre, agent: Agent) -> AsyncIterator[InService]:
        async with Load.running(site) as load, talking(centre, "pop1", agent) as (caller, phone):
            yield cls(site, load, caller, phone)

    async def play(self, name: str, **variables: Any) -> Run:
        """Run it, and see that no call was refused or dropped."""
        run = await asyncio.to_thread(self.site.play, name, variables=variables)
        done = self.load.unharmed(name)
        await hear_each_other(self.caller, self.agent)
        print(f"{name} seconds={run.seconds:.0f} calls={sum(result.successful for result in done)} failed=0")
        return run


async def test_settings_and_certificates_change_during_calls(site: SiteOfLab, centre: Centre) -> None:
    agent = await centre.add_agent("pop1", "erik")
    async with InService.running(site, centre, agent) as service:
        run = await service.play("deploy", lab_more_trunks=[NEW_TRUNK])
        # What the test before had edited is put back by this.
        done = ["dialplan : Describe the POP", "dialplan : Render them", RELOAD]
        assert changed(run) == dict.fromkeys(POPS, done)
        assert "second" in site.machine("pop2").run(f"{ASTERISK} 'pjsip show endpoints'").stdout

        shown = {name: certificate(site, name) for name in POPS}
        await service.play("rotate_certs", tls_renew_days=10000)
        assert all(certificate(site, name) != shown[name] for name in POPS)
        await service.play("deploy")
        assert all(result.successful > 100 for result in service.load.unharmed("all of it"))


async def test_an_upgrade_and_a_rollback_during_calls_drop_and_refuse_none(site: SiteOfLab, centre: Centre) -> None:
    agent, before = await centre.add_agent("pop1", "emil"), releases(site)
    async with InService.running(site, centre, agent) as service:
        await service.play("upgrade", callplane_label="next")
        after = releases(site)
        assert all("-next-" in after[name] and "-next-" not in before[name] for name in POPS)
        await service.play("rollback")
        assert releases(site) == before
        assert all(result.successful > 100 for result in service.load.unharmed("all of it"))


async def test_an_upgrade_stops_at_the_first_pop_that_does_not_become_ready(site: SiteOfLab, centre: Centre) -> None:
    pop1, before = site.machine("pop1"), releases(site)
    broken = "/etc/systemd/system/callplane-controller.service.d/broken.conf"
    pop1.run(f"mkdir -p $(dirname {broken}) && printf '[Service]\\nExecStartPre=/bin/false\\n' > {broken}")
    variables = {"callplane_label": "next", "pbx_controller_ready_s": 5}
    run = await asyncio.to_thread(site.play, "upgrade", variables=variables, check=False)
    assert run.status != 0
    assert releases(site)["pop2"] == before["pop2"]
    pop1.run(f"rm -r $(dirname {broken}) && systemctl daemon-reload")
    await asyncio.to_thread(site.play, "rollback", "-l", "pop1")
    assert releases(site) == before


async def test_a_drain_waits_for_the_live_call_and_refuses_the_next(site: SiteOfLab, centre: Centre) -> None:
    agent = await centre.add_agent("pop1", "fritz")
    async with AsyncExitStack() as stack:
        caller, phone = await stack.enter_async_context(talking(centre, "pop1", agent))
        late = await asyncio.to_thread(site.play, "drain", "-l", "pop1", variables={"drain_limit_s": 5}, check=False)
        assert late.status != 0, "it gives up at its limit"
        draining = asyncio.create_task(asyncio.to_thread(site.play, "drain", "-l", "pop1"))
        await centre.api.until("pops/de-ber-1", lambda pop: pop["drain"] != "off", 30)
        async with centre.caller("pop1", name="refused") as refused:
            assert (await refused.wait_for("CALL_CLOSED", deadline_s=20)).param.startswith("503")
        async with centre.caller("pop2", name="elsewhere") as elsewhere:
            await elsewhere.wait_for("CALL_ESTABLISHED", deadline_s=20)
        await hear_each_other(caller, phone)
        assert not draining.done()
        await caller.hang_up()
        await draining
        await asyncio.to_thread(site.play, "drain", "-l", "pop1", variables={"drain_state": "off"})
        await stack.enter_async_context(still_answers(centre, "pop1"))


@asynccontextmanager
async def still_answers(centre: Centre, machine: str) -> AsyncIterator[None]:
    async with centre.caller(machine, name=f"again-{machine}") as caller:
        await caller.wait_for("CALL_ESTABLISHED", deadline_s=20)
        yield


async def test_what_was_lost_comes_back_from_the_backup(
    site: SiteOfLab, centre: Centre, tmp_path_factory: pytest.TempPathFactory
) -> None:
    agent = await centre.add_agent("pop2", "greta")
    directory = tmp_path_factory.mktemp("backup")
    newest = (await centre.api.get("calls?limit=1"))["items"]
    await asyncio.to_thread(site.play, "backup", variables={"backup_dir": str(directory)})
    async with still_answers(centre, "pop2"):
        pass
    page = await centre.api.until("calls?limit=1", lambda page: page["items"] and page["items"] != newest, 20)
    since = page["items"][0]["call_id"]
    await centre.api.ask("DELETE", f"agents/{agent.agent_id}")
    centre1, pop2 = site.machine("centre1"), site.machine("pop2")
    keys = "/var/lib/callplane/controller/vault.keys"
    lost = pop2.run(f"sha256sum {keys}").stdout
    pop2.run(f"echo lost > {keys}; echo lost > /etc/callplane/pop.key")
    centre1.run("rm /var/lib/callplane/centre/secrets.key")
    await asyncio.to_thread(site.play, "restore", variables={"backup_dir": str(directory)})
    assert pop2.run(f"sha256sum {keys}").stdout == lost
    assert (await centre.api.get(f"agents/{agent.agent_id}"))["phone_id"] == "greta"
    await centre.provisioned("pop2", "greta")
    # A call that the backup does not have comes from the POP's journal again.
    await centre.api.until("calls?limit=200", lambda page: since in {call["call_id"] for call in page["items"]}, 30)
    async with talking(centre, "pop2", agent):
        pass


async def test_a_drill_takes_a_pop_away_and_brings_it_back(site: SiteOfLab, centre: Centre) -> None:
    run = await asyncio.to_thread(site.play, "failover_drill", variables={"failover_pop": "pop1"})
    assert "Stop its controller and its media server" in run.changed("pop1")
    for name in POPS:
        async with still_answers(centre, name):
            pass
    nobody = await asyncio.to_thread(site.play, "failover_drill", variables={"failover_pop": "pop9"}, check=False)
    assert nobody.status != 0
    assert "failover_pop: name one of" in nobody.output


def test_every_host_is_watched_over_tls(site: SiteOfLab, configured: None) -> None:
    run = site.play("monitoring")
    assert "monitoring : Write the alerts" in run.changed("centre1")
    centre1 = site.machine("centre1")

    def fetched(url: str, certificate: bool = False) -> str | None:
        done = centre1.run(FETCH.format(url=url, certificate=certificate), check=False)
        return done.stdout if done.returncode == 0 else None

    def asked(path: str) -> Any:
        return json.loads(fetched(f"http://127.0.0.1:9090/api/v1/{path}") or "{}").get("data", {})

    def up() -> bool:
        # Those of ours: Debian's own file may have been read before.
        found = asked("query?query=up%7Bhost%21%3D%22%22%7D").get("result", [])
        return {row["metric"]["host"]: row["value"][1] for row in found} == dict.fromkeys(["centre1", *POPS], "1")

    wait_until(up, 60, "Prometheus to have scraped every host")
    rules = [rule for group in asked("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    assert "CallplaneMediaServerDown" in {rule["name"] for rule in rules}
    # Who has no certificate of the site's gets nothing, though the firewall lets this host in.
    pop1 = f"https://{site.machine('pop1').address}:9465/metrics"
    assert "callplane_calls_live" in (fetched(pop1, certificate=True) or "")
    assert fetched(pop1) is None
    assert changed(site.play("monitoring")) == {}


async def test_the_bus_becomes_a_cluster_that_loses_a_node(site: SiteOfLab, centre: Centre) -> None:
    """Three nodes on the site's machines; centre and POPs move to it, and configuration goes on without one of them."""
    first = await asyncio.to_thread(site.play, "nats")
    assert set(changed(first)) == {"centre1", *POPS}
    nodes = ["centre1", *POPS]
    moved = {
        "orchestrator_bus_nodes": nodes,
        "pbx_controller_bus_nodes": [f"{site.machine(name).address}:4223" for name in nodes],
    }
    await asyncio.to_thread(site.play, "site", variables=moved)
    await centre.add_agent("pop1", "hanna")  # waits until the POP has it
    assert rights(site, "pop1") == {"callplane.de-ber-1.heartbeat": "", "callplane.de-fra-1.heartbeat": "refused"}
    lost = site.machine("pop2")
    lost.run("systemctl kill --signal=KILL nats-server && systemctl stop nats-server")
    await centre.add_agent("pop1", "ida")
    await centre.add_agent("pop2", "jan")
    lost.run("systemctl start nats-server")
    assert changed(await asyncio.to_thread(site.play, "nats")) == {}


RIGHTS = """cd /var/lib/callplane && /opt/callplane/current/venv/bin/python3 - {url} {subjects} <<'END'
import asyncio, json, sys
from nats.aio.client import Client
from pathlib import Path
from pbx.wire import pop_key, subjects

key = Path("/etc/callplane/pop.key").read_text().strip()

async def tried(subject):
    errors = []
    async def on_error(error):
        errors.append(str(error).lower())
    client = Client()
    client._public_nkey = pop_key.public_nkey(key)
    await client.connect(
        sys.argv[1], signature_cb=lambda nonce: pop_key.sign(key, nonce), allow_reconnect=False, error_cb=on_error
    )
    await client.publish(subject, b"")
    for _ in range(2):  # the first one's PING is written before what was published (nats-py)
        await client.flush(5)
    await client.close()
    return "refused" if any("permissions violation" in error for error in errors) else "".join(errors)

print(json.dumps({{subject: asyncio.run(tried(subject)) for subject in sys.argv[2:]}}))
END
"""


def rights(site: SiteOfLab, machine: str) -> dict[str, str]:
    """What happens to a message that the POP of ``machine`` publishes under its own subject and under the other's."""
    pop, other = POPS[machine][0], next(pop for name, (pop, _) in POPS.items() if name != machine)
    subjects = f"callplane.{pop}.heartbeat callplane.{other}.heartbeat"
    url = f"tls://{site.machine(machine).address}:4223"
    said = site.machine(machine).run(RIGHTS.format(url=url, subjects=subjects)).stdout.splitlines()
    # Standard error is among it.
    found: dict[str, str] = json.loads(next(line for line in said if line.startswith("{")))
    return found
