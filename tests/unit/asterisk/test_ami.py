"""AMI against a scripted server: what panoramisk's manager would get wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from pbx.adapters.asterisk import ami
from pbx.adapters.asterisk.ami import AmiLink
from pbx.domain.errors import EngineGone, EngineRefused, EngineUnknown

RIGHT = "right"


class Server:
    def __init__(self) -> None:
        self.actions: list[str] = []
        self.silent: set[str] = set()
        self.cut: set[str] = set()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        writer.write(b"Asterisk Call Manager/11.0.0\r\n")
        try:
            while True:
                block = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.split(": ", 1) for line in block.strip().split("\r\n"))
                name = fields["Action"]
                self.actions.append(name)
                if name in self.cut:
                    writer.close()
                    return
                if name not in self.silent:
                    good = fields.get("Secret", RIGHT) == RIGHT and name != "Bad"
                    word = "Success" if good else "Error"
                    text = f"Response: {word}\r\nActionID: {fields['ActionID']}\r\nMessage: No such channel\r\n\r\n"
                    writer.write(text.encode())
        except asyncio.IncompleteReadError:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, int]]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    yield made, listening.sockets[0].getsockname()[1]
    listening.close()
    for writer in made.writers:
        writer.close()


class Client:
    def __init__(self, port: int, password: str) -> None:
        self.ups = 0
        self.events: list[Mapping[str, str]] = []
        self.news = asyncio.Event()
        self.link = AmiLink(
            host="127.0.0.1",
            port=port,
            user="callplane",
            password=password,
            on_event=self._event,
            on_up=self._up,
            action_timeout_s=0.3,
        )

    def _event(self, event: Mapping[str, str]) -> None:
        self.events.append(event)
        self.news.set()

    def _up(self) -> None:
        self.ups += 1
        self.news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.news.clear()
                await self.news.wait()


@pytest.fixture
async def client(server: tuple[Server, int], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr(ami, "RECONNECT_S", 0.02)
    monkeypatch.setattr(ami, "PING_S", 0.1)
    made = Client(server[1], RIGHT)
    made.link.start()
    await made.until(lambda: made.ups == 1)
    yield made
    await made.link.stop()


async def test_refusal_says_why(client: Client) -> None:
    with pytest.raises(EngineRefused, match="No such channel"):
        await client.link.action("Bad")


async def test_line_end_in_a_value_is_refused(client: Client, server: tuple[Server, int]) -> None:
    for value in ("a\r\nAction: Originate", "a\nb", "a\0b"):
        with pytest.raises(ValueError, match="File"):
            await client.link.action("MixMonitor", File=value)
    assert "Originate" not in server[0].actions


async def test_what_cannot_be_sent_any_more_is_said_so_and_not_logged(
    client: Client, server: tuple[Server, int], caplog: pytest.LogCaptureFixture
) -> None:
    """The connection has just broken, and nobody has been told yet. The library logs an action that it cannot write."""
    session = client.link._session
    assert session is not None
    session.protocol.transport.abort()
    with pytest.raises(EngineGone):
        await client.link.action("MixMonitor", File="secret")
    assert "MixMonitor" not in server[0].actions
    assert [record for record in caplog.records if record.name.startswith("panoramisk")] == []
    await client.until(lambda: client.ups == 2)


async def test_unanswered_action_is_never_sent_again(client: Client, server: tuple[Server, int]) -> None:
    server[0].cut.add("MixMonitor")
    with pytest.raises(EngineUnknown):
        await client.link.action("MixMonitor", Channel="L")
    await client.until(lambda: client.ups == 2)
    await client.link.action("Ping")
    assert server[0].actions.count("MixMonitor") == 1


async def test_server_that_hangs_is_noticed_and_left(client: Client, server: tuple[Server, int]) -> None:
    server[0].silent.add("Ping")
    server[0].silent.add("MixMonitor")
    with pytest.raises(EngineUnknown):
        await client.link.action("MixMonitor")
    await client.until(lambda: client.ups >= 2)


async def test_character_split_by_a_read_is_kept(client: Client) -> None:
    session = client.link._session
    assert session is not None
    event = "Event: PeerStatus\r\nPeer: PJSIP/ä\r\n\r\n".encode()
    middle = event.index(b"\xc3") + 1
    session.protocol.data_received(event[:middle])
    session.protocol.data_received(event[middle:])
    assert client.events[-1]["Peer"].encode("latin-1") == "PJSIP/ä".encode()


async def test_wrong_password_and_no_connection(server: tuple[Server, int], caplog: pytest.LogCaptureFixture) -> None:
    client = Client(server[1], password="wrong")
    with pytest.raises(EngineGone):
        await client.link.action("Ping")
    client.link.start()
    async with asyncio.timeout(5):
        while "refused Login" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await client.link.stop()
    assert "wrong" not in caplog.text
