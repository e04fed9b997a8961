"""Readers of the nodes in which the caller speaks or answers alone: voicemail and survey."""

from __future__ import annotations

from pbx.domain.errors import BadValue
from pbx.domain.flow_nodes import Mailbox, Node, Question, Survey, Voicemail
from pbx.domain.flow_reader import DIGITS, Reader

MAX_MAILBOX = 63
MAX_QUESTIONS = 20
MAX_QUESTION_ID = 63


def voicemail(r: Reader) -> Node:
    terminator = r.one_of("terminator", ("#", "*", "none"), "#")
    mailbox = Mailbox(
        name=_short(r, "mailbox", MAX_MAILBOX),
        prompts=r.texts("prompts", ["voicemail-greeting"]),
        max_s=r.seconds("max_s", 180.0, 1, 3600),
        min_s=r.seconds("min_s", 1.0, 0, 60),
        terminator=None if terminator == "none" else terminator,
        silence_s=r.seconds("silence_s", None, 1, 60),
    )
    if not mailbox.prompts:
        raise BadValue(f"{r.field}.prompts", "must not be empty: the caller is told before anything is recorded")
    if mailbox.min_s > mailbox.max_s:
        raise BadValue(f"{r.field}.min_s", "must not be longer than max_s")
    return Voicemail(mailbox=mailbox, next=r.text("next"), on_failure=r.text("on_failure"))


def _short(r: Reader, name: str, longest: int) -> str:
    value = r.text(name)
    if len(value) > longest:
        raise BadValue(f"{r.field}.{name}", f"must be at most {longest} characters")
    return str(value)


def survey(r: Reader) -> Node:
    questions = tuple(_question(one) for one in r.objects("questions", "questions"))
    if not 1 <= len(questions) <= MAX_QUESTIONS:
        raise BadValue(f"{r.field}.questions", f"must be from 1 to {MAX_QUESTIONS} questions")
    ids = [question.id for question in questions]
    for at, question_id in enumerate(ids):
        if question_id in ids[:at]:
            raise BadValue(f"{r.field}.questions.{at}.id", "is that of another question")
    return Survey(
        questions=questions,
        next=r.text("next"),
        thanks=r.texts("thanks", ["survey-thanks"]),
        timeout_s=r.seconds("timeout_s", 5.0, 1, 60),
        tries=r.whole("tries", 2, 1, 9),
        invalid_prompt=r.text("invalid_prompt", "invalid-choice"),
        no_input_prompt=r.text("no_input_prompt", "no-input"),
    )


def _question(r: Reader) -> Question:
    question = Question(_short(r, "id", MAX_QUESTION_ID), r.texts("prompts"), r.text("digits"))
    if not question.prompts:
        raise BadValue(f"{r.field}.prompts", "must not be empty")
    if not DIGITS.issuperset(question.digits) or len(set(question.digits)) != len(question.digits):
        raise BadValue(f"{r.field}.digits", "must be different ones of 0-9, * and #")
    return question
