"""All ways in which a person's number may be written."""

from __future__ import annotations

import pytest

from orchestrator.domain.subject import core, forms, named_in


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        ("+4917012345678", {"+4917012345678", "4917012345678", "004917012345678", "017012345678"}),
        ("+390612345678", {"+390612345678", "390612345678", "00390612345678", "0612345678"}),
        ("+12125550123", {"+12125550123", "12125550123", "0012125550123", "2125550123"}),
        ("+9991234567", {"+9991234567", "9991234567", "009991234567"}),  # of no country
    ],
)
def test_forms(number: str, wanted: set[str]) -> None:
    assert set(forms(number)) == wanted
    assert all(form.endswith(core(number)) for form in wanted)


def test_a_text_that_names_it() -> None:
    assert named_in("call 0170 / 1234-5678 back", "+4917012345678")
    assert not named_in("call 0170 / 1234-5679 back", "+4917012345678")
