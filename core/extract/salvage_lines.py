"""Read answers of lines: `type: a || b`, `(head,relation,tail)`, `头实体是X,关系是R,尾实体是Y`, `关系：头,尾`.

Where words stand without quotes, the schema's own names are the only firm ground: a record is what stands
around one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import regex

from core.extract.answer import Found, Reading
from core.extract.salvage_names import Book, Names, fold, is_word, says_nothing, span, spelled
from core.extract.schema import EventType, Task, Type, label

_RECORDS = regex.compile(r"\s*(?:\|\||｜｜|¦¦)\s*")
_PARTS = regex.compile(r"\s*[|｜¦]\s*")
_BULLET = regex.compile(r"^\s*(?:[-*•·]+|\d+[.)、])?\s*[*_\"'“”「」`]*")
_COLON = regex.compile(r"[\"'“”`*_]*\s*[:：]\s*[*_]*")
_SEMICOLON = regex.compile(r"\s*[;；]\s*")
_FIELDS = {
    "head": "头实体|头部实体|head entity|head|subject",
    "relation": "关系类型|关系|relation",
    "tail": "尾实体|尾部实体|tail entity|tail|object",
    "type": "实体类型|类型|entity type|type",
    "entity": "实体|entity",
}
_FIELD = {
    "re": regex.compile(
        r"(?i)(?:^|(?<=[,，;；。(（\s]))(?:"
        + "|".join(f"(?P<{name}>{_FIELDS[name]})" for name in ("head", "relation", "tail"))
        + r")\s*(?:是|为|is)\s*[:：]?\s*"
    ),
    "ner": regex.compile(
        r"(?i)(?:^|(?<=[,，;；。(（\s]))(?:"
        + "|".join(f"(?P<{name}>{_FIELDS[name]})" for name in ("type", "entity"))
        + r")\s*(?:是|为|is)\s*[:：]?\s*"
    ),
}
_ROUND = "(（"
_BRACKET = regex.compile(r"[()（）]")
_BETWEEN = regex.compile(r"[)）]\s*[,，;；、.。]?\s*[(（]|[;；。]\s*[(（]?")
_LOST = regex.compile(r"\s*[)）(（]\s*")
_EVENTS_BETWEEN = regex.compile(r".*[)）\]】;；]\s*[,，;；、]?\s*[(（]?|.*[(（]", regex.S)
_STRIP = " \t\r,，;；。、\"'“”‘’`"


class Lines:
    """Reads one answer's lines for one schema."""

    def __init__(self, names: Names, book: Book) -> None:
        self.names, self.book, self.task = names, book, names.task
        known = spelled(made.name for made in names.types)
        before, after = r"[,，]\s*[\"'“‘]?", r"[\"'”’]?\s*"
        end = r"(?=[,，])" if self.task == "re" else r"(?=[,，\])）;；。(（]|$)"
        self.anchor = regex.compile(rf"(?i){before}({known}){after}{end}")
        first = rf"(?i)^[\s(（]*[\"'“‘]?({known}){after}[,，]"
        self.first = regex.compile(first)
        self.headed = regex.compile(rf"(?i)(?:^|(?<=[\s;；。:：,，]))({known}){after}[:：]")

    def line(self, line: str) -> Reading:
        """A line's records; unreadable where it is prose. Records of types that nobody asked for are dropped."""
        plain = _BULLET.sub("", line).strip()
        if says_nothing(plain):
            return Reading((), True, repaired=int(line != "none"))
        for read in (self._fields, self._tuples):
            made = read(plain)
            if made is not None:
                return made
        return self._named(plain)

    def is_unfinished(self, line: str) -> bool:
        """Whether the line's last record may have lost its end: one without brackets may, else one still open."""
        marks = list(self.anchor.finditer(line))
        if not marks or not any(sign in line for sign in _ROUND):
            return True
        opened: list[int] = []
        for bracket in _BRACKET.finditer(line):
            if bracket.group() in _ROUND:
                opened.append(bracket.start())
            elif opened:
                opened.pop()
        if self.task == "re" and not is_word(_bare(line[marks[-1].end() + 1 :])):
            return False  # it has no tail yet, so it wasn't read
        return bool(opened) and marks[-1].start() > opened[0]

    # 头实体是X,关系是R,尾实体是Y

    def _fields(self, line: str) -> Reading | None:
        pattern = _FIELD.get(self.task)
        marks = list(pattern.finditer(line)) if pattern else []
        if len(marks) < 2:
            return None
        wanted = ("head", "relation", "tail") if self.task == "re" else ("entity", "type")
        records: list[dict[str, str]] = [{}]
        for mark, following in zip(marks, [*marks[1:], None], strict=True):
            name = mark.lastgroup or ""
            if name in records[-1]:
                records.append({})
            records[-1][name] = line[mark.end() : following.start() if following else len(line)].strip(
                _STRIP + "()（）"
            )
        return joined(self._of_fields(record, wanted) for record in records)

    def _of_fields(self, record: dict[str, str], wanted: Sequence[str]) -> Reading:
        if set(wanted) - set(record):
            return Reading((), True, dropped=1)
        kind = self.names.type(record[wanted[1]])
        texts = [record[name] for name in wanted if name not in ("relation", "type")]
        return self._made(kind, texts)

    def _made(self, kind: Type | None, texts: Sequence[str]) -> Reading:
        if kind is not None and any(says_nothing(text) for text in texts):
            return Reading((), True)
        if kind is None or not all(is_word(text) for text in texts):
            return Reading((), kind is not None, dropped=1)
        parts = tuple(("", span(text)) for text in texts[1:])
        return Reading((Found(kind.name, span(texts[0]), parts),))

    # (头,关系,尾)

    def _tuples(self, line: str) -> Reading | None:
        bracketed = any(sign in line for sign in "()（）")
        marks = [] if "|" in line else list(self.anchor.finditer(line))
        if not marks:
            if bracketed and (self.task == "ner") and (first := self._type_first(line)) is not None:
                return first
            return Reading((), False, dropped=line.count("(") + line.count("（")) if self._like_tuples(line) else None
        if not bracketed and (len(marks) > 1 or (self.task == "ner" and line.count(",") + line.count("，") > 1)):
            return None
        line_start = self._start(line, marks[0].start())
        if self.task == "ner":
            return self._entity_tuples(line, marks, line_start)
        if self.task == "re":
            return self._triples(line, marks, line_start)
        return self._event_tuples(line, marks, line_start)

    def _start(self, line: str, mark: int) -> int:
        """Where the first record begins: behind words like “the triples are:” before its bracket."""
        opening = min((at for sign in _ROUND if 0 <= (at := line.find(sign)) < mark), default=-1)
        before = line[:opening].rstrip() if opening > 0 else ""
        return opening if before.endswith((":", "：")) else 0

    def _like_tuples(self, line: str) -> bool:
        """Whether it is `(a,b,c)` of a type nobody asked for."""
        return line[:1] in _ROUND and line.rstrip(" 。.;；")[-1:] in (")", "）") and ("," in line or "，" in line)

    def _entity_tuples(self, line: str, marks: Sequence[regex.Match], start: int) -> Reading:
        readings = []
        for mark in marks:
            text = line[start : mark.start()]
            cut = list(_BETWEEN.finditer(text))
            if cut:
                readings += [Reading((), True, dropped=1)] * (len(cut) - 1 + bool(text[: cut[0].start()].strip(_STRIP)))
                text = text[cut[-1].end() :]
            readings.append(self._made(self.names.type(mark.group(1)), [_bare(text)]))
            closing = regex.match(r"\s*[)）]", line, pos=mark.end())
            start = closing.end() if closing else mark.end()
        return joined(readings)

    def _type_first(self, line: str) -> Reading | None:
        """`(type,entity)`."""
        readings = []
        for piece in _BETWEEN.split(line):
            first = self.first.match(piece)
            if first:
                readings.append(self._made(self.names.type(first.group(1)), [_bare(piece[first.end() :])]))
        return joined(readings) if readings else None

    def _triples(self, line: str, marks: Sequence[regex.Match], start: int) -> Reading:
        edges = [(start, start)]  # of what stands between two relations: where the tail ends, where the head starts
        dropped = 0
        for one, other in pairwise(marks):
            ends, starts, lost = _edge(line, one.end() + 1, other.start())
            dropped += lost
            edges.append((ends, starts))
        edges.append((len(line), len(line)))
        readings = [Reading((), True, dropped=dropped)]
        for number, mark in enumerate(marks):
            head, tail = line[edges[number][1] : mark.start()], line[mark.end() + 1 : edges[number + 1][0]]
            if number == len(marks) - 1 and (end := _BETWEEN.search(tail)):
                tail = tail[: end.start()]
            if number == 0 and (cuts := list(_BETWEEN.finditer(head))):
                head = head[cuts[-1].end() :]
            readings.append(self._made(self.names.type(mark.group(1)), [_bare(head), _bare(tail)]))
        return joined(readings)

    # (触发词,事件类型,[(论元,角色),…]), or 论元#角色 and 角色#论元

    def _event_tuples(self, line: str, marks: Sequence[regex.Match], start: int) -> Reading:
        readings = []
        marks = self._without_roles(line, marks)
        trigger = _bare(line[start : marks[0].start()])
        for mark, following in zip(marks, [*marks[1:], None], strict=True):
            rest = line[mark.end() : following.start() if following else len(line)]
            coming = ""
            if following is not None:
                edge = _EVENTS_BETWEEN.match(rest)
                coming = _bare(rest[edge.end() :]) if edge else ""
                rest = rest[: edge.end()] if edge else rest
            readings.append(self._event(self.names.type(mark.group(1)), trigger, rest))
            trigger = coming
        return joined(readings)

    def _without_roles(self, line: str, marks: Sequence[regex.Match]) -> list[regex.Match]:
        """The marks that name an event: a role of the event before may be called as a type is."""
        kept = [marks[0]]
        for mark in marks[1:]:
            made = self.names.type(kept[-1].group(1))
            between = line[kept[-1].end() : mark.start()].lstrip(" \"'”’")
            inside = between[:1] in (",", "，") and line[mark.end() :].lstrip()[:1] in (*")）]］】",)
            if not (inside and made is not None and self.names.role(made, mark.group(1)) is not None):
                kept.append(mark)
        return kept

    def _event(self, made: Type | None, trigger: str, rest: str) -> Reading:
        if made is None or not is_word(trigger):
            return Reading((), True, dropped=1)
        found, dropped = [], 0
        for role, text in self._arguments(made, rest):
            known = self.names.role(made, role)
            if says_nothing(text) or not text:
                continue
            if known is None or not is_word(text):
                dropped += 1
                continue
            found.append((known, span(text)))
        return Reading((Found(made.name, span(trigger), tuple(found)),), True, 0, dropped)

    def _arguments(self, made: Type, rest: str) -> Iterable[tuple[str, str]]:
        marked = _roles(tuple(self.names.roles(made)))
        if "#" in rest:
            behind = list(marked["#role"].finditer(rest))
            before = list(marked["role#"].finditer(rest))
            if not before and not behind:
                return []
            if len(before) > len(behind):
                edges = [*(mark.start() for mark in before[1:]), len(rest)]
                return [(m.group(1), _bare(rest[m.end() : at]).strip("#")) for m, at in zip(before, edges, strict=True)]
            begins = [0, *(mark.end() for mark in behind[:-1])]
            return [(m.group(1), _bare(rest[at : m.start()]).strip("#")) for m, at in zip(behind, begins, strict=True)]
        marks = list(marked[",role)"].finditer(rest))
        first = list(marked["(role,"].finditer(rest))
        if len(first) > len(marks):
            edges = [*(mark.start() for mark in first[1:]), len(rest)]
            return [(m.group(1), _bare(rest[m.end() : edge])) for m, edge in zip(first, edges, strict=True)]
        got = []
        begin = 0
        for mark in marks:
            text = rest[begin : mark.start()]
            cut = list(_BETWEEN.finditer(text))
            stray = _bare(text[: cut[0].start()]) if cut else ""
            got += [("", stray)] if is_word(stray) else []  # an argument whose role nobody asked for
            got.append((mark.group(1), _bare(text[cut[-1].end() :] if cut else text)))
            begin = mark.end()
        return got

    # type: record || record

    def _named(self, line: str) -> Reading:
        segments = [part for part in _SEMICOLON.split(line) if part]
        named = [self._named_type(part) for part in segments[1:]]
        if any(named) and all(named[:-1]):
            readings = [self._named(part) for part in (segments if named[-1] else segments[:-1])]
            return joined([*readings, *([] if named[-1] else [Reading((), True, dropped=1)])])
        name, rest = self._name_and_rest(line)
        made = self.names.type(name) if rest is not None else None
        if rest is None or made is None:
            inner = self.headed.search(rest) if rest else None
            if rest and inner is not None:  # “the triples are: relation: head, tail”
                return self._named(rest[inner.start(1) :])
            looks_like_a_type = bool(rest and rest.strip()) and len(name) <= 40
            return Reading((), False, dropped=len(_RECORDS.split(rest or "")) if looks_like_a_type else 0, repaired=1)
        if says_nothing(rest) or not rest.strip():
            return Reading((), True, repaired=1)
        return joined(self._record(made, text) for text in _RECORDS.split(rest) if text.strip())

    def _named_type(self, text: str) -> bool:
        match = self.headed.search(text)
        return match is not None and match.start(1) == 0

    def _name_and_rest(self, line: str) -> tuple[str, str | None]:
        """At the colon behind a type's name (which may hold one itself), else at the first."""
        headed = self.headed.match(line)
        if headed:
            return headed.group(1), line[headed.end() :].lstrip(" *_")
        match = _COLON.search(line)
        return (line[: match.start()], line[match.end() :]) if match else (line, None)

    def _record(self, made: Type, text: str) -> Reading:
        parts = [part.strip() for part in _PARTS.split(text)]
        if self.task == "ner" and len(parts) > 1:  # single bars between entities
            return joined(self._record(made, part) for part in parts if part)
        if self.task == "re" and len(parts) == 1:
            parts = _two(_bare(text)) or parts
        if self.task != "ee":
            parts = [part.strip("\"'“”` ") if part[:1] in "\"'“`" else part for part in parts]
        if not all(is_word(part) for part in parts):
            return Reading((), True, dropped=1)
        one = record(self.task, made, parts)
        return one if one is not None else Reading((), True, dropped=1)


