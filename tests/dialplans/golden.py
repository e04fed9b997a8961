"""The rendered dialplans that are kept as files. ``python -m tests.dialplans.golden`` writes them again; read the diff.

Only the dialplans are kept here; the other files of the media server have tests of their own.
"""

from __future__ import annotations

from pathlib import Path

from dialplans.pack import load_pack
from dialplans.render import render
from tests.dialplans.pops import BARE, BERLIN

GOLDEN_DIR = Path(__file__).parent / "golden"


def golden() -> dict[str, bytes]:
    """File name -> what it has to hold."""
    pops = {"de-berlin": BERLIN, "us-bare": BARE}
    kept = {}
    for name, pop in pops.items():
        kept[f"{name}.conf"] = render(load_pack(pop.country), pop, "asterisk")["extensions.conf"]
        kept[f"{name}.xml"] = render(load_pack(pop.country), pop, "freeswitch")["dialplan.xml"]
    return kept


if __name__ == "__main__":
    GOLDEN_DIR.mkdir(exist_ok=True)
    for name, data in golden().items():
        (GOLDEN_DIR / name).write_bytes(data)
        print(GOLDEN_DIR / name)
