"""Rows that nothing was trained on, with the schema each set is asked with: what the starter is scored by.

A set is `NAME.jsonl` (`id`, `text`, and `entity`, `relation` or `event` as IEPile's raw rows have them) and
`NAME.schema.json`. Every schema asks for far more types than any row holds.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.extract import schema as schemas
from core.extract.schema import EntityType, EventType, RelationType, Role, Schema, Task
from train.starter import real, templates, wording
from train.starter.mixture import ALIEN

HAND = Path(__file__).parent / "kept_out" / "events_en.jsonl"
WORLD_ROWS = 40
FEW, FEW_ROWS = 4, 20


@dataclass(frozen=True)
class Gold:
    name: str
    task: Task
    schema: Schema
    rows: tuple[dict[str, Any], ...]


def sets(data: Path, *, most: int, seed: int) -> Iterator[Gold]:
    """`most`: rows a set, drawn by `seed`."""
    yield from published(data, most=most, rng=random.Random(seed))
    yield from own(random.Random(seed))


def own(rng: random.Random) -> Iterator[Gold]:
    """What needs no published data: generated event rows, and those written by hand."""
    for world in templates.worlds():
        if templates.load_world(world).events:
            yield _world(world, rng)
    yield from _by_hand()


def published(data: Path, *, most: int, rng: random.Random) -> Iterator[Gold]:
    """Kept-out rows of FewRel, SemEval and CrossNER."""
    wordings = wording.dataset("fewrel")["relations"]
    told = {name: wordings[name][0][1] for name in wordings}
    told |= {
        "follows": "the work, event or year (head) comes right after the tail in a series",
        real.UNSEEN[1]: "the place (head) lies in, at or beside the sea, lake or river (tail)",
    }
    fewrel = Schema(
        name="fewrel", relations=tuple(RelationType(name=name, description=told[name]) for name in sorted(told))
    )
    yield Gold("re-fewrel", "re", fewrel, _related(_some(real.fewrel(data, kept_out=True), most, rng)))
    unseen = _some(real.unseen(data), most, rng)
    yield Gold("re-unseen", "re", fewrel, _related(unseen))
    yield from _few_asked(unseen, told, rng)
    nominal = wording.dataset("semeval")["relations"]
    semeval = Schema(
        name="semeval",
        relations=tuple(RelationType(name=name, description=made[0][1]) for name, made in sorted(nominal.items())),
    )
    yield Gold("re-semeval", "re", semeval, _related(_some(real.semeval(data, kept_out=True), most // 2, rng)))
    for domain in real.DOMAINS:
        found = _some(real.crossner(data, domain, kept_out=True), most // 4, rng)
        yield Gold(f"ner-{domain}", "ner", _domain(domain), _mentioned(found, domain))


def _few_asked(unseen: Sequence[real.Sentence], told: Mapping[str, str], rng: random.Random) -> Iterator[Gold]:
    """The same rows asked for fewer types, as in FewRel's own tasks: the two unseen ones, four drawn for each set."""
    seen = sorted(name for name in told if name not in real.UNSEEN)
    for number, at in enumerate(range(0, len(unseen), FEW_ROWS)):
        names = [*real.UNSEEN, *rng.sample(seen, FEW)]
        few = Schema(
            name=f"fewrel {number}",
            relations=tuple(RelationType(name=name, description=told[name]) for name in sorted(names)),
        )
        yield Gold(f"re-unseen6-{number}", "re", few, _related(unseen[at : at + FEW_ROWS]))


def write(gold: Gold, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    schemas.save(schemas.check(gold.schema), folder / f"{gold.name}.schema.json")
    with (folder / f"{gold.name}.jsonl").open("w", encoding="utf-8") as out:
        for number, row in enumerate(gold.rows):
            out.write(json.dumps({"id": f"{gold.name}-{number}", **row}, ensure_ascii=False) + "\n")


def _related(found: Sequence[real.Sentence]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "text": one.text,
            "relation": [{"head": head, "relation": name, "tail": tail} for name, head, tail in one.relations],
        }
        for one in found
    )


def _domain(domain: str) -> Schema:
    """The domain's own types and the other domains' that its sentences hardly hold."""
    told = wording.dataset("crossner")
    own = {key: made[0] for key, made in told[domain]["entities"].items()}
    far = {
        key: told[name]["entities"][key][0]
        for name, keys in ALIEN.items()
        if name != domain
        for key in keys
        if key not in own
    }
    types = tuple(EntityType(name=name, description=what) for name, what in {**far, **own}.values())
    return Schema(name=f"crossner {domain}", entities=types)


def _mentioned(found: Sequence[real.Sentence], domain: str) -> tuple[dict[str, Any], ...]:
    told = wording.dataset("crossner")[domain]["entities"]
    return tuple(
        {
            "text": one.text,
            "entities": [
                {"text": one.text[start:end], "type": told[kind][0][0], "start": start, "end": end}
                for kind, start, end in one.entities
            ],
        }
        for one in found
    )


def _world(world: str, rng: random.Random) -> Gold:
    """Generated rows whose templates, triggers and names are kept out of training."""
    known = templates.load_world(world).events
    schema = Schema(
        name=world,
        events=tuple(
            EventType(
                name=made.wordings[0][0],
                description=made.wordings[0][1],
                roles=tuple(Role(name=told[0][0], description=told[0][1]) for told in made.roles.values()),
            )
            for made in known.values()
        ),
    )
    source = templates.rows(world, "kept_out", rng)
    rows = []
    for row in (next(source) for _ in range(WORLD_ROWS)):
        events = [
            {
                "type": known[event.type].wordings[0][0],
                "trigger": _span(event.trigger),
                "arguments": [
                    {"role": known[event.type].roles[one.role][0][0], **_span(one)} for one in event.arguments
                ],
            }
            for event in row.events
        ]
        rows.append({"text": row.text, "events": events})
    return Gold(f"ee-{world}", "ee", schema, tuple(rows))


def _span(one: Any) -> dict[str, Any]:
    return {"text": one.text, "start": one.start, "end": one.end}


def _by_hand() -> Iterator[Gold]:
    """The sentences written by hand: a set for each ready-made schema, and one for each row's own."""
    of: dict[str, list[dict[str, Any]]] = {}
    for line in HAND.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        of.setdefault(json.dumps(row["schema"], sort_keys=True), []).append(row)
    for number, (told, rows) in enumerate(of.items()):
        asked = json.loads(told)
        schema = schemas.load(asked) if isinstance(asked, str) else schemas.from_json(asked, name=f"own {number}")
        only = schema.model_copy(update={"entities": (), "relations": ()})
        kept = tuple({"text": row["text"], "event": row["event"]} for row in rows)
        yield Gold(f"eehand-{number}", "ee", only, kept)


def _some(found: list[real.Sentence], most: int, rng: random.Random) -> list[real.Sentence]:
    return found if len(found) <= most else rng.sample(found, most)
