"""Bare hosts become a site by one command: its first call, and what an operator and an attacker do to it."""

from __future__ import annotations

import asyncio
import re
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.machine import summary_line
from tests.lab import guesser
from tests.lab.hosts.capture import TCP, capturing, capturing_machine, unevenness
from tests.lab.hosts.centre import MESH_PORT, POPS, SPANNING, TLS_PORT, Centre
from tests.lab.hosts.handshake import spoken
from tests.lab.hosts.site import Run, SiteOfLab
from tests.lab.sipp import Sipp

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(1500)]

SCAN = """
import select, socket, sys, time
found = []
for first in range(1, 65536, 8000):
    waiting, poll = {}, select.poll()
    for port in range(first, min(first + 8000, 65536)):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex((sys.argv[1], port))
        waiting[one.fileno()] = port, one
        poll.register(one, select.POLLOUT)
    end, last = time.monotonic() + 3, False
    while waiting and not last:
        # However late this program is: what has been answered meanwhile counts.
        last = time.monotonic() > end
        for number, event in poll.poll(0 if last else 100):
            poll.unregister(number)
            port, one = waiting.pop(number)
            if not event & (select.POLLERR | select.POLLHUP):
                found.append(port)
            one.close()
    for _, one in waiting.values():
        one.close()
print(" ".join(map(str, sorted(found))))
"""

GREET = r"""python3 - {target} {certificate} <<'END'
import socket, ssl, sys
address, port, *certificate = sys.argv[1:]
context = ssl.create_default_context(cafile="/etc/callplane/tls/ca.pem")
if certificate:
    context.load_cert_chain(*certificate)
ask = (
    f"OPTIONS sip:offer@{{address}}:{{port}};transport=tls SIP/2.0\r\n"
    "Via: SIP/2.0/TLS 198.18.0.1:5062;branch=z9hG4bK1;rport\r\nMax-Forwards: 70\r\n"
    f"From: <sip:x@{{address}}>;tag=1\r\nTo: <sip:offer@{{address}}>\r\nCall-ID: 1@x\r\nCSeq: 1 OPTIONS\r\n"
    "Contact: <sip:x@198.18.0.1:5062;transport=tls>\r\nContent-Length: 0\r\n\r\n"
)
try:
    with context.wrap_socket(socket.create_connection((address, int(port)), 5), server_hostname=address) as one:
        one.sendall(ask.encode())
        print((one.recv(4096).decode() or "closed").splitlines()[0])
except (ssl.SSLError, ConnectionError) as error:
    print("closed:", error)
END
"""


def test_wrong_variables_stop_before_anything_is_changed(site: SiteOfLab) -> None:
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "mesh": ({"dialplan_mesh": ["pop9"]}, "dialplan_mesh: pop9 is no host of group pops"),
        "hardening_ssh_networks": ({"hardening_ssh_networks": None}, "hardening_ssh_networks"),
        "settings": ({"pbx_controller_settings": {"qualify_s": -1}}, "pbx_controller_settings.qualify_s"),
        "pop": (
            {
                "dialplan_pop": {
                    "pop_id": "x",
                    "country": "DE",
                    "sip_address": "198.18.0.1",
                    "overflow_number": "12",
                    "trunks": [],
                }
            },
            "dialplan_pop.overflow_number",
        ),
        "clear": (
            {
                "dialplan_pop": {
                    "pop_id": "x",
                    "country": "DE",
                    "sip_address": "198.18.0.1",
                    "trunks": [
                        {"name": "a", "transport": "tls", "srtp": "off", "addresses": ["198.18.0.2"], "host": "a"}
                    ],
                }
            },
            "clear_reason",
        ),
    }
    for variables, named in wrong.values():
        run = site.play("site", variables=variables, check=False)
        assert run.status != 0
        assert named in run.output
        assert all(counts["changed"] == 0 for counts in run.recap().values())


async def test_the_first_call_between_two_pops(site: SiteOfLab, installed: Run, centre: Centre) -> None:
    """Carrier, pop1 with a queue that spans both POPs, pop2, agent: each of the three cables carries SIP over TLS and
    SRTP, and nothing else of them."""
    agent = await centre.add_agent("pop2", "ben")
    pops = [site.machine(name).address for name in POPS]
    with (
        capturing(site.hosts["carrier"]) as trunk,
        capturing(site.hosts["phones"]) as access,
        capturing_machine(site.machine("pop1")) as between,
    ):
        async with centre.phone("pop2", agent) as phone:
            await phone.wait_registered()
            await centre.available(agent)
            async with centre.caller("pop1", SPANNING) as caller:
                await caller.wait_for("CALL_ESTABLISHED", deadline_s=30)
                assert await phone.hears(1000, deadline_s=20)
                assert await caller.hears(600, deadline_s=20)
                for cable, address in ((trunk, pops[0]), (access, pops[1]), (between, pops[1])):
                    await asyncio.to_thread(cable.wait_for_sound, address, 100)
    for cable, address in ((trunk, pops[0]), (access, pops[1]), (between, pops[1])):
        assert unevenness(cable.rtp(address)) < 400
        assert cable.sip_in_clear() == []
    signalled = [packet.target_port for packet in between.between(*pops) if packet.protocol == TCP]
    assert MESH_PORT in signalled
    assert TLS_PORT not in signalled


def test_the_capture_would_show_what_is_clear(site: SiteOfLab, configured: None) -> None:
    with capturing(site.hosts["bulk"]) as cable:
        target = site.machine("pop1").address
        run = Sipp.callers(site.hosts["bulk"], target, [("+491701234567", POPS["pop1"][1])], hold_ms=1000)
        run.finish(60).require_success(1)
    assert cable.sip_in_clear()
    assert unevenness(cable.rtp(target)) > 600


