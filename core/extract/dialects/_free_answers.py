"""Read what a model without grammar made of the studio format: fences, prose, other separators, JSON.

Everything put right or left out is counted. Never raises on any string.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import regex

from core.extract.answer import Found, Reading
from core.extract.normal import tidy
from core.extract.schema import EventType, Schema, Task, Type, label

_NOTHING = frozenset(
    ("none", "no", "nothing", "n/a", "null", "nan", "[]", "{}", "无", "没有", "none found", "没有找到")
)
_FENCE = regex.compile(r"```[^\n]*")
_THINKING = regex.compile(r"(?s)<think>.*?(?:</think>|$)")
_ANSWER = regex.compile(r"(?i)^\s*(?:answer|output|回答|答案|输出)\s*[:：]\s*")
_RECORDS = regex.compile(r"\s*(?:\|\||｜｜|¦¦)\s*")
_PARTS = regex.compile(r"\s*[|｜¦]\s*")
_BULLET = regex.compile(r"^\s*(?:[-*•·]+|\d+[.)、])?\s*[*_\"'“”「」`]*")
_COLON = regex.compile(r"[\"'“”`*_]*\s*[:：]\s*[*_]*")


def read(task: Task, schema: Schema, answer: str, *, cut: bool = False) -> Reading:
    answer = _THINKING.sub("", answer)
    as_json = _json(answer)
    if as_json is not None:
        return _from_json(task, schema, as_json)
    types = {_key(made.name): made for made in schema.types(task)}
    lines = [line for line in _ANSWER.sub("", _FENCE.sub("", answer)).splitlines() if line.strip()]
    readings = [_line(task, types, line) for line in lines]
    if not any(reading.readable for reading in readings):
        # silence is a way of saying "none"; words that can't be understood are not
        return Reading((), not lines, repaired=1, dropped=0 if not lines else 1)
    if cut:
        return _joined(_without_last(readings))
    made = _joined(readings)  # it wasn't to the letter, or we wouldn't be here
    return replace(made, repaired=max(1, made.repaired))


def record(task: Task, made: Type, parts: Sequence[str]) -> Reading | None:
    """One record from its parts; None where the shape is wrong."""
    parts = list(parts)
    if not all(parts) or len(parts) != {"ner": 1, "re": 2}.get(task, len(parts)):
        return None
    if task == "ner":
        return Reading((Found(made.name, parts[0]),))
    if task == "re":
        return Reading((Found(made.name, parts[0], (("", parts[1]),)),))
    roles = {_key(role.name): role.name for role in made.roles} if isinstance(made, EventType) else {}
    arguments, dropped, repaired = [], 0, 0
    for part in parts[1:]:
        name, colon, text = part.partition(": ")
        if not colon:
            name, colon, text = _split(part)
            repaired += 1
        role = roles.get(_key(name))
        if role is None or not text.strip():
            dropped += 1
            continue
        repaired += label(role) != name
        arguments.append((role, text))
    return Reading((Found(made.name, parts[0], tuple(arguments)),), True, repaired, dropped)


def _line(task: Task, types: dict[str, Type], line: str) -> Reading:
    """A line's records; unreadable where it is prose. Records of types that nobody asked for are dropped."""
    plain = _BULLET.sub("", line).strip()
    if _says_nothing(plain):
        return Reading((), True, repaired=int(line != "none"))
    name, colon, rest = _split(plain)
    made = types.get(_key(name)) if colon else None
    if made is None:
        looks_like_a_type = bool(colon) and bool(rest.strip()) and len(name) <= 40
        return Reading((), False, dropped=len(_RECORDS.split(rest)) if looks_like_a_type else 0, repaired=1)
    if _says_nothing(rest) or not rest.strip():
        return Reading((), True, repaired=1)
    return _joined([_record(task, made, text) for text in _RECORDS.split(rest) if text.strip()])


