"""`python -m train.starter.check WORLD`: whether a world's templates hold together, and what they make."""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator

from train.starter.templates import Choice, Piece, Row, Slot, Words, load_templates, load_world, rows, worlds


def triggers(world: str, *, kept_out: bool) -> dict[str, int]:
    """Every wording of a trigger in the world's templates (lower case), with the line it stands in."""
    found: dict[str, int] = {}

    def search(pieces: tuple[Piece, ...], wanted: set[str], line: int) -> None:
        for piece in pieces:
            if isinstance(piece, Words) and piece.name in wanted:
                found.update((option.lower(), line) for option in piece.options)

    for template in load_templates(world):
        if template.kept_out == kept_out:
            search(template.pieces, {trigger for _, trigger, _ in template.events}, template.line)
    return found


def clashes(world: str) -> list[str]:
    """Where a trigger of the world is kept out in one place and trained in another, of any world."""
    told = []
    for other in worlds():
        for trained, held in ((world, other), (other, world)):
            seen, kept = triggers(trained, kept_out=False), triggers(held, kept_out=True)
            told += [
                f'trigger "{word}" is kept out in {held}.txt:{kept[word]}, but trained in {trained}.txt:{seen[word]}'
                for word in sorted(seen.keys() & kept.keys())
            ]
    return sorted(set(told))


def missing(world: str) -> list[str]:
    """Types and roles of a world that no training template names."""
    w, trained = load_world(world), [t for t in load_templates(world) if not t.kept_out]
    relations = {key for template in trained for key, _, _ in template.relations}
    events = {key for template in trained for key, _, _ in template.events}
    roles = {(key, role) for template in trained for key, _, pairs in template.events for role, _ in pairs}
    types = {key for template in trained for slot in _slots(template.pieces) for key in slot.types}
    told = [f'entity "{key}"' for key in w.entities if key not in types]
    told += [f'relation "{key}"' for key in w.relations if key not in relations]
    told += [f'event "{key}"' for key in w.events if key not in events]
    told += [
        f'role "{role}" of event "{key}"'
        for key, event in w.events.items()
        for role in event.roles
        if (key, role) not in roles
    ]
    return told


def _slots(pieces: tuple[Piece, ...]) -> Iterator[Slot]:
    for piece in pieces:
        if isinstance(piece, Slot):
            yield piece
        elif isinstance(piece, Choice):
            for option in piece.options:
                yield from _slots(option)


def shown(row: Row) -> str:
    lines = [row.text, "    " + " · ".join(f"{entity.text} ({entity.type})" for entity in row.entities)]
    lines += [f"    {r.head.text} > {r.relation} > {r.tail.text}" for r in row.relations]
    for event in row.events:
        roles = ", ".join(f"{argument.role}={argument.text}" for argument in event.arguments)
        lines.append(f"    {event.type}: [{event.trigger.text}] {roles}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Check a world's templates and print generated rows.")
    parser.add_argument("world", choices=worlds())
    parser.add_argument("--split", choices=("train", "kept_out"), default="train")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--join", type=float, default=0.0)
    chosen = parser.parse_args()
    source = rows(chosen.world, chosen.split, random.Random(chosen.seed), join=chosen.join)
    for _, row in zip(range(chosen.count), source, strict=False):
        print(shown(row))
    templates = load_templates(chosen.world)
    held = sum(template.kept_out for template in templates)
    print(f"{len(templates) - held} training templates, {held} kept out; all parse.")
    for line in [*(f"no training template for {what}" for what in missing(chosen.world)), *clashes(chosen.world)]:
        print("WARNING:", line)


if __name__ == "__main__":
    main()
