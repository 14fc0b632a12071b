"""From a text and a schema to the calls a model must answer, and from its answers to grounded records.

A document is cut into chunks, a schema into parts; each pair is one call. Every intermediate result
is an `Extraction`, so that the results of calls, of chunks and of parts are joined by one function.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, Protocol

from core.errors import UserError
from core.extract import asking, dialects
from core.extract.answer import Found
from core.extract.chunk import chunks
from core.extract.context import own_records, with_context
from core.extract.ground import Finder
from core.extract.merge import merged
from core.extract.normal import Source, normalise
from core.extract.passes import FIRST, Pass
from core.extract.schema import Schema, Task, need
from core.extract.tasks import ee, ner
from core.extract.tasks import re as relations
from core.inference.client import Answer
from core.inference.decoding import Decoding
from core.models import Model
from core.records import Extraction

LONGEST = 5_000_000  # characters a document: a book of 1,500 pages
NOWHERE = Source("", (0,))
COUNTED = ("calls", "unreadable", "cut", "repaired", "dropped", "prompt_tokens", "tokens", "seconds")


class Asked(Protocol):
    """What is needed of a client: core.inference.client.Client, or anything that answers like it."""

    model: Model
    parallel: int
    context: int
    can: dict[str, Any]

    def complete(
        self, prompt: str, decoding: Decoding, *, grammar: str | None = None, stop: tuple[str, ...] = ()
    ) -> Answer: ...

    def chat(
        self,
        messages: list[dict[str, str]],
        decoding: Decoding,
        *,
        grammar: str | None = None,
        stop: tuple[str, ...] = (),
    ) -> Answer: ...


@dataclass(frozen=True)
class Options:
    """What changes answers beside text, schema and model; a run's store remembers it."""

    chunk_characters: int = 0
    """0: 600, or 300 where much of the text is Chinese."""
    overlap: int = 1
    """Sentences that a chunk repeats from the one before."""
    types_per_call: int = 0
    """0: as many as the dialect's models are used to."""
    grammar: bool = True
    dialect: str = dialects.AUTO
    """auto: the one that the model's card names."""
    examples: int | None = None
    """The schema's examples that a prompt shows, at most; None: all of them, to models not trained for this."""
    instruction: str = ""
    """A person's own words in place of the dialect's instruction."""
    wording: int = 0
    """Which of the dialect's wordings of an instruction."""
    grounding: bool = True
    """False: records may say what the text doesn't; nothing is looked for in it, and no grammar holds them to it."""
    context: Literal["auto", "on", "off"] = "auto"
    """Whether chunks are shown their heading and the sentence before them, for relations and events (context.py).
    auto: to models that were not trained for extraction; those that were know texts without it."""


@dataclass(frozen=True)
class Part:
    """A task and some of its types: what one prompt asks for, in which dialect."""

    number: int
    task: Task
    schema: Schema
    dialect: str = dialects.USUAL
    asking: Options = field(default_factory=Options)
    turn: Pass = FIRST
    context: bool = False


@dataclass(frozen=True)
class Call:
    part: Part
    source: Source
    document: str


def dialect_of(model: Model | None, options: Options) -> str:
    """The name of the dialect in which the model is asked; without a model, the usual one."""
    if options.dialect != dialects.AUTO:
        return options.dialect
    return model.card.dialect if model is not None else dialects.USUAL


def parts(schema: Schema, tasks: Sequence[Task], options: Options, model: Model | None = None) -> list[Part]:
    """Raises UserError if the schema has no types for one of the tasks, or there is no such dialect."""
    name = dialect_of(model, options)
    dialect = dialects.find(name)
    asking.check(options, name)
    made: list[Part] = []
    for task in dict.fromkeys(tasks):
        need(schema, task)
        some = dialect.parts(task, schema, options.types_per_call)
        context = task != "ner" and shows_context(model, options)
        made += [Part(len(made) + at, task, part, name, options, context=context) for at, part in enumerate(some)]
    return made


def calls(text: str, part: Part, options: Options) -> list[Call]:
    """The calls for one part; none for a text without anything to read. Raises UserError: too long."""
    if len(text) > LONGEST:
        raise UserError(
            "The text has {found} characters; at most {limit} are read at once.",
            remedy="Split it into several rows, a chapter each.",
            found=f"{len(text):,}",
            limit=f"{LONGEST:,}",
        )
    sources = _sources(text, options.chunk_characters, options.overlap, part.context)
    return [Call(part, source, text) for source in sources]


