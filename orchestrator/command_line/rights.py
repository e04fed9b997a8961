"""``callplane rights``: a person's data exported, erased, rectified; certificates checked without a centre.

Numbers are read from standard input or a file: what stands on a command line is everybody's on a machine.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.command_line import bodies
from orchestrator.command_line.client import Client, path_of
from orchestrator.command_line.downloads import write_stream
from orchestrator.command_line.failures import OK, About, Failure, Misused
from orchestrator.command_line.output import Output
from orchestrator.command_line.program import common, guarded, run, seconds, with_client
from orchestrator.domain import certificates

WAIT_S = 60.0
EVERY_S = 0.5


def main(argv: Sequence[str]) -> int:
    return run(execute(argv))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="callplane rights", description=__doc__.partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    shared = common()

    def verb(name: str, about: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=about, description=about, parents=[shared])

    def number(made: argparse.ArgumentParser) -> None:
        made.add_argument(
            "--number-file",
            metavar="FILE",
            help="holds the number, E.164; without it it is asked for; - standard input",
        )

    export = verb("export", "all data of a number, as a ZIP archive with its recordings")
    export.add_argument("out", type=Path, metavar="FILE")
    number(export)
    erase = verb("erase", "erase a number everywhere; 1: something is still pending, or held")
    number(erase)
    erase.add_argument("--wait", type=seconds, default=WAIT_S, metavar="S", help="at most; default: %(default)g")
    erase.add_argument("--certificate", type=Path, metavar="FILE", help="where the certificate is written to")
    for name, about in (("erasure", "how far an erasure is"), ("continue", "go on with what a hold kept")):
        verb(name, about).add_argument("erasure_id", metavar="ERASURE")
    verb("erasures", "list erasures")
    certificate = verb("certificate", "the certificate of an erasure")
    certificate.add_argument("erasure_id", metavar="ERASURE")
    certificate.add_argument("--text", action="store_true", help="for people; only the other form is signed")
    verb("key", "the public key that certificates are verified with")
    check = verbs.add_parser("verify", help="check a certificate, without the centre")
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument("--key", type=Path, required=True, metavar="FILE", help="what 'callplane rights key' printed")
    rectify = verb("rectify", "note what is right of a call")
    rectify.add_argument("call_id", metavar="CALL")
    rectify.add_argument(
        "--file",
        required=True,
        metavar="FILE",
        help="YAML or JSON: number, name, note; null takes one back; - standard input",
    )
    return parser


async def execute(argv: Sequence[str]) -> int:
    options = _parser().parse_args(argv)
    if options.verb == "verify":
        return await guarded("rights", _verify(options))
    work = {
        "export": _export,
        "erase": _erase,
        "erasure": _one,
        "continue": _one,
        "erasures": _erasures,
        "certificate": _certificate,
        "key": _key,
        "rectify": _rectify,
    }[options.verb]
    return await guarded("rights", with_client(options, lambda c, o: work(c, o, options), About("rights")))


def _number(file: str | None) -> str:
    try:
        if file is None:
            text = getpass.getpass("number, in E.164: ") if sys.stdin.isatty() else sys.stdin.readline()
        else:
            text = sys.stdin.readline() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise Misused(f"{file}: {error.strerror}") from None
    if not text.strip():
        raise Misused("there is no number", "give it on standard input, or --number-file FILE")
    return text.strip()


def _why(options: argparse.Namespace) -> None:
    if options.purpose is None:
        raise Misused("why? It is kept in the audit log", "--purpose TEXT")


async def _export(client: Client, out: Output, options: argparse.Namespace) -> int:
    _why(options)
    body = {"number": _number(options.number_file)}
    async with client.stream("/exports", method="POST", body=body) as response:
        await write_stream(options.out, response)
    out.say(str(options.out))
    for pop in _not_heard(options.out):
        out.note(
            f"POP {pop['pop_id']} was not heard ({pop['why']}): what it calls the number may be missing; ask again"
        )
    return OK


def _not_heard(archive: Path) -> list[dict[str, str]]:
    with zipfile.ZipFile(archive) as files:
        found: list[dict[str, str]] = json.loads(files.read("manifest.json")).get("not_heard", [])
        return found


async def _erase(client: Client, out: Output, options: argparse.Namespace) -> int:
    _why(options)
    answer = await client.ask("POST", "/erasures", body={"number": _number(options.number_file)})
    path = path_of("/erasures/{erasure_id}", {"erasure_id": answer.json["erasure_id"]})
    ends = time.monotonic() + options.wait
    while answer.json["state"] == "running" and time.monotonic() < ends:
        await asyncio.sleep(EVERY_S)
        answer = await client.ask("GET", path)
    erasure = answer.json
    out.raw(answer.content) if out.as_json else _told(out, erasure)
    if options.certificate is not None and erasure["state"] != "running":
        found = await client.ask("GET", path + "/certificate")
        try:
            options.certificate.write_text(json.dumps(found.json, indent=1) + "\n")
        except OSError as error:
            raise Failure(f"{options.certificate}: {error.strerror}") from None
        out.note(f"certificate: {options.certificate}")
    if erasure["state"] == "running":
        raise Failure(
            "it is not over yet and goes on", f"'callplane rights erasure {erasure['erasure_id']}' says how far"
        )
    if erasure["state"] == "held":
        raise Failure("a legal hold keeps some of it", "after 'callplane holds lift': 'callplane rights continue'")
    return OK


def _told(out: Output, erasure: dict[str, Any]) -> None:
    steps = ", ".join(f"{count} {state}" for state, count in sorted(erasure["steps"].items()))
    out.say(f"{erasure['erasure_id']} {erasure['state']}: {steps or 'nothing'}")
    for one in erasure["waits_for"]:
        out.say(f"  {one['kind']} {one['id']} {one['state']}: {one['why'] or 'in its turn'}")


async def _one(client: Client, out: Output, options: argparse.Namespace) -> int:
    path = path_of("/erasures/{erasure_id}", {"erasure_id": options.erasure_id})
    if options.verb == "continue":
        _why(options)
        await client.ask("POST", path + "/continue")
    answer = await client.ask("GET", path)
    out.raw(answer.content) if out.as_json else _told(out, answer.json)
    return OK


async def _erasures(client: Client, out: Output, options: argparse.Namespace) -> int:
    answer = await client.ask("GET", "/erasures")
    if out.as_json:
        out.raw(answer.content)
    for erasure in [] if out.as_json else answer.json["items"]:
        _told(out, erasure)
    return OK


async def _certificate(client: Client, out: Output, options: argparse.Namespace) -> int:
    path = path_of("/erasures/{erasure_id}/certificate", {"erasure_id": options.erasure_id})
    answer = await client.ask("GET", path + ("/text" if options.text else ""))
    out.say(answer.content.decode().rstrip("\n"))
    return OK


async def _key(client: Client, out: Output, options: argparse.Namespace) -> int:
    answer = await client.ask("GET", "/certificate-key")
    out.raw(answer.content) if out.as_json else out.say(answer.json["public_key"])
    return OK


async def _rectify(client: Client, out: Output, options: argparse.Namespace) -> int:
    _why(options)
    path = path_of("/calls/{call_id}/correction", {"call_id": options.call_id})
    former = (await client.ask("GET", path)).json
    given = bodies.document_in(options.file)
    if not isinstance(given, dict):
        raise Misused(f"{options.file} holds no object")
    body = {name: former[name] for name in ("number", "name", "note")} | given
    answer = await client.ask("PUT", path, body=body)
    out.raw(answer.content) if out.as_json else out.say("noted")
    return OK


async def _verify(options: argparse.Namespace) -> int:
    try:
        document = json.loads(options.file.read_text(encoding="utf-8"))
        public = options.key.read_text(encoding="utf-8")
    except OSError as error:
        raise Misused(f"{error.filename}: {error.strerror}") from None
    except ValueError:
        raise Failure(f"{options.file} is not a certificate of erasure") from None
    try:
        body = certificates.verify(document, public)
    except certificates.BadCertificate as error:
        raise Failure(f"{options.file} {error}") from None
    sys.stdout.write(certificates.text(body))
    return OK
