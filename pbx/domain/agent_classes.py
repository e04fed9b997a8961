"""What an agent *is* besides what it can do: on shift, of a site, of a POP. A class is kept as a skill whose name no
operator can give, so that the indexes by requirement serve it too: *on shift only* is one more skill in the queue's
requirement, *on shift first* a requirement with it before the one without it, and a match stays O(log n).

``~`` sorts after all letters: pools are found by the first of their skills, which is to be a rare one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pbx.domain.ids import PopId

ON_SHIFT = "~shift"
_SITE, _POP = "~site:", "~pop:"

Class = str


def of_site(site: str) -> Class:
    return _SITE + site


def of_pop(pop_id: PopId) -> Class:
    return _POP + pop_id


def classes_of(*, on_shift: bool, site: str | None, home_pop: PopId | None) -> tuple[Class, ...]:
    found = [ON_SHIFT] if on_shift else []
    if site is not None:
        found.append(of_site(site))
    if home_pop is not None:
        found.append(of_pop(home_pop))
    return tuple(found)


def is_class(skill: str) -> bool:
    return skill.startswith("~")


def is_site(skill: str) -> bool:
    return skill.startswith(_SITE)


def skills_of(requirement: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Without the classes."""
    return {skill: least for skill, least in sorted(requirement) if not is_class(skill)}


def shown(requirement: Iterable[tuple[str, int]]) -> list[str]:
    """The classes as people read them: ``shift``, ``site:fra``."""
    return sorted(skill[1:] for skill, _ in requirement if is_class(skill))


def abilities(skills: Mapping[str, int], classes: Iterable[Class]) -> dict[str, int]:
    return {**skills, **dict.fromkeys(classes, 1)}
