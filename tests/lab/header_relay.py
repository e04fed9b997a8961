"""Puts a header into the INVITEs of a phone that cannot, on their way over TLS. Run on a lab host:

    python -m tests.lab.header_relay LISTEN_ADDRESS:PORT TARGET_ADDRESS:PORT TLS_DIRECTORY HEADER_FILE

Only the messages of the connection that the phone opens pass here, and what is answered on it; Contact: and Via: stay
the phone's, so the rest of a call goes past it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from pathlib import Path


def with_line(message: bytes, header: Path) -> bytes:
    first, rest = message.split(b"\r\n", 1)
    return b"\r\n".join((first, header.read_bytes(), rest))


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, header: Path | None) -> None:
    """Copy until the end. With ``header``, the file's line is put into each INVITE: a phone writes a message at once,
    and what it writes next begins with the next one."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            if header is not None and data.startswith(b"INVITE "):
                data = with_line(data, header)
            writer.write(data)
            await writer.drain()
    writer.close()


async def main() -> None:
    listen, target, tls_dir, header = sys.argv[1:]
    directory = Path(tls_dir)
    server, client = (
        ssl.create_default_context(purpose, cafile=str(directory / "ca.pem"))
        for purpose in (ssl.Purpose.CLIENT_AUTH, ssl.Purpose.SERVER_AUTH)
    )
    for context in (server, client):
        context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    host, port = target.split(":")

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(host, int(port), ssl=client)
        await asyncio.gather(pipe(reader, to_writer, Path(header)), pipe(to_reader, writer, None))

    own, own_port = listen.split(":")
    running = await asyncio.start_server(relay, own, int(own_port), ssl=server)
    await running.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
