"""Frozen values made at a third of the cost, for those that are made at each decision.

The ``__init__`` of a frozen dataclass sets each field by a call of ``object.__setattr__``, for the plain way is what
freezing forbids. A maker fills in an instance of a twin, laid out like the class and not frozen, and hands it over as the
class's own. What comes out is no different: it is frozen, and equal to what the class itself would have made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


def maker(kind: Callable[P, T]) -> Callable[P, T]:
    """A function that takes what ``kind`` takes, a frozen dataclass with slots, and makes the same. Raises TypeError for
    any other, and where making is more than setting fields."""
    cls = cast(type, kind)
    frozen = dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen and "__slots__" in vars(cls)  # type: ignore[attr-defined]
    if not frozen or hasattr(cls, "__post_init__"):
        raise TypeError(f"{cls.__name__} is more than fields, or not frozen with slots")
    open_to_all = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    twin = type(cls.__name__, cls.__bases__, {"__slots__": vars(cls)["__slots__"], **open_to_all})
    names: dict[str, Any] = {"_new": object.__new__, "_twin": twin, "_cls": cls}
    takes: dict[bool, list[str]] = {False: [], True: []}
    fields = dataclasses.fields(cls)
    for field in fields:
        if not field.init or field.default_factory is not dataclasses.MISSING:
            raise TypeError(f"{cls.__name__}.{field.name} is not set by a value alone")
        names[f"_default_{field.name}"] = field.default
        default = "" if field.default is dataclasses.MISSING else f"=_default_{field.name}"
        takes[field.kw_only].append(field.name + default)
    star = ["*"] if takes[True] else []
    lines = [
        f"def make({', '.join((*takes[False], *star, *takes[True]))}):",
        " _self = _new(_twin)",
        *(f" _self.{field.name} = {field.name}" for field in fields),
        " _self.__class__ = _cls",
        " return _self",
    ]
    exec("\n".join(lines), names)  # noqa: S102  # names of fields alone, as dataclasses does it
    return cast("Callable[P, T]", names["make"])
