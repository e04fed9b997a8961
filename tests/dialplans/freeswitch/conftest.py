"""A POP with a real FreeSWITCH, its carrier, and a controller that looks on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from hashlib import md5

import pytest

from dialplans.pack import load_pack
from dialplans.prompts import build
from dialplans.render import render
from dialplans.schema import Pop, Trunk
from tests.dialplans.esl import Controller
from tests.dialplans.numbers import ALLOWED, SHOWN
from tests.dialplans.sip import Far, answering
from tests.lab.freeswitch import FreeSwitchServer
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.support.freeswitch import freeswitch_or_skip

OVERFLOW = "+49305550199"


@pytest.fixture(scope="package")
def carrier(lab: Lab) -> Host:
    return lab.host("fs-carrier")


@pytest.fixture(scope="package")
def pop(lab: Lab, carrier: Host, tmp_path_factory: pytest.TempPathFactory) -> Pop:
    freeswitch_or_skip()
    prompts = tmp_path_factory.mktemp("prompts")
    build(prompts, ["de"])
    host = lab.host("fs-pop")
    phones = host.state_dir / "phones"
    phones.mkdir()
    return Pop(
        pop_id="lab",
        engine="freeswitch",
        country="DE",
        area_code="30",
        sip_address=host.address,
        trunks=[
            Trunk(name="carrier-a", addresses=[carrier.address], host=carrier.address),
            Trunk(name="customer", username="customer-7", password="customer-password"),
        ],
        cli_by_destination=SHOWN,
        allowed_numbers=ALLOWED,
        overflow_number=OVERFLOW,
        esl_host=host.address,
        esl_password="esl-password",
        esl_networks=[lab.machine_address],
        prompt_dir=str(prompts),
        phone_dir=str(phones),
    )


def phone_file(phone_id: str, password: str) -> bytes:
    """The account of an agent's phone as the controller writes it."""
    ha1 = md5(f"{phone_id}:callplane:{password}".encode(), usedforsecurity=False).hexdigest()
    return f"""<include>
  <user id="{phone_id}">
    <params><param name="a1-hash" value="{ha1}"/></params>
  </user>
</include>
""".encode()


@pytest.fixture(scope="package")
def server(lab: Lab, pop: Pop) -> Iterator[FreeSwitchServer]:
    running = FreeSwitchServer(lab.host("fs-pop"), render(load_pack("DE"), pop), lab)
    yield running
    running.stop()


def connected(pop: Pop) -> AbstractAsyncContextManager[Controller]:
    return Controller.connect(pop.esl_host, pop.esl_port, pop.esl_password)


@pytest.fixture
async def controller(server: FreeSwitchServer, pop: Pop) -> AsyncIterator[Controller]:
    async with connected(pop) as own:
        await own.lease(600)
        yield own
    server.cli("global_setvar callplane_lease=0")  # the next test may have no controller
    server.wait_idle()


@pytest.fixture(scope="package")
def overflow(carrier: Host, server: FreeSwitchServer) -> Iterator[Far]:
    far = answering(carrier)
    yield far
    far.process.stop()


@pytest.fixture
def reloadable(server: FreeSwitchServer, pop: Pop) -> Iterator[FreeSwitchServer]:
    """The server, for tests that load other files; it has the German ones again afterwards."""
    yield server
    load(server, pop)


def load(server: FreeSwitchServer, pop: Pop) -> None:
    server.write_files(render(load_pack(pop.country), pop))
    server.cli("reloadxml")
