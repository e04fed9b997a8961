"""One reader for each type of node: JSON fields to a node, or BadValue with the field's place."""

from __future__ import annotations

import math
from collections.abc import Callable

from pbx.domain.consent import Regime, regime_of
from pbx.domain.errors import BadValue
from pbx.domain.flow_caller_parse import survey, voicemail
from pbx.domain.flow_logic_parse import branch, collect, hours, look_up, return_, run_flow, set_variables, transfer
from pbx.domain.flow_nodes import AskConsent, Callback, ChooseLanguage, EnterQueue, HangUp, Menu, Node, Say, SkillNeed
from pbx.domain.flow_reader import Reader
from pbx.domain.hangup_cause import HangupCause
from pbx.domain.ids import QueueId
from pbx.domain.queue_rules import MAX_PROFICIENCY, MAX_VALUE
from pbx.domain.spoken import How, Spoken
from pbx.domain.variables import Value, template
from pbx.domain.wait_plan import MAX_ALTERNATIVES

MAX_PRIORITY = 1000
MAX_WAIT_S = 86_400

_ASKED = tuple(regime.word for regime in Regime if regime is not Regime.PROHIBITED)


def _say(r: Reader) -> Node:
    return Say(prompts=_said(r), next=r.text("next"), barge_in=r.flag("barge_in", True))


def _said(r: Reader) -> tuple[str | Spoken, ...]:
    said: list[str | Spoken] = []
    for at, one in enumerate(r.take("prompts", list, "a list of prompts and values", ...)):
        place = f"{r.field}.prompts.{at}"
        if isinstance(one, str) and one:
            said.append(one)
            continue
        if not isinstance(one, dict) or len(one) != 1 or next(iter(one)) not in {how.value for how in How}:
            raise BadValue(place, 'must be a prompt, or a value to say: {"digits": "{account}"}, {"number": "{count}"}')
        [(how, text)] = one.items()
        if not isinstance(text, str) or not text:
            raise BadValue(f"{place}.{how}", "must be a text")
        said.append(Spoken(How(how), template(text, f"{place}.{how}")))
    return tuple(said)


def _menu(r: Reader) -> Node:
    return Menu(
        prompt=r.text("prompt"),
        choices=r.choices("choices"),
        on_failure=r.text("on_failure"),
        timeout_s=r.seconds("timeout_s", 5.0, 1, 60),
        tries=r.whole("tries", 3, 1, 9),
        invalid_prompt=r.text("invalid_prompt", "invalid-choice"),
        no_input_prompt=r.text("no_input_prompt", "no-input"),
    )


def _language(r: Reader) -> Node:
    return ChooseLanguage(
        choices=r.choices("choices"),
        next=r.text("next"),
        prompt=r.text("prompt", "choose-language"),
        timeout_s=r.seconds("timeout_s", 5.0, 1, 60),
        tries=r.whole("tries", 2, 1, 9),
    )


def _consent(r: Reader) -> Node:
    node = AskConsent(
        next=r.text("next"),
        ask_prompt=r.text("ask_prompt", "consent-ask"),
        notice_prompt=r.text("notice_prompt", "consent-notice"),
        opt_in_prompt=r.text("opt_in_prompt", "consent-keys-opt-in"),
        opt_out_prompt=r.text("opt_out_prompt", "consent-keys-opt-out"),
        granted_prompt=r.text("granted_prompt", "consent-granted"),
        refused_prompt=r.text("refused_prompt", "consent-refused"),
        yes=r.digit("yes", "1"),
        no=r.digit("no", "2"),
        timeout_s=r.seconds("timeout_s", 6.0, 1, 60),
        tries=r.whole("tries", 2, 1, 9),
        at_least=regime_of(r.one_of("at_least", _ASKED, Regime.NONE.word), f"{r.field}.at_least"),
        queue_id=QueueId(queue_id) if (queue_id := r.text("queue", None)) is not None else None,
    )
    if node.yes == node.no:
        raise BadValue(f"{r.field}.no", "must be another digit than yes")
    return node


