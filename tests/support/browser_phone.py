"""An agent's phone as a page in a browser would be: SIP over secure WebSocket (RFC 7118), sound by ICE and DTLS-SRTP
(aiortc). It registers, answers each call, sends a tone and writes down what it hears.

Run in an environment of its own (``.requirements/browser.txt``) as ``python browser_phone.py SETTINGS.json``; a line of
JSON for each thing that happens, on standard output. ``tests/support/browser.py`` starts it.
"""

from __future__ import annotations

import asyncio
import fractions
import hashlib
import itertools
import json
import math
import re
import secrets
import ssl
import sys
import wave
from array import array
from pathlib import Path
from typing import Any

import av
import websockets
from aiortc import AudioStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

RATE, FRAME = 48_000, 960


def say(event: str, **what: Any) -> None:
    print(json.dumps({"event": event, **what}), flush=True)


class Tone(AudioStreamTrack):  # type: ignore[misc]  # aiortc is not in the environment that is checked
    def __init__(self, freq_hz: float) -> None:
        super().__init__()
        self._freq_hz, self._at = freq_hz, 0
        self._begun: float | None = None

    async def recv(self) -> av.AudioFrame:
        loop = asyncio.get_running_loop()
        self._begun = loop.time() if self._begun is None else self._begun
        await asyncio.sleep(max(0.0, self._begun + self._at / RATE - loop.time()))
        turn = 2 * math.pi * self._freq_hz / RATE
        sound = array("h", (round(0.35 * 32767 * math.sin(turn * (self._at + at))) for at in range(FRAME)))
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(sound.tobytes())
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._at, fractions.Fraction(1, RATE)
        self._at += FRAME
        return frame


class Phone:
    def __init__(self, settings: dict[str, Any]) -> None:
        self._s = settings
        self._user, self._host = settings["user"], f"{secrets.token_hex(6)}.invalid"
        self._cseq = itertools.count(1)
        self._peer: RTCPeerConnection | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._socket: Any = None

    async def run(self) -> None:
        context = ssl.create_default_context(cafile=self._s["ca_file"])
        uri = f"wss://{self._s['name']}:{self._s['port']}/ws"
        at = {"host": self._s["server"], "port": self._s["port"]}
        async with websockets.connect(uri, subprotocols=["sip"], ssl=context, **at) as socket:
            self._socket = socket
            transport = socket.transport.get_extra_info("ssl_object")
            say("connected", tls=transport.version(), subprotocol=socket.subprotocol)
            await self._register("")
            async for data in socket:
                await self._take(data if isinstance(data, str) else data.decode())

    async def _send(self, start: str, headers: list[str], body: str = "") -> None:
        kind = ["Content-Type: application/sdp"] if body else []
        lines = [start, *headers, *kind, f"Content-Length: {len(body.encode())}"]
        await self._socket.send("\r\n".join(lines) + "\r\n\r\n" + body)

    @property
    def _contact(self) -> str:
        return f"<sip:{self._user}@{self._host};transport=ws>"

    async def _register(self, authorization: str) -> None:
        address = f"<sip:{self._user}@{self._s['server']}>"
        headers = [
            f"Via: SIP/2.0/WSS {self._host};branch=z9hG4bK{secrets.token_hex(8)}",
            f"From: {address};tag={self._host[:8]}",
            f"To: {address}",
            f"Call-ID: {self._host}",
            f"CSeq: {next(self._cseq)} REGISTER",
            f"Contact: {self._contact};expires=300",
            "Max-Forwards: 70",
            *([authorization] if authorization else []),
        ]
        await self._send(f"REGISTER sip:{self._s['server']} SIP/2.0", headers)

    async def _take(self, text: str) -> None:
        head, _, body = text.partition("\r\n\r\n")
        start = head.partition("\r\n")[0]
        headers: dict[str, str] = {}
        vias = []
        for line in head.split("\r\n")[1:]:
            name, _, value = line.partition(":")
            headers.setdefault(name.lower(), value.strip())
            if name.lower() == "via":
                vias.append(value.strip())
        if start.startswith("SIP/2.0 "):
            await self._answered(int(start.split()[1]), headers)
        elif start.startswith("INVITE "):
            await self._called(headers, vias, body)
        elif start.startswith(("BYE ", "CANCEL ", "OPTIONS ")):
            await self._reply("200 OK", headers, vias)
            if start.startswith("BYE "):
                await self._end()
                say("closed")

    async def _answered(self, status: int, headers: dict[str, str]) -> None:
        if not headers["cseq"].endswith("REGISTER"):
            return
        if status == 401:
            asked = dict(re.findall(r'(\w+)="?([^",]+)', headers["www-authenticate"]))
            uri = f"sip:{self._s['server']}"

            def md5(words: str) -> str:
                return hashlib.md5(words.encode(), usedforsecurity=False).hexdigest()

            first = md5(f"{self._user}:{asked['realm']}:{self._s['password']}")
            proof = md5(f"{first}:{asked['nonce']}:00000001:own:auth:{md5(f'REGISTER:{uri}')}")
            opaque = f', opaque="{asked["opaque"]}"' if "opaque" in asked else ""
            await self._register(
                f'Authorization: Digest username="{self._user}", realm="{asked["realm"]}", nonce="{asked["nonce"]}",'
                f' uri="{uri}", response="{proof}", algorithm=MD5, cnonce="own", qop=auth, nc=00000001{opaque}'
            )
        else:
            say("registered" if status == 200 else "refused", status=status)

    async def _reply(
        self, status: str, headers: dict[str, str], vias: list[str], body: str = "", more: tuple[str, ...] = ()
    ) -> None:
        to = headers["to"] if ";tag=" in headers["to"] else f"{headers['to']};tag=b{self._host[:8]}"
        own = [f"Via: {via}" for via in vias]
        own += [f"From: {headers['from']}", f"To: {to}", f"Call-ID: {headers['call-id']}", f"CSeq: {headers['cseq']}"]
        await self._send(f"SIP/2.0 {status}", [*own, *more], body)

    async def _called(self, headers: dict[str, str], vias: list[str], offer: str) -> None:
        say("called", offer=offer)
        peer = self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.on("connectionstatechange", lambda: say("media", state=peer.connectionState))

        def heard(track: Any) -> None:
            self._hearing = asyncio.create_task(self._hear(track))

        peer.on("track", heard)
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        peer.addTrack(Tone(self._s["tone_hz"]))
        await peer.setLocalDescription(await peer.createAnswer())
        answer = peer.localDescription.sdp
        say("answered", answer=answer)
        await self._reply("200 OK", headers, vias, answer, (f"Contact: {self._contact}",))

    async def _hear(self, track: Any) -> None:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=8000)
        with wave.open(self._s["heard"], "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            heard_s = 0.0
            while heard_s < self._s["hear_s"]:
                for frame in resampler.resample(await track.recv()):
                    file.writeframes(bytes(frame.planes[0])[: 2 * frame.samples])
                    heard_s += frame.samples / 8000
        transport = self._peer.getSenders()[0].transport if self._peer is not None else None
        say("heard", dtls=transport.state if transport is not None else "none")

    async def _end(self) -> None:
        if self._hearing is not None:
            self._hearing.cancel()
        if self._peer is not None:
            await self._peer.close()


if __name__ == "__main__":
    asyncio.run(Phone(json.loads(Path(sys.argv[1]).read_text())).run())