@lru_cache(maxsize=2)
def _sources(text: str, characters: int, overlap: int, context: bool) -> list[Source]:
    """Of each chunk with anything to read; kept for the next part of the schema, which reads the same."""
    cut = chunks(text, characters, overlap)
    made = with_context(text, cut) if context else [normalise(text, one.start, one.end, one.sentences) for one in cut]
    return [source for source in made if any(char.isalnum() for char in source.text[source.own :])]


def shows_context(model: Model | None, options: Options) -> bool:
    if options.context == "auto":
        return options.grounding and model is not None and not model.card.trained_for_extraction
    return options.context == "on"


def ask(client: Asked, call: Call, options: Options) -> Extraction:
    """Put one call to the model, read and ground its answer. Raises what the client raises.

    An engine that compiles grammars is first asked under the outline, which all texts share. Chosen greedily, an
    answer that the text's own grammar takes is the one that it would have led to; any other is asked for again.
    """
    task, schema, dialect = call.part.task, call.part.schema, dialects.find(call.part.dialect)
    if not uses_grammar(client, options):
        return understood(call, _put(client, call, None))
    if client.can.get("compiles"):
        answer = _put(client, call, dialect.outline(task, schema))
        if _taken(call, answer):
            return understood(call, answer)
        again = _put(client, call, dialect.grammar(task, schema, _shown(call)))
        return understood(
            call, replace(again, tokens=answer.tokens + again.tokens, seconds=answer.seconds + again.seconds)
        )
    return understood(call, _put(client, call, dialect.grammar(task, schema, _shown(call))))


def _put(client: Asked, call: Call, grammar: str | None) -> Answer:
    dialect = dialects.find(call.part.dialect)
    asked = prompt(call, client.model)
    beams = grammar is None and bool(client.can.get("beams"))
    decoding = call.part.turn.decoding(dialect.decoding(_room(client, call, asked), beams=beams))
    stop = () if grammar else dialect.STOP
    if form(client.model, call.part.dialect) == "raw":
        return client.complete(asked, decoding, grammar=grammar, stop=stop)
    return client.chat([{"role": "user", "content": asked}], decoding, grammar=grammar, stop=stop)


def _taken(call: Call, answer: Answer) -> bool:
    """Whether an answer under the outline is one that the text's own grammar takes."""
    task, schema, dialect = call.part.task, call.part.schema, dialects.find(call.part.dialect)
    found = dialect.read(task, schema, answer.text).found
    whole = answer.finish == "stop" and dialect.write(task, schema, found) == answer.text
    return whole and dialect.quotes(task, found, _shown(call))


def prompt(call: Call, model: Model) -> str:
    """What the model is sent, to the letter."""
    part, options = call.part, call.part.asking
    schema = asking.with_examples(part.task, part.schema, options, model)
    return dialects.find(part.dialect).prompt(
        part.task,
        schema,
        _shown(call).text,
        examples=bool(schema.examples),
        instruction=options.instruction,
        seed=options.wording,
    )


def _shown(call: Call) -> Source:
    """The text as this dialect shows it: with its own bars, where they separate nothing."""
    source = call.source
    if dialects.find(call.part.dialect).BARS or "¦" not in source.text:
        return source
    chars = (
        call.document[at] if char == "¦" else char for char, at in zip(source.text, source.offsets[:-1], strict=True)
    )
    return replace(source, text="".join(chars))


def understood(call: Call, answer: Answer) -> Extraction:
    """The records of an answer, with what it took in the provenance."""
    cut = answer.finish == "length"
    reading = dialects.find(call.part.dialect).read(call.part.task, call.part.schema, answer.text, cut=cut)
    spent = {
        "calls": 1,
        "unreadable": int(not reading.readable),
        "cut": int(cut),
        "repaired": reading.repaired,
        "dropped": reading.dropped,
        "prompt_tokens": answer.prompt_tokens,
        "tokens": answer.tokens,
        "seconds": round(answer.seconds, 4),
    }
    return _grounded(call, reading.found, spent)


def _grounded(call: Call, found: Sequence[Found], spent: dict[str, Any]) -> Extraction:
    return own_records(_placed(call, found, spent), call.source)


def _placed(call: Call, found: Sequence[Found], spent: dict[str, Any]) -> Extraction:
    finder = Finder(call.source, call.document) if call.part.asking.grounding else Finder(NOWHERE, "")
    if call.part.task == "ner":
        return Extraction("", "", entities=tuple(ner.ground(found, finder)), provenance=spent)
    if call.part.task == "re":
        return Extraction("", "", relations=tuple(relations.ground(found, finder)), provenance=spent)
    return Extraction("", "", events=tuple(ee.ground(found, finder)), provenance=spent)


