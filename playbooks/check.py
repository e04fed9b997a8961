"""The variables of a host, checked by the programs' own models before anything is changed: JSON on standard input, one
line for each fault on standard error, naming the variable. Run by precheck.yml."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dialplans.pack import PackError, load_pack
from dialplans.render import RenderError, check
from dialplans.schema import Pop
from orchestrator.config import CentreSettings
from pbx.config import PopSettings
from playbooks import mesh

MADE_ON_THE_HOST = {
    "ari_password": "made-on-the-host",
    "ami_password": "made-on-the-host",
    "esl_password": "made-on-the-host",
    "tls_dir": "/etc/callplane/tls",
}
"""Stands for what the roles add; nobody sets it."""
ACME_PORT = 80
"""Where an ACME server asks, whatever ``tls_acme_port`` is (RFC 8555, 8.3)."""


def faults(given: dict[str, Any]) -> Iterator[str]:
    """A line for each, beginning with the variable's name."""
    if given["pop"] is not None:
        yield from _pop(given["pop"], given["pops"])
        if given["pop"].get("engine") == "freeswitch":
            yield from _freeswitch(given.get("freeswitch", {}))
        settings = {
            "id": given["pop"].get("pop_id"),
            "country": given["pop"].get("country"),
            "state_dir": "/x",
            "prompt_dir": "/x",
            "recording_dir": "/x",
            "regions": given["regions"],
        }
        yield from _refused(PopSettings, settings | given["pop_settings"], "pbx_controller_settings", {"regions"})
        yield from _mesh(given)
        yield from _browsers(given["pop"], given["open"])
    yield from _acme(given)
    if given["centre_settings"] is not None:
        fixed = {"state_dir": "/x", "api_host": given["centre_address"], "tls_cert": "/x", "tls_key": "/x"}
        yield from _refused(CentreSettings, fixed | given["centre_settings"], "orchestrator_settings", set())


def _mesh(given: dict[str, Any]) -> Iterator[str]:
    pops = mesh.known(given["pops"])
    pop, carriers = pops[given["pops"]["host"]], given["pop"].get("trunks") or []
    yield from mesh.faults(pop, pops, carriers, given["certificate_names"], given["open"])


def _pop(given: dict[str, Any], all_pops: dict[str, Any]) -> Iterator[str]:
    for name in MADE_ON_THE_HOST.keys() & given.keys():
        yield f"dialplan_pop.{name}: is made on the host; leave it out"
    if "mesh" in given:
        yield "dialplan_pop.mesh: is made of what all POPs say; set dialplan_mesh"
    try:
        pops = mesh.known(all_pops)
        between = mesh.trunks(pops[all_pops["host"]], pops)
        pop = Pop.model_validate(given | MADE_ON_THE_HOST | {"mesh": between})
        check(load_pack(pop.country), pop, pop.engine)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            yield f"{'.'.join(('dialplan_pop', *map(str, item['loc'])))}: {item['msg']}"
    except PackError as error:
        yield f"dialplan_pop.country: {error}"
    except RenderError as error:
        yield f"dialplan_{error.field}: {error.reason}"


def _browsers(pop: dict[str, Any], opened: list[dict[str, Any]]) -> Iterator[str]:
    port = pop.get("wss_port")
    if isinstance(port, int) and not _opened(opened, port):
        yield f"hardening_open: does not let browsers in on {port}/tcp (dialplan_pop.wss_port)"


def _acme(given: dict[str, Any]) -> Iterator[str]:
    asked = given.get("acme") or {}
    if not asked.get("server"):
        return
    if not asked["server"].startswith("https://"):
        yield "tls_acme_server: has to begin with https://"
    if not asked.get("email"):
        yield "tls_acme_email: is needed with tls_acme_server"
    for name in asked.get("names") or []:
        if "." not in name:
            yield f"tls_acme_names: {name} is no public name; ACME servers know none without a dot"
    if not _opened(given["open"], ACME_PORT):
        yield f"hardening_open: does not let the ACME server in on {ACME_PORT}/tcp, where its challenge is answered"


def _opened(rules: list[dict[str, Any]], port: int) -> bool:
    """Whether everybody reaches a TCP port, by ``hardening_open``."""
    for rule in rules:
        first, _, last = str(rule["ports"]).partition("-")
        if rule["proto"] == "tcp" and not rule.get("networks") and int(first) <= port <= int(last or first):
            return True
    return False


def _freeswitch(given: dict[str, str]) -> Iterator[str]:
    package, token = given.get("package", ""), given.get("token", "")
    if not package and not token:
        yield (
            "freeswitch_package: dialplan_pop.engine is freeswitch, which is no package of Debian's: name a package"
            " file of yours, or give freeswitch_token for the vendor's repository"
        )
    elif package and token:
        yield "freeswitch_package: freeswitch_token is given, too: one of them"
    elif package:
        if not Path(package).is_file():
            yield f"freeswitch_package: there is no file {package}"
    else:
        for name in ("repository", "keyring"):
            if not given.get(name):
                yield f"freeswitch_{name}: is needed with freeswitch_token"
        if given.get("repository") and not given["repository"].startswith("https://"):
            yield "freeswitch_repository: has to begin with https://, or the token would cross the network in the clear"
        if given.get("keyring") and not Path(given["keyring"]).is_file():
            yield f"freeswitch_keyring: there is no file {given['keyring']}"


def _refused(model: Any, values: dict[str, Any], variable: str, own: set[str]) -> Iterator[str]:
    try:
        model.model_validate(values)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            where = [str(part) for part in item["loc"]]
            prefix = ["pbx_controller_regions"] if where and where[0] in own else [variable, *where]
            if where[:1] not in (["id"], ["country"]):  # dialplan_pop has said so
                yield f"{'.'.join(prefix)}: {item['msg']}"


def main() -> int:
    found = list(faults(json.load(sys.stdin)))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