def _record(task: Task, made: Type, text: str) -> Reading:
    parts = [part.strip() for part in _PARTS.split(text)]
    if task == "ner" and len(parts) > 1:  # single bars between entities
        return _joined([_record(task, made, part) for part in parts if part])
    one = record(task, made, parts)
    return one if one is not None else Reading((), True, dropped=1)


def _split(line: str) -> tuple[str, str, str]:
    """At the first colon, with the quotes and stars around it."""
    match = _COLON.search(line)
    return (line[: match.start()], ":", line[match.end() :]) if match else (line, "", "")


def _without_last(readings: list[Reading]) -> list[Reading]:
    """Generation was cut: the last record may lack its end, so it goes."""
    last = readings[-1]
    if not last.found:
        return readings
    return [*readings[:-1], Reading(last.found[:-1], True, last.repaired, last.dropped + 1)]


def _joined(readings: Iterable[Reading]) -> Reading:
    made = list(readings)
    found = tuple(one for reading in made for one in reading.found)
    return Reading(found, True, sum(reading.repaired for reading in made), sum(reading.dropped for reading in made))


def _key(name: str) -> str:
    return label(name).casefold()


def _says_nothing(text: str) -> bool:
    return text.strip(" .。!`\"'*").casefold() in _NOTHING


# Answers in JSON: {"type": ["span"]}, {"relation": [["head", "tail"]]} or objects with usual keys


def _json(answer: str) -> dict | list | None:
    text = _FENCE.sub("", answer).strip()
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if start < 0 or ":" in text[:start].replace("Answer:", ""):
        return None
    try:
        made, _ = json.JSONDecoder().raw_decode(text[start:])
    except (ValueError, RecursionError):
        return None
    return made if isinstance(made, dict | list) else None


def _from_json(task: Task, schema: Schema, data: Any) -> Reading:
    types = {_key(made.name): made for made in schema.types(task)}
    if isinstance(data, list):  # [{"type": …, …}] or [{"person": […]}]
        readings = [_from_json(task, schema, item) for item in data if isinstance(item, dict)]
        return _joined([Reading((), True, repaired=1), *readings])
    named = data.get("type") or data.get("relation")
    if isinstance(named, str):
        data = {named: [data]}
    readings = [Reading((), True, repaired=1)]
    for name, items in data.items():
        made = types.get(_key(str(name)))
        listed = items if isinstance(items, list) else [items]
        if made is None:
            readings.append(Reading((), True, dropped=len(listed)))
            continue
        readings += [_json_record(task, made, item) for item in listed if item not in ("", None, "none", "NAN")]
    return _joined(readings)


_FIRST = ("text", "name", "entity", "span", "head", "subject", "trigger")
_SECOND = ("tail", "object")


def _json_record(task: Task, made: Type, item: Any) -> Reading:
    parts: list[str] = []
    if isinstance(item, str):
        parts = [item]
    elif isinstance(item, list) and all(isinstance(part, str) for part in item):
        parts = list(item)
    elif isinstance(item, dict):
        parts = [str(item[key]) for keys in (_FIRST, _SECOND) for key in keys if isinstance(item.get(key), str)][:2]
        if task == "ee" and parts:
            parts = [parts[0], *_json_arguments(item)]
    one = record(task, made, [tidy(part) for part in parts]) if parts else None
    return one if one is not None else Reading((), True, dropped=1)


def _json_arguments(item: dict) -> list[str]:
    given = item.get("arguments", {})
    pairs: list[tuple[Any, Any]] = []
    if isinstance(given, dict):
        pairs = [
            (role, text) for role, texts in given.items() for text in (texts if isinstance(texts, list) else [texts])
        ]
    elif isinstance(given, list):
        pairs = [(one.get("role"), one.get("text", one.get("argument"))) for one in given if isinstance(one, dict)]
    return [f"{role}: {text}" for role, text in pairs if isinstance(text, str) and text not in ("", "NAN")]
