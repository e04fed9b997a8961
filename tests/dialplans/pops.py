"""POPs that the tests of this folder render."""

from __future__ import annotations

from dialplans.schema import Pop, Trunk

BERLIN = Pop(
    pop_id="berlin-1",
    country="DE",
    area_code="30",
    sip_address="198.18.0.2",
    trunks=[
        Trunk(name="carrier-a", addresses=["198.18.0.3"], host="198.18.0.3"),
        Trunk(name="carrier-b", addresses=["198.18.0.4"], host="198.18.0.4:5080"),
    ],
    cli_by_destination={"+": "+49305550100", "+33": "+33142685300", "+4989": "+49895550100"},
    overflow_number="+49305550199",
    ari_password="ari-password",
    ami_password="ami-password",
    esl_password="esl-password",
)
BARE = Pop(pop_id="bare", country="US", sip_address="198.18.0.2", ari_password="a", ami_password="b", esl_password="c")
"""No trunk, no area code, no overflow."""


def in_country(country: str) -> Pop:
    return BARE.model_copy(update={"country": country, "trunks": BERLIN.trunks})
