"""What only the openvino engine does: the same answers alone and among many, grammars followed, its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import UserError
from core.extract import dialects
from core.extract.chunk import chunks
from core.extract.normal import Source, normalise
from core.extract.schema import EntityType, EventType, RelationType, Role, Schema, Task
from core.inference.decoding import Decoding
from core.inference.engine import Generation, Options, Piece
from core.inference.engines.openvino import Engine, plan
from core.inference.gguf_header import Shape
from core.inference.openvino_grammar import ebnf
from core.inference.prompting import chat_ids, prompt_ids
from core.models import resolve
from tests.conftest import PROJECT

pytestmark = pytest.mark.model

ODD = 'He said "no\\way" to Ångström 😀 in [Zürich], {2} times. 居里夫人1867年生于华沙。'
WHO = 'root ::= "{\\"who\\": \\"" name "\\"}"\nname ::= "Marie" (" Curie")? | "居里夫人" | [a-z]{2,9}'


@pytest.fixture(scope="module")
def engine(starter: Path) -> Iterator[Engine]:
    made = Engine()
    made.load(resolve(str(starter)), Options())
    yield made
    made.unload()


def ask(engine: Engine, prompt: str, grammar: str | None = None, **decoding: float) -> list[Piece]:
    settings = Decoding.model_validate({"max_tokens": 16, **decoding})
    return list(engine.generate(Generation(settings, prompt, (), grammar), threading.Event()))


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_a_seed_gives_its_answer_whatever_else_is_asked(engine: Engine) -> None:
    def one() -> str:
        return text(ask(engine, "Once upon a time", temperature=1.0, seed=7))

    alone = one()
    others = [threading.Thread(target=ask, args=(engine, f"{number} bottles of")) for number in range(12)]
    for other in others:
        other.start()
    together = one()
    for other in others:
        other.join()
    assert together == alone


def test_a_followed_answer_is_the_one_that_the_grammar_gives(engine: Engine) -> None:
    for prompt in ("Who discovered radium?", '{"who": "Marie Curie"}\n{"who": "Pierre"}\n'):
        followed = ask(engine, prompt, WHO)
        assert engine._link is not None
        settings = {"max_new_tokens": 16, "stop_token_ids": sorted(engine._ends)}
        ids = prompt_ids(engine._tokenizer, prompt)
        _, events = engine._link.ask(ids=ids, settings=settings, grammar=ebnf(WHO))
        kept: list[int] = []
        while (event := events.get())[0] == "tokens":
            kept += event[1]
        assert text(followed) == engine._tokenizer.decode(kept, skip_special_tokens=True)


def schema(language: str) -> Schema:
    return Schema(
        name="odd",
        language=language,
        entities=(EntityType(name="person"), EntityType(name='a "quoted" \\ type')),
        relations=(RelationType(name="出生地", head="person"), RelationType(name="won [2]")),
        events=(EventType(name="birth", roles=(Role(name="who"), Role(name="where?"))),),
    )


def source(written: str) -> Source:
    chunk = chunks(written, 0, 0)[0]
    return normalise(written, chunk.start, chunk.end, chunk.sentences)


@pytest.mark.parametrize("dialect", ["studio", "zhixi", "oneke"])
@pytest.mark.parametrize("task", ["ner", "re", "ee"])
def test_every_grammar_of_extraction_is_taken(engine: Engine, dialect: str, task: Task) -> None:
    """Drawn answers are kept to the grammar from their first token on, by the library itself."""
    grammar = dialects.find(dialect).grammar(task, schema("zh"), source(ODD))
    assert ask(engine, "Answer:", grammar, temperature=1.0, seed=1, max_tokens=2)[-1].tokens


def test_names_and_signs_that_the_library_reads_otherwise_are_written_otherwise(engine: Engine) -> None:
    grammar = 'root ::= true nd | true # or\ntrue ::= "a\\n"\nnd ::= . [\\]^"]'
    assert text(ask(engine, "a", grammar, temperature=1.0, seed=1)).startswith("a\n")


def test_a_conversation_is_cut_into_the_tokens_of_its_template(engine: Engine) -> None:
    messages = ({"role": "user", "content": "Hello 你好"},)
    request = Generation(Decoding(max_tokens=1), None, messages)
    told = list(engine.generate(request, threading.Event()))[-1].prompt_tokens
    assert told == len(chat_ids(engine._tokenizer, messages))


def test_memory_decides_how_many_at_once() -> None:
    shape = Shape(context=8192, kv_bytes=32 << 10)
    whole, half = (plan(256 << 20, shape, Options(), free << 30) for free in (64, 2))
    assert (whole.parallel, whole.context) == (64, 8192)
    assert half.parallel < 64
    with pytest.raises(UserError, match="memory"):
        plan(1 << 50, shape, Options(), 8 << 30)


def test_a_file_cut_short_is_refused_by_name(starter: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.gguf"
    short.write_bytes(starter.read_bytes()[: 8 << 20])
    with pytest.raises(UserError, match=r"short\.gguf"):
        Engine().load(resolve(str(short)), Options())


def test_importing_the_library_tells_nobody() -> None:
    words = "from core.inference.openvino_child import stay_silent; stay_silent(); import openvino.tools.ovc as ovc; "
    words += "print(type(ovc.telemetry).__module__)"
    told = subprocess.run([sys.executable, "-c", words], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "openvino.tools.ovc.telemetry_stub"


@pytest.mark.soak
def test_a_killed_process_is_said_and_started_again(engine: Engine) -> None:
    stream = engine.generate(Generation(Decoding(max_tokens=2000, temperature=1.0, seed=1), "Tell"), threading.Event())
    next(piece for piece in stream if piece.text)
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(UserError, match="gone"):
        list(stream)
    assert ask(engine, "The capital of France is")[-1].tokens


@pytest.mark.soak
def test_an_error_in_a_step_costs_only_the_grammar_that_made_it(engine: Engine) -> None:
    """A grammar that is broken for the library alone, put to it directly."""
    alone = text(ask(engine, "Once upon a time", temperature=1.0, seed=7, max_tokens=60))
    beside: list[str] = []
    other = threading.Thread(
        target=lambda: beside.append(text(ask(engine, "Once upon a time", temperature=1.0, seed=7, max_tokens=60)))
    )
    other.start()
    assert engine._link is not None
    _, events = engine._link.ask(ids=[28], settings={"max_new_tokens": 4}, grammar="root ::= (")
    kind, how = events.get()
    assert (kind, how.partition(":")[0]) == ("ended", "grammar")
    other.join()
    assert beside == [alone]
