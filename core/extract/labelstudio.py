"""Label Studio: tasks with predictions and a labeling config to give away, and completed annotations to read.

    {"data": {"text": …, "id": …}, "predictions": [{"model_version": …, "result": [REGION …, RELATION …]}]}
    REGION: {"id", "type": "labels", "from_name", "to_name": "text", "value": {"start", "end", "text", "labels": [T]}}
    RELATION: {"type": "relation", "from_id", "to_id", "direction": "right", "labels": [T]}

Its offsets count the units of a JavaScript string (UTF-16): a character beyond U+FFFF, such as an emoji, counts two.
Newer versions count codepoints. A file doesn't say which, but its regions do: each tells its words.

Three controls stand in the config: `entity`, `trigger` (an event's; its arguments are relations that go out from it,
labelled by their roles) and `mention` (an end of a relation or an argument that is no entity).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from core.errors import UserError
from core.extract import tables
from core.extract.schema import Schema
from core.records import Argument, Entity, Event, Extraction, Relation, Span
from core.store import Store, clean

TASKS, CONFIG = "tasks.json", "labeling-config.xml"
MENTION = "·"
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
Region = dict[str, Any]


def utf16(text: str, position: int) -> int:
    """Where codepoint `position` stands in a JavaScript string."""
    return position + sum(char > "\uffff" for char in text[:position])


def _codepoints(text: str) -> Callable[[int], int | None]:
    """From places in a JavaScript string to codepoints; None in the middle of a character or outside."""
    if text.isascii() or max(text) <= "\uffff":
        return lambda place: place if 0 <= place <= len(text) else None
    at = {0: 0}
    units = 0
    for number, char in enumerate(text, start=1):
        units += 2 if char > "\uffff" else 1
        at[units] = number
    return at.get


# Out


def write(run: str | Path, out: str | Path, schema: Schema | None = None) -> int:
    """Every document of a run as a task with the model's records as its prediction; how many. Streams."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    names = _Names()
    made = 0
    temporary = out / f".{TASKS}.tmp"
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write("[")
            for row in Store(run).results():
                if row.error is None:
                    names.add(row)
                    file.write((",\n" if made else "\n") + json.dumps(task(row), ensure_ascii=True))
                    made += 1
            file.write("\n]\n")
        temporary.replace(out / TASKS)
        (out / CONFIG).write_text(config(names, schema), encoding="utf-8")
    except OSError as error:
        raise UserError(
            "The tasks can't be written to {path}: {why}.",
            remedy="Free some space, or choose another place.",
            path=out,
            why=error.strerror or error,
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return made


def task(row: Extraction) -> dict[str, Any]:
    regions = _Regions(clean(row.text))
    for entity in row.entities:
        regions.at(entity, "entity", entity.type)
    for relation in row.relations:
        ends = [regions.end(span) for span in (relation.head, relation.tail)]
        regions.join(ends[0], ends[1], relation.relation)
    for event in row.events:
        trigger = regions.at(event.trigger, "trigger", event.type)
        for argument in event.arguments:
            regions.join(trigger, regions.end(argument), argument.role)
    prediction: dict[str, Any] = {
        "model_version": str(row.provenance.get("model", "")),
        "result": [*regions.made.values(), *regions.joins],
    }
    if row.confidence is not None:
        prediction["score"] = row.confidence
    data = {"text": regions.text, "id": row.id, "row": row.provenance.get("row")}
    return {"data": data, "predictions": [prediction]}


@dataclass
class _Regions:
    text: str
    made: dict[tuple[Any, ...], Region] = field(default_factory=dict)
    joins: list[dict[str, Any]] = field(default_factory=list)

    def at(self, span: Span | Entity | Argument, name: str, label: str) -> str:
        """The id of the region for that span; "" where the text doesn't hold it, since no region can be drawn."""
        if span.start is None or span.end is None:
            return ""
        key = (name, label, span.start, span.end)
        value = {
            "start": utf16(self.text, span.start),
            "end": utf16(self.text, span.end),
            "text": self.text[span.start : span.end],
            "labels": [label],
        }
        region = {"id": f"r{len(self.made)}", "type": "labels", "from_name": name, "to_name": "text", "value": value}
        return self.made.setdefault(key, region)["id"]

    def end(self, span: Span | Argument) -> str:
        """The entity at that place, else a region that is an end and nothing else."""
        for (name, _, start, end), region in self.made.items():
            if name == "entity" and (start, end) == (span.start, span.end):
                return region["id"]
        return self.at(span, "mention", MENTION)

    def join(self, one: str, other: str, label: str) -> None:
        if one and other:
            ends = {"from_id": one, "to_id": other}
            self.joins.append({"type": "relation", "direction": "right", "labels": [label]} | ends)


@dataclass
class _Names:
    """Types that occur, in the order in which they were met."""

    entities: dict[str, None] = field(default_factory=dict)
    relations: dict[str, None] = field(default_factory=dict)
    events: dict[str, None] = field(default_factory=dict)

    def add(self, row: Extraction) -> None:
        self.entities.update(dict.fromkeys(one.type for one in row.entities))
        self.relations.update(dict.fromkeys(one.relation for one in row.relations))
        for event in row.events:
            self.events[event.type] = None
            self.relations.update(dict.fromkeys(one.role for one in event.arguments))


def config(names: _Names, schema: Schema | None = None) -> str:
    """The labeling config: the schema's types, and what occurs besides."""
    entities, relations, events = dict(names.entities), dict(names.relations), dict(names.events)
    if schema is not None:
        entities = dict.fromkeys(one.name for one in schema.entities) | entities
        roles = (role.name for one in schema.events for role in one.roles)
        relations = dict.fromkeys([*(one.name for one in schema.relations), *roles]) | relations
        events = dict.fromkeys(one.name for one in schema.events) | events
    lines = ["<View>"]
    if relations:
        lines += [
            "  <Relations>",
            *(f"    <Relation value={_attribute(name)}/>" for name in relations),
            "  </Relations>",
        ]
    for control, labels in (
        ("entity", entities),
        ("trigger", events),
        ("mention", {MENTION: None} if relations else {}),
    ):
        if labels:
            lines.append(f'  <Labels name="{control}" toName="text">')
            for number, name in enumerate(labels):
                colour = _COLOURS[number % len(_COLOURS)] if control != "mention" else "#8A9499"
                lines.append(f'    <Label value={_attribute(name)} background="{colour}"/>')
            lines.append("  </Labels>")
    return "\n".join([*lines, '  <Text name="text" value="$text"/>', "</View>", ""])


def _attribute(text: str) -> str:
    return quoteattr("".join(char if char.isprintable() else " " for char in clean(text)))


# In


def read(path: str | Path) -> Iterator[Extraction]:
    """The tasks that somebody completed; skipped and untouched ones are left out. Streamed. Raises UserError.

    Of several annotations the one marked as ground truth, else the last. `provenance["annotator"]` says whose it is.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("There is no file {path}.", remedy="Check the name and the folder.", path=path)
    for number, row in enumerate(tables.rows(tables.layout_of(path)), start=1):
        if row.error:
            raise row.error
        try:
            told = {name: _parsed(cell) for name, cell in row.cells.items()}
            annotation = _chosen(told)
            if annotation is not None:
                yield _extraction(told, annotation, row.line)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                "Task {number} of {path} is not one of Label Studio's: {why}.",
                remedy="Export the project as JSON in Label Studio and give that file.",
                number=number,
                path=path,
                why=f"{type(error).__name__}: {error}"[:200],
            ) from error


def _parsed(cell: str) -> Any:
    """The table reader hands nested JSON on as its text."""
    return json.loads(cell) if cell[:1] in ("{", "[") else cell


def _chosen(told: dict[str, Any]) -> dict[str, Any] | None:
    if not isinstance(told.get("data"), dict):
        raise KeyError("data")
    done = [one for one in told.get("annotations") or told.get("completions") or [] if not one.get("was_cancelled")]
    return next((one for one in done if one.get("ground_truth")), done[-1] if done else None)


def _extraction(told: dict[str, Any], annotation: dict[str, Any], line: int) -> Extraction:
    data = told["data"]
    text = data.get("text") if isinstance(data.get("text"), str) else _longest(data)
    regions, joins = _sorted(annotation.get("result") or [])
    place = _reading(text, regions)
    by = annotation.get("completed_by", "")
    about: dict[str, Any] = {"annotator": str(by.get("email", by) if isinstance(by, dict) else by)}
    if data.get("row") is not None:
        about["row"] = data["row"]
    spans = {region["id"]: _span(text, region, place) for region in regions}
    triggers = {one["id"] for one in regions if one.get("from_name") == "trigger"}
    arguments: dict[str, list[Argument]] = {}
    relations = []
    for join in joins:
        one, other = join["from_id"], join["to_id"]
        if join.get("direction") == "left":
            one, other = other, one
        if one not in spans or other not in spans:
            continue
        for label in join.get("labels") or ["related to"]:
            if one in triggers:
                span = spans[other]
                arguments.setdefault(one, []).append(Argument(label, span.text, span.start, span.end))
            else:
                relations.append(Relation(spans[one], label, spans[other]))
    entities, events = [], []
    for region in regions:
        span = spans[region["id"]]
        for label in _labels(region):
            if region["id"] in triggers:
                events.append(Event(label, span, tuple(arguments.get(region["id"], ()))))
            elif region.get("from_name") != "mention":
                entities.append(Entity(span.text, label, span.start, span.end))
    id = str(data.get("id") or told.get("id") or line)
    return Extraction(id, text, tuple(entities), tuple(relations), tuple(events), provenance=about)


def _longest(data: dict[str, Any]) -> str:
    """The text of a project with a config of its own: the longest string there is."""
    return max((one for one in data.values() if isinstance(one, str)), key=len)


def _sorted(result: Iterable[Region]) -> tuple[list[Region], list[Region]]:
    """Regions, each once though it may be told again for every control, and relations."""
    regions: dict[tuple[str, str], Region] = {}
    joins = []
    for one in result:
        if one.get("type") == "relation":
            joins.append(one)
        elif "start" in one.get("value", {}) and _labels(one):
            regions.setdefault((one["id"], one.get("from_name", "")), one)
    return list(regions.values()), joins


def _labels(region: Region) -> list[str]:
    value = region["value"]
    return [str(label) for label in value.get("labels") or value.get(str(region.get("type")), [])]


def _reading(text: str, regions: list[Region]) -> Callable[[int], int | None]:
    """How this file counts: as JavaScript does, unless the regions' words say codepoints."""
    javascript = _codepoints(text)

    def plain(place: int) -> int | None:
        return place if 0 <= place <= len(text) else None

    def fits(place: Callable[[int], int | None]) -> int:
        return sum(_says(text, region, place) for region in regions)

    return plain if fits(plain) > fits(javascript) else javascript


def _says(text: str, region: Region, place: Callable[[int], int | None]) -> bool:
    """Whether the region's words stand there; Label Studio folds white space in them."""
    start, end = _ends(region, place)
    words = region["value"].get("text")
    return words is not None and start is not None and text[start:end].split() == str(words).split()


def _ends(region: Region, place: Callable[[int], int | None]) -> tuple[int | None, int | None]:
    start, end = place(int(region["value"]["start"])), place(int(region["value"]["end"]))
    return (start, end) if start is not None and end is not None and start < end else (None, None)


def _span(text: str, region: Region, place: Callable[[int], int | None]) -> Span:
    """The text's own words there. Words that stand elsewhere are looked for, nearest first; else without a place."""
    start, end = _ends(region, place)
    words = region["value"].get("text")
    if start is not None and (words is None or _says(text, region, place)):
        return Span(text[start:end], start, end)
    words = str(words or "")
    near = int(region["value"]["start"])
    found = [at for at in range(len(text)) if text.startswith(words, at)] if words else []
    if not found:
        return Span(words)
    at = min(found, key=lambda at: abs(at - near))
    return Span(words, at, at + len(words))
