#!/usr/bin/env python3
"""Ansible inventory of the POPs that the centre knows, from its REST API. Standard library only.

`CALLPLANE_URL` (https://centre.example:8443), `CALLPLANE_TOKEN` (of role engineer), `CALLPLANE_CA_FILE` where the
centre's certificate is of an authority of your own. Ends with 1 and one line when the centre cannot be asked.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

TIMEOUT_S = 15


def pops(url: str, token: str, ca_file: str | None) -> list[dict[str, Any]]:
    """All POPs, page by page. Raises OSError."""
    context = ssl.create_default_context(cafile=ca_file) if url.startswith("https:") else None
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        query = urllib.parse.urlencode({"limit": 200} | ({"cursor": cursor} if cursor else {}))
        request = urllib.request.Request(  # noqa: S310 (an operator's own centre)
            f"{url.rstrip('/')}/api/v1/pops?{query}", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310
            page = json.load(answer)
        found += page["items"]
        cursor = page.get("next_cursor") or ""
        if not cursor:
            return found


def inventory(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Group ``pops`` with a host for each, and one group for each country."""
    groups: dict[str, Any] = {"pops": {"hosts": sorted(pop["pop_id"] for pop in found)}}
    for pop in found:
        groups.setdefault(f"country_{pop['country'].lower()}", {"hosts": []})["hosts"].append(pop["pop_id"])
    facts = {
        pop["pop_id"]: {"pop_id": pop["pop_id"], "pop_country": pop["country"], "pop_drain": pop.get("drain")}
        for pop in found
    }
    return {**groups, "_meta": {"hostvars": facts}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="everything")
    parser.add_argument("--host", help="nothing more: --list has all")
    options = parser.parse_args()
    if options.host is not None:
        print("{}")
        return 0
    missing = [name for name in ("CALLPLANE_URL", "CALLPLANE_TOKEN") if not os.environ.get(name)]
    if missing:
        print(f"inventory/centre.py: set {' and '.join(missing)}", file=sys.stderr)
        return 1
    try:
        found = pops(os.environ["CALLPLANE_URL"], os.environ["CALLPLANE_TOKEN"], os.environ.get("CALLPLANE_CA_FILE"))
    except OSError as error:
        print(f"inventory/centre.py: the centre cannot be asked: {error}", file=sys.stderr)
        return 1
    print(json.dumps(inventory(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