def _queue(r: Reader) -> Node:
    node = EnterQueue(
        queue_id=QueueId(r.text("queue")),
        on_refused=r.text("on_refused"),
        on_timeout=r.text("on_timeout", None),
        max_wait_s=r.seconds("max_wait_s", None, 1, MAX_WAIT_S),
        welcome_prompt=r.text("welcome_prompt", "queue-welcome") if r.flag("welcome", True) else None,
        announce_position=r.flag("announce_position", True),
        announce_wait=r.flag("announce_wait", False),
        priority=r.whole("priority", 0, -MAX_PRIORITY, MAX_PRIORITY),
        needs=_needs(r),
        preferred=r.variable("preferred", None, writable=False),
        preferred_s=r.seconds("preferred_s", None, 1, 3600) or 0.0,
        value=_value(r),
        after=r.text("after", None),
    )
    if (node.preferred is None) != (node.preferred_s == 0.0):
        raise BadValue(f"{r.field}.preferred_s", "goes together with preferred")
    if (node.on_timeout is None) != (node.max_wait_s is None):
        raise BadValue(f"{r.field}.on_timeout", "goes together with max_wait_s")
    return node


def _needs(r: Reader) -> tuple[SkillNeed, ...]:
    if r.data.get("needs") == "language":
        del r.data["needs"]
        return (SkillNeed("lang:{language}", 1),)
    needs = []
    for need in r.objects("needs", "skills, or language", []):
        skill, least = _skill(need)
        fallbacks = tuple(
            (float(other.seconds("after_s", ..., 0, MAX_WAIT_S)), *_skill(other))
            for other in need.objects("fallbacks", "skills", [])
        )
        needs.append(SkillNeed(skill, least, fallbacks))
    if math.prod(1 + len(need.fallbacks) for need in needs) > MAX_ALTERNATIVES:
        raise BadValue(f"{r.field}.needs", f"have more than {MAX_ALTERNATIVES} combinations")
    return tuple(needs)


def _value(r: Reader) -> Value | None:
    value: Value | None = r.take("value", (int, float, str), "a number from 0 to 10, or a text with a variable", None)
    if isinstance(value, str):
        return template(value, f"{r.field}.value")
    if value is not None and not 0 <= value <= MAX_VALUE:
        raise BadValue(f"{r.field}.value", f"must be from 0 to {MAX_VALUE}")
    return value


def _skill(r: Reader) -> tuple[str, int]:
    return template(r.text("skill"), f"{r.field}.skill"), r.whole("least", 1, 1, MAX_PROFICIENCY)


def _callback(r: Reader) -> Node:
    return Callback(
        queue_id=QueueId(r.text("queue")),
        next=r.text("next"),
        on_failure=r.text("on_failure"),
        number=r.variable("number", "caller", writable=False),
        prompt=r.text("prompt", "callback-promised"),
        priority=r.whole("priority", 0, -MAX_PRIORITY, MAX_PRIORITY),
        needs=_needs(r),
    )


def _hang_up(r: Reader) -> Node:
    cause = r.text("cause", "NORMAL_CLEARING")
    if cause not in HangupCause.__members__:
        raise BadValue(f"{r.field}.cause", "is not a hangup cause of Q.850")
    return HangUp(prompts=r.texts("prompts", []), cause=HangupCause[cause])


NODES: dict[str, Callable[[Reader], Node]] = {
    "say": _say,
    "menu": _menu,
    "language": _language,
    "consent": _consent,
    "queue": _queue,
    "callback": _callback,
    "hang_up": _hang_up,
    "collect": collect,
    "set": set_variables,
    "branch": branch,
    "hours": hours,
    "lookup": look_up,
    "flow": run_flow,
    "return": return_,
    "transfer": transfer,
    "voicemail": voicemail,
    "survey": survey,
}
