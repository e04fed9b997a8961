"""What the server's answers say of legs, conversations and supervisions."""

from __future__ import annotations

import json

from pbx.adapters.asterisk.snapshot import read
from pbx.adapters.asterisk.supervision import bridge_id, snoop_id
from pbx.adapters.asterisk.tracker import is_snoop


def channel(leg: str, app: str = "Stasis", data: str = "", state: str = "Up", **variables: str) -> dict[str, object]:
    return {
        "id": leg,
        "name": f"PJSIP/x-{leg}",
        "state": state,
        "dialplan": {"app_name": app, "app_data": data},
        "channelvars": variables,
    }


def bridge(name: str, *legs: str) -> dict[str, object]:
    return {"id": name, "bridge_type": "mixing", "channels": list(legs)}


def test_legs_bridges_and_what_only_serves_a_supervision() -> None:
    snoop = snoop_id(7, "S", "B")
    snapshot = read(
        json.dumps({"name": "callplane", "channel_ids": ["R"]}),
        "callplane",
        json.dumps(
            [
                channel(
                    "A", data="callplane,+49305550100,withheld,carrier", CALLPLANE_ROLE="caller", CALLPLANE_CALL=""
                ),
                channel("B", data="callplane,originated"),
                channel("S", data="callplane,originated"),
                channel("R", app="AppDial2", state="Ringing"),
                channel("D", app="Playback", state="Ring"),
                channel(snoop, data="callplane,snoop"),
            ]
        ),
        json.dumps([bridge("X", "A", "B"), bridge(bridge_id("S"), "S", snoop)]),
        json.dumps([{"technology": "PJSIP", "resource": "anna", "state": "online"}]),
    )
    legs = {str(leg.leg_id): leg for leg in snapshot.engine.legs}
    assert legs.keys() == {"A", "B", "S", "R", "D"}
    assert {leg_id: leg.bridge_id for leg_id, leg in legs.items() if leg.bridge_id} == {"A": "X", "B": "X"}
    assert legs["A"].variables == {"CALLPLANE_ROLE": "caller"}
    assert [leg_id for leg_id, leg in legs.items() if leg.answered] == ["A", "B", "S"]
    assert [leg_id for leg_id, leg in legs.items() if not leg.in_control] == ["D"]
    assert snapshot.inbound == {"A": True, "B": False, "S": False, "R": False}
    assert snapshot.engine.bridges == ("X",)
    assert (snapshot.snoops, snapshot.snoop_bridges) == ((snoop,), (bridge_id("S"),))
    assert snapshot.engine.reachable_phones == {"anna"}


def test_ids_of_legs_are_no_snoops() -> None:
    assert is_snoop(snoop_id(1, "01M7YQ5RGZRNNKXYCJJC8MF4XX", "1795253670.113"))
    assert not is_snoop("01M7YQ5RGZRNNKXYCJJC8MF4XX")
    assert not is_snoop("1795253670.113")