@lru_cache(maxsize=512)
def _roles(names: tuple[str, ...]) -> dict[str, regex.Pattern]:
    """Where an event's roles stand as such, in each of the ways in which arguments are written."""
    roles = spelled(names)
    return {
        "#role": regex.compile(rf"(?i)#\s*({roles})\s*(?=\s*(?:[,，;；)）\]】］#]|$))"),
        "role#": regex.compile(rf"(?i)(?:^|(?<=[,，;；(（\[【［#\s]))\s*({roles})\s*#"),
        ",role)": regex.compile(rf"(?i)[,，]\s*[\"'“‘]?({roles})[\"'”’]?\s*(?=[)）\]］]|[,，]\s*[(（]|$)"),
        "(role,": regex.compile(rf"(?i)[(（]\s*[\"'“‘]?({roles})[\"'”’]?\s*[,，]"),
    }


def record(task: Task, made: Type, parts: Sequence[str]) -> Reading | None:
    """One record from its parts as the studio format has them; None where the shape is wrong."""
    parts = list(parts)
    if not all(parts) or len(parts) != {"ner": 1, "re": 2}.get(task, len(parts)):
        return None
    if task == "ner":
        return Reading((Found(made.name, parts[0]),))
    if task == "re":
        return Reading((Found(made.name, parts[0], (("", parts[1]),)),))
    roles = {fold(role.name): role.name for role in made.roles} if isinstance(made, EventType) else {}
    arguments, dropped, repaired = [], 0, 0
    for part in parts[1:]:
        name, colon, text = part.partition(": ")
        if not colon:
            name, text = split(part)
            repaired += 1
        role = roles.get(fold(name))
        if role is None or not text.strip():
            dropped += 1
            continue
        repaired += label(role) != name
        arguments.append((role, text))
    return Reading((Found(made.name, parts[0], tuple(arguments)),), True, repaired, dropped)