def joined(extractions: Iterable[Extraction]) -> Extraction:
    """All records, each once (merge.py); what it took added up."""
    made = list(extractions)
    spent = {name: sum(each.provenance.get(name, 0) for each in made) for name in COUNTED}
    entities, relations_, events = merged(made)
    return Extraction("", "", entities=entities, relations=relations_, events=events, provenance=spent)


def finished(
    document_id: str, text: str, result: Extraction, told: dict[str, Any], row: int | None = None
) -> Extraction:
    """The document's row: its records, what they came from, and an error if no answer at all could be read."""
    spent = result.provenance
    provenance = {**told, **spent, "warnings": [*told.get("warnings", ()), *asking.warnings(told)]}
    if row is not None:
        provenance["row"] = row
    error = None
    if spent["unreadable"] and spent["unreadable"] == spent["calls"]:
        error = UNREADABLE.to_dict()
    elif spent["unreadable"]:
        provenance["warnings"].append(PARTLY_UNREADABLE.to_dict())
    return replace(result, id=document_id, text=text, provenance=provenance, error=error)


def failed(document_id: str, text: str, error: UserError, told: dict[str, Any], row: int | None = None) -> Extraction:
    provenance = {**told, **dict.fromkeys(COUNTED, 0)} | ({} if row is None else {"row": row})
    return Extraction(document_id, text[:LONGEST], provenance=provenance, error=error.to_dict())


def told(model: Model, schema: Schema, tasks: Sequence[Task], options: Options, *, grammar: bool) -> dict[str, Any]:
    """What every record's provenance holds: the model, the prompt's version, the schema."""
    dialect = dialect_of(model, options)
    return {
        "model": model.ref,
        "model_title": model.title,
        "dialect": dialect,
        "dialect_version": dialects.find(dialect).VERSION,
        "prompt_form": form(model, dialect),
        "examples": asking.shown(schema, options, model),
        "grammar": grammar,
        "task": list(tasks),
        "schema": schema.name,
        "schema_hash": schema.hash,
        "warnings": [],
        **asking.facts(options, model, dialect),
    }


def settings_of(model: Model, options: Options) -> dict[str, Any]:
    """What a run's store compares, beside text, schema and model."""
    dialect = dialect_of(model, options)
    return {
        "prompt": f"{dialect} {dialects.find(dialect).VERSION}, {form(model, dialect)}",
        "trained": model.card.trained_for_extraction,
        "chunk-characters": options.chunk_characters,
        "overlap": options.overlap,
        **({"context": True} if shows_context(model, options) else {}),
        "types-per-call": options.types_per_call,
        "grammar": options.grammar,
        **asking.settings_of(options),
    }


def key(text: str) -> str:
    """Names a text within a run: all else that changes its answer is the same for the whole run."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def form(model: Model, dialect: str) -> str:
    """`raw`: the prompt goes as it is; `chat`: as a user's message through the model's chat template."""
    return "raw" if dialects.find(dialect).WHOLE or model.card.prompt_form == "raw" else "chat"


def uses_grammar(client: Asked, options: Options) -> bool:
    return options.grammar and options.grounding and bool(client.can.get("grammar"))


def _room(client: Asked, call: Call, prompt: str) -> int:
    """Tokens for the answer: as many as the text may fill, within what the context leaves.

    A token holds at least a byte of what it copies, so the text's bytes suffice for quoting all of it once;
    relations and events quote parts of it more than once.
    """
    times = 1 if call.part.task == "ner" else 2
    names = 8 * len(call.part.schema.types(call.part.task))
    wanted = 64 + names + times * len(call.source.text.encode("utf-8", "replace"))
    if client.context:
        ideographs = sum(not char.isascii() for char in prompt)
        wanted = min(wanted, max(64, client.context - (len(prompt) - ideographs) // 3 - 2 * ideographs - 32))
    return min(wanted, 8192)


UNREADABLE = UserError(
    "The model's answer could not be understood.",
    remedy="Use a model that takes a grammar or is trained for extraction; this is not the same as finding nothing.",
)
PARTLY_UNREADABLE = UserError(
    "Some of the model's answers for this text could not be understood.",
    remedy="Use a model that takes a grammar or is trained for extraction.",
)
_TASKS: dict[Task, Any] = {"ner": ner, "re": relations, "ee": ee}