def test_the_second_run_changes_nothing(site: SiteOfLab, installed: Run, configured: None) -> None:
    run = site.play("site")
    changed = sum(counts["changed"] for counts in run.recap().values())
    print(f"second run seconds={run.seconds:.0f}")
    print(summary_line("provision", seconds=round(installed.seconds), changed_second_run=changed))
    assert {host: run.changed(host) for host in run.recap()} == {"centre1": [], "pop1": [], "pop2": []}


def test_what_was_broken_by_hand_is_repaired_and_nothing_else(site: SiteOfLab, configured: None) -> None:
    pop1, pop2 = site.machine("pop1"), site.machine("pop2")
    pop1.run("echo '; by hand' >> /etc/callplane/asterisk/extensions.conf")
    pop1.run("systemctl stop callplane-controller")
    # Signed by the site's own authority, and expired.
    request = pop2.run("cd /etc/callplane/tls && openssl req -new -key key.pem -config request.cnf").stdout
    expired = site.sign_expired(request)
    pop2.run(f"cat > /etc/callplane/tls/cert.pem <<'END'\n{expired}END")
    run = site.play("site")
    assert run.changed("pop1") == [
        "dialplan : Render them",
        "dialplan : Reload the media server",
        "pbx_controller : Run the controller",
    ]
    assert run.changed("pop2") == [
        "tls : Put it",
        "dialplan : Show the media server its new certificate",
    ]
    assert run.changed("centre1") == []
    assert "by hand" not in pop1.run("cat /etc/callplane/asterisk/extensions.conf").stdout
    assert pop1.run("systemctl is-active callplane-controller").stdout.strip() == "active"
    assert spoken(site, "pop2", ssl.TLSVersion.TLSv1_3) == "TLSv1.3"


def test_tls_below_the_minimum_is_refused(site: SiteOfLab, configured: None) -> None:
    assert spoken(site, "pop1", ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        spoken(site, "pop1", ssl.TLSVersion.TLSv1_2)


def test_who_shows_no_certificate_of_the_sites_is_no_pop(site: SiteOfLab, configured: None) -> None:
    """From a POP's own address, which the firewall lets in: with its certificate, a foreign one, none."""
    other = site.machine("pop2")
    target, tls = f"{site.machine('pop1').address} {MESH_PORT}", "/etc/callplane/tls"
    foreign = (
        "openssl req -x509 -newkey rsa:2048 -noenc -days 1 -subj /CN=pop2 -keyout /root/key.pem -out /root/cert.pem"
    )
    other.run(f"umask 077 && {foreign}")
    certificates = {"own": (f"{tls}/cert.pem", f"{tls}/key.pem"), "foreign": ("/root/cert.pem", "/root/key.pem")}
    answers = {
        name: other.run(GREET.format(target=target, certificate=" ".join(files))).stdout.strip()
        for name, files in (certificates | {"none": ()}).items()
    }
    other.run("rm /root/key.pem /root/cert.pem")
    assert answers["own"].startswith("SIP/2.0 ")
    assert [answer for answer in answers.values() if answer.startswith("SIP")] == [answers["own"]]


async def test_a_phone_without_srtp_is_refused(site: SiteOfLab, centre: Centre) -> None:
    agent = await centre.add_agent("pop1", "clara")
    async with centre.phone("pop1", agent, encryption=None) as phone:
        await phone.wait_registered()
        await phone.dial(f"sip:+493055501234@{site.machine('pop1').address}:{TLS_PORT};transport=tls")
        closed = await phone.wait_for("CALL_CLOSED", deadline_s=20)
        assert "488" in closed.param


async def test_who_guesses_passwords_is_banned(site: SiteOfLab, centre: Centre) -> None:
    agent = await centre.add_agent("pop2", "dora")
    intruder, pop = site.lab.host("intruder"), site.machine("pop2")
    site.hosts["intruder"] = intruder
    where = [pop.address, str(TLS_PORT), "tls", agent.phone_id]
    guesses: list[str | Path] = [sys.executable, Path(guesser.__file__), *where, "60", "20"]
    answered = int(intruder.run(guesses, rootfs=False, timeout_s=120).stdout.split()[-1])
    assert 5 <= answered < 10
    assert intruder.address in pop.run("nft list set inet callplane_bans banned4").stdout
    assert scan(site, "pop2", "intruder") == set()
    # A change of the firewall's rules lets nobody back in, and the program has no right but this one.
    pop.run("systemctl reload nftables")
    assert intruder.address in pop.run("nft list set inet callplane_bans banned4").stdout
    status = pop.run("cat /proc/$(systemctl show --property MainPID --value callplane-guard)/status").stdout
    assert re.search(r"CapEff:\s0000000000001000\n", status)
    assert re.search(r"Uid:\s0", status) is None


def scan(site: SiteOfLab, machine: str, host: str) -> set[int]:
    """TCP ports of a machine that answer to a host of the lab."""
    command = [sys.executable, "-c", SCAN, site.machine(machine).address]
    return set(map(int, site.hosts[host].run(command, rootfs=False, timeout_s=300).stdout.split()))


def test_only_the_documented_ports_are_open(site: SiteOfLab, configured: None) -> None:
    documented = {
        name: {
            int(rule["ports"])
            for rule in site.variable(name, "hardening_open")
            if rule["proto"] == "tcp" and not rule.get("networks")
        }
        for name in ("centre1", "pop1")
    }
    assert documented == {"centre1": {8443}, "pop1": {5061, 8443}}
    for name, ports in documented.items():
        assert scan(site, name, "phones") == ports
