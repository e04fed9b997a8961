"""``callplane`` as the program that people and scripts start: pipes, terminals, TLS, a centre that comes and goes."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.bootstrap import Centre
from orchestrator.config import CentreSettings
from tests.integration.centre.conftest import running
from tests.integration.centre.support import QUEUE, Api, until
from tests.integration.centre.test_calls import a_call
from tests.integration.centre.test_reports import fed
from tests.support.ports import free_port

ROOT = Path(__file__).parents[3]


def environment(home: Path, **more: str) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("CALLPLANE_", "XDG_"))}
    return {**mine, "HOME": str(home), **more}


def program(words: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "orchestrator.cli", *words]


async def callplane(env: dict[str, str], *words: str, stdin: str = "") -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *program(words), env=env, cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
    return process.returncode or 0, out.decode(), err.decode()


async def test_from_login_to_logout(api: Api, centre: tuple[Centre, str], tmp_path: Path) -> None:
    await api.made("/queues", QUEUE)
    env = environment(tmp_path / "home")
    code, out, err = await callplane(env, "login", f"http://127.0.0.1:{centre[0].port}", stdin=centre[1])
    assert code == 0, err
    assert centre[1] not in out + err
    code, out, err = await callplane(env, "queues")
    assert (code, out.splitlines()[1].split()[:2]) == (0, ["sales", "Sales"]), err
    for words in (("pops",), ("flow", "list"), ("token", "list"), ("audit", "list"), ("prompts", "uploaded")):
        assert (await callplane(env, *words))[0] == 0, words
    assert (await callplane(env, "flow", "check", "/no/such/file"))[0] == 2, "is asked without the centre"
    assert (await callplane(env, "queues", "show", "nothing"))[0] == 1
    code, out, _ = await callplane(env, "--help")
    assert (code, "  calls       calls: records, live ones, and what can be done to them\n" in out) == (0, True)
    code, out, _ = await callplane(env, "calls", "--help")
    assert (code, "transfer" in out) == (0, True)
    assert (await callplane(env, "logout"))[0] == 0
    assert (await callplane(env, "queues"))[0] == 1


async def test_a_token_that_is_typed_is_not_shown(centre: tuple[Centre, str], tmp_path: Path) -> None:
    env = environment(tmp_path / "home")
    parent, child = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *program(("login", f"http://127.0.0.1:{centre[0].port}")),
        env=env, cwd=ROOT, stdin=child, stdout=child, stderr=child, start_new_session=True,
    )  # fmt: skip
    os.close(child)
    seen = bytearray()
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            seen.extend(os.read(parent, 65536))
        except OSError:
            loop.remove_reader(parent)  # the program has ended

    loop.add_reader(parent, read)
    try:
        await until(lambda: b"token: " in seen, 30)
        os.write(parent, centre[1].encode() + b"\n")
        assert await asyncio.wait_for(process.wait(), 30) == 0, seen
    finally:
        loop.remove_reader(parent)
        os.close(parent)
    assert centre[1].encode() not in seen


async def test_a_reader_that_has_seen_enough_is_no_fault(api: Api, centre: tuple[Centre, str], tmp_path: Path) -> None:
    for number in range(30):
        await api.made("/queues", {**QUEUE, "queue_id": f"q{number}", "name": "a name of some length " * 8})
    url = f"http://127.0.0.1:{centre[0].port}"
    env = environment(tmp_path / "home", CALLPLANE_URL=url, CALLPLANE_TOKEN=centre[1])
    command = f"{sys.executable} -m orchestrator.cli queues --limit 2 --all --json | head -c 10"
    process = await asyncio.create_subprocess_shell(
        command, env=env, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (len(out), err) == (10, b"")


async def test_following_goes_on_when_the_centre_is_back(settings: CentreSettings, tmp_path: Path) -> None:
    """No event is missed or told twice, and Ctrl-C ends it."""
    port = free_port()
    settings = settings.model_copy(update={"api_port": port})
    call, _, events = a_call("one")
    async with running(settings) as (made, said):
        token = said[0].rsplit(" ", 1)[1]
        env = environment(tmp_path / "home", CALLPLANE_URL=f"http://127.0.0.1:{port}", CALLPLANE_TOKEN=token)
        process = await asyncio.create_subprocess_exec(
            *program(("calls", "--follow", "--after", "0")),
            env=env, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        await fed(made, [(call, event) for event in events[:2]])
        seen = [(await asyncio.wait_for(process.stdout.readline(), 30)).decode() for _ in range(2)]
    async with running(settings) as (made, _):
        await fed(made, [(call, event) for event in events[2:4]], journal="K")
        seen += [(await asyncio.wait_for(process.stdout.readline(), 60)).decode() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 30)
    assert [line.split("  ")[3] for line in seen] == [type(event).__name__ for event in events[:4]]
    assert process.returncode == 130
    assert "connected again" in err.decode()
    assert "Traceback" not in err.decode()


@asynccontextmanager
async def unsteady(seen: list[tuple[str, str | None]]) -> AsyncIterator[str]:
    """A server whose connections break before the first answer to each method."""

    async def handle(request: web.Request) -> web.Response:
        known = {method for method, _ in seen}
        seen.append((request.method, request.headers.get("Idempotency-Key")))
        if request.method not in known:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"items": [], "next_cursor": None})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_broken_connection_is_tried_again_where_nothing_is_done_twice(tmp_path: Path) -> None:
    seen: list[tuple[str, str | None]] = []
    async with unsteady(seen) as url:
        env = environment(tmp_path / "home", CALLPLANE_URL=url, CALLPLANE_TOKEN="t")
        assert (await callplane(env, "queues"))[0] == 0
        assert (await callplane(env, "api", "POST", "/queues"))[0] == 0
        code, _, err = await callplane(env, "api", "DELETE", "/queues/sales")
        assert (code, "the connection broke" in err) == (3, True)
    assert [method for method, _ in seen] == ["GET", "GET", "POST", "POST", "DELETE"]
    assert seen[2][1] is not None
    assert seen[2] == seen[3], "under the same key"


def certificate(directory: Path) -> tuple[Path, Path]:
    """Of 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "centre")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, secret = directory / "cert.pem", directory / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, pem, plain))
    return cert, secret


@asynccontextmanager
async def encrypted(settings: CentreSettings, directory: Path) -> AsyncIterator[tuple[str, str, Path]]:
    cert, key = certificate(directory)
    async with running(settings.model_copy(update={"tls_cert": cert, "tls_key": key})) as (made, said):
        yield f"https://127.0.0.1:{made.port}", said[0].rsplit(" ", 1)[1], cert


async def test_a_certificate_is_checked(settings: CentreSettings, tmp_path: Path) -> None:
    async with encrypted(settings, tmp_path) as (url, token, cert):
        env = environment(tmp_path / "home")
        code, _, err = await callplane(env, "login", url, stdin=token)
        assert code == 3
        assert "its certificate is not to be trusted" in err
        assert "--ca-file" in err
        code, _, err = await callplane(env, "login", url, "--ca-file", str(cert), stdin=token)
        assert code == 0, err
        assert (await callplane(env, "pops"))[0] == 0, "the file is kept with the login"
        env = environment(tmp_path / "other", CALLPLANE_URL=url, CALLPLANE_TOKEN=token)
        assert (await callplane(env, "pops"))[0] == 3
        assert (await callplane({**env, "CALLPLANE_CA_FILE": str(cert)}, "pops"))[0] == 0