def split(line: str) -> tuple[str, str]:
    """At the first colon, with the quotes and stars around it."""
    match = _COLON.search(line)
    return (line[: match.start()], line[match.end() :]) if match else (line, "")


def joined(readings: Iterable[Reading]) -> Reading:
    made = list(readings)
    found = tuple(one for reading in made for one in reading.found)
    return Reading(
        found,
        any(reading.readable for reading in made),
        sum(reading.repaired for reading in made),
        sum(reading.dropped for reading in made),
    )


def without_last(reading: Reading) -> Reading:
    """Generation was cut: the last record may lack its end, so it goes."""
    if not reading.found:
        return reading
    return replace(reading, found=reading.found[:-1], readable=True, dropped=reading.dropped + 1)


def _edge(line: str, start: int, end: int) -> tuple[int, int, int]:
    """Between two relations: where the one's tail ends, where the other's head starts, records lost in between."""
    edges = list(_BETWEEN.finditer(line, start, end))
    if edges:
        return edges[0].start(), edges[-1].end(), len(edges) - 1
    edges = list(_LOST.finditer(line, start, end))
    if len(edges) == 1:
        return edges[0].start(), edges[0].end(), 0
    commas = [at for at in range(start, end) if line[at] in ",，"]
    if not edges and len(commas) == 1:
        return commas[0], commas[0] + 1, 0
    return start, end, 2  # nobody can tell: both lose their words here


def _bare(text: str) -> str:
    """Words without the brackets and signs around them; brackets of their own stay."""
    for _ in range(20):
        before = text
        text = text.strip(_STRIP).lstrip(")]）】］").rstrip("([（【［")
        text = text[:-1] if text.endswith((").", "）.", "].")) else text
        opening, closing = sum(text.count(sign) for sign in "([（【［"), sum(text.count(sign) for sign in ")]）】］")
        if text[:1] in ("(", "[", "（", "【", "［") and opening > closing:
            text = text[1:]
        elif text[-1:] in (")", "]", "）", "】", "］") and closing > opening:
            text = text[:-1]
        elif text[:1] in ("(", "（") and text[-1:] in (")", "）") and opening == closing == 1:
            text = text[1:-1]
        if text == before:
            break
    return text


def _two(text: str) -> list[str] | None:
    """Head and tail around the one comma of their kind."""
    for sign in (",", "，"):
        if text.count(sign) == 1:
            return [part.strip(_STRIP) for part in text.split(sign)]
    return None
