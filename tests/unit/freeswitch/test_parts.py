"""Causes, accounts, variables and settings of the FreeSWITCH adapter."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from pbx.adapters.freeswitch.causes import NAMES, cause_named, status_to_force
from pbx.adapters.freeswitch.engine import FreeSwitchEngine
from pbx.adapters.freeswitch.phones import dial_string, document
from pbx.adapters.freeswitch.snapshot import encoded
from pbx.bootstrap import build_engine
from pbx.config import PopSettings
from pbx.domain.errors import BadValue
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import PhoneId
from pbx.ports.media_engine import PhoneAccount

HA1 = "0123456789abcdef" * 2


def test_every_cause_has_a_name_of_its_own() -> None:
    assert set(NAMES) == set(HangupCause)
    assert all(cause_named(name) is cause for cause, name in NAMES.items())
    assert status_to_force(HangupCause.NORMAL_CLEARING) == 603
    assert status_to_force(HangupCause.USER_BUSY) is None


@pytest.mark.parametrize("name", ["Anna", '"><x a="', "${system(id)}", "A & B <c>", "Łucja 李"])
def test_account_is_xml_whatever_the_name(name: str) -> None:
    entry = ElementTree.fromstring(document(PhoneAccount(PhoneId("anna"), HA1, name), ping=True))  # noqa: S314
    (user,) = entry
    assert user.get("id") == "anna"
    values = {element.get("name"): element.get("value", "") for element in user.iter() if element.get("name")}
    assert values["a1-hash"] == HA1
    assert values["force_ping"] == "true"
    assert not set(values["effective_caller_id_name"]) & set('$<>{}"')


@pytest.mark.parametrize("phone_id", ["", "../x", "a b", "a/b", "a@b", "${x}", "a,b", "x" * 65])
def test_unfit_phone_ids(phone_id: str) -> None:
    with pytest.raises(BadValue):
        dial_string(phone_id)
    with pytest.raises(BadValue):
        document(PhoneAccount(PhoneId(phone_id), HA1), ping=False)


def test_variables_are_written_so_that_the_server_finds_nothing_in_them() -> None:
    (value,) = encoded({"CALLPLANE_CALL": "a;b=c %41$(x)\\|&"}).values()
    assert not set(value) & set(" ;=$\\|&()")


@pytest.mark.parametrize(("codecs", "said"), [("PCMA,opus", "PCMA,opus"), ("", None)])
def test_the_codecs_of_an_accounts_class_count_for_its_own_calls(codecs: str, said: str | None) -> None:
    entry = ElementTree.fromstring(document(PhoneAccount(PhoneId("anna"), HA1), True, codecs))  # noqa: S314
    values = {element.get("name"): element.get("value", "") for element in entry.iter() if element.get("name")}
    assert values.get("absolute_codec_string") == said


def settings(tmp_path: Path, **values: object) -> PopSettings:
    paths = dict.fromkeys(("state_dir", "prompt_dir", "recording_dir"), tmp_path)
    return PopSettings(**({"id": "fra-1", "country": "DE"} | paths | values))  # type: ignore[arg-type]


def test_engine_of_the_setting(tmp_path: Path) -> None:
    made = build_engine(settings(tmp_path, engine="freeswitch", esl_password="x", phone_dir=tmp_path))
    assert isinstance(made, FreeSwitchEngine)
    assert build_engine(settings(tmp_path, ari_password="x", ami_password="y")).capabilities.name == "asterisk"


@pytest.mark.parametrize(
    ("values", "setting"),
    [
        ({}, "CALLPLANE_POP_ARI_PASSWORD"),
        ({"ari_password": "x"}, "CALLPLANE_POP_AMI_PASSWORD"),
        ({"engine": "freeswitch"}, "CALLPLANE_POP_PHONE_DIR"),
        ({"engine": "freeswitch", "phone_dir": "/nowhere"}, "CALLPLANE_POP_PHONE_DIR"),
        ({"engine": "freeswitch", "phone_dir": "."}, "CALLPLANE_POP_ESL_PASSWORD"),
        ({"engine": "freeswitch", "phone_dir": ".", "esl_password": "a\nb"}, "esl_password"),
    ],
)
def test_missing_settings_are_named(tmp_path: Path, values: dict[str, object], setting: str) -> None:
    with pytest.raises(BadValue, match=setting):
        build_engine(settings(tmp_path, **values))


@pytest.mark.parametrize(("site", "there"), [("hamburg", True), ("", False), ('x"/>', False), ("${system(id)}", False)])
def test_the_site_of_an_account_is_for_the_dialplan(site: str, there: bool) -> None:
    entry = ElementTree.fromstring(document(PhoneAccount(PhoneId("anna"), HA1, site=site), ping=True))  # noqa: S314
    values = {element.get("name"): element.get("value", "") for element in entry.iter() if element.get("name")}
    assert values.get("callplane_site") == (site if there else None)
