"""The six type colours, the same in text, tables, pictures and downloads, and who gets which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito 2008: told apart with any colour vision, on light and on dark ground."""
UNTYPED = "#8A9499"
SHAPES = ("circle", "rect", "triangle")
"""The seventh type has the first colour again, and another shape."""

_USUAL = (
    ("person", "people", "per", "人物", "人名", "人"),
    ("organization", "organisation", "org", "company", "组织", "组织机构", "机构", "公司", "企业"),
    ("location", "loc", "place", "city", "country", "地点", "地名", "地理位置", "地区", "城市"),
    ("date", "time", "year", "时间", "日期"),
    ("work", "product", "misc", "award", "作品", "产品", "奖项"),
    ("event", "position", "field", "事件", "职位", "领域"),
)
_PLACES = {name: place for place, names in enumerate(_USUAL) for name in names}


def slots(types: Iterable[str]) -> dict[str, int]:
    """A number for each type, its colour's place in the palette plus six for every round.

    Usual types have the same colour in every run; the others take what is free, in alphabetical order.
    """
    wanted = sorted({type for type in types if type})
    taken: dict[str, int] = {}
    for type in wanted:
        place = _PLACES.get(type.strip().casefold())
        if place is not None and place not in taken.values():
            taken[type] = place
    occupied = set(taken.values())
    free = (place for place in range(len(wanted) + len(PALETTE)) if place not in occupied)
    return {type: taken[type] if type in taken else next(free) for type in wanted}


def colour(type: str, places: Mapping[str, int]) -> str:
    return PALETTE[places[type] % len(PALETTE)] if type in places else UNTYPED


def shape(type: str, kind: str, places: Mapping[str, int]) -> str:
    """An event is a diamond, whatever its type."""
    if kind == "event":
        return "diamond"
    return SHAPES[places.get(type, 0) // len(PALETTE) % len(SHAPES)]
