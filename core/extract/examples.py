"""A schema's examples: which of them a prompt shows, and as records."""

from __future__ import annotations

from core.extract.answer import Found
from core.extract.normal import tidy
from core.extract.schema import Example, Schema, Task


def said(task: Task, example: Example) -> list[Found]:
    """What an answer for the example's text would say."""
    if task == "ner":
        return [Found(name, tidy(text)) for name, texts in example.entities.items() for text in texts]
    if task == "re":
        pairs = [(name, pair) for name, pairs in example.relations.items() for pair in pairs]
        return [Found(name, tidy(head), (("", tidy(tail)),)) for name, (head, tail) in pairs]
    return [
        Found(
            name,
            tidy(event.get("trigger", "")),
            tuple((role, tidy(text)) for role, text in event.items() if role != "trigger"),
        )
        for name, events in example.events.items()
        for event in events
    ]


def chosen(task: Task, schema: Schema, count: int) -> tuple[Example, ...]:
    """At most so many examples, those that together show most of the schema's types, in their order."""
    if count >= len(schema.examples):
        return schema.examples
    known = {made.name for made in schema.types(task)}
    shows = [known & {one.type for one in said(task, example)} for example in schema.examples]
    taken: list[int] = []
    seen: set[str] = set()
    for _ in range(count):
        left = [number for number in range(len(shows)) if number not in taken]
        best = max(left, key=lambda number: (len(shows[number] - seen), len(shows[number]), -number))
        taken.append(best)
        seen |= shows[best]
    return tuple(schema.examples[number] for number in sorted(taken))
