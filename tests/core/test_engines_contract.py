"""What every engine keeps: the same questions to llama.cpp, to OpenVINO, to transformers and to a server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.errors import UserError
from core.inference import client
from core.inference.decoding import Decoding
from core.inference.engine import Generation, Loaded, Options, Piece, PromptTooLong, choose, engines
from core.models import Model, resolve
from tests.core.tiny_llama import make_tiny_llama

pytestmark = pytest.mark.model

RARE = "😀𠮷龘👩‍👩‍👧é漢"
ONLY_RARE = f'root ::= "{RARE}" root?'
SENTENCE = 'root ::= "{\\"who\\": \\"" name "\\"}"\nname ::= "Marie" (" Curie")? | "居里夫人"'


@dataclass(frozen=True)
class Case:
    engine: Any
    loaded: Loaded
    pid: int
    """The process that computes."""

    def pieces(self, prompt: str, *, grammar: str | None = None, stop: tuple[str, ...] = (), **decoding: Any):
        request = Generation(Decoding(**{"max_tokens": 24, **decoding}), prompt, (), grammar, stop)
        return list(self.engine.generate(request, threading.Event()))

    def answer(self, prompt: str, **options: Any) -> str:
        return "".join(piece.text for piece in self.pieces(prompt, **options))


# transformers-gguf, the real starter read by transformers, takes minutes on two cores
@pytest.fixture(
    scope="module",
    params=[
        "llamacpp",
        "openvino",
        "transformers",
        pytest.param("transformers-gguf", marks=pytest.mark.soak),
        "remote",
    ],
)
def case(request: pytest.FixtureRequest, starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    if request.param == "remote":
        yield from _our_own_host(starter, tmp_path_factory.mktemp("workspace"))
        return
    name = request.param.split("-")[0]
    tiny = request.param == "transformers"
    model = resolve(str(make_tiny_llama(tmp_path_factory.mktemp("tiny")) if tiny else starter))
    engine = engines()[name]()
    loaded = engine.load(model, Options())
    yield Case(engine, loaded, engine.pid if name == "openvino" else os.getpid())
    engine.unload()


def _our_own_host(starter: Path, workspace: Path) -> Iterator[Case]:
    """The remote engine, asking our host as it would ask anyone's server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KNOWLM_STUDIO_HOME", str(workspace))
        client.load(str(starter))
        from core.inference import state

        record = state.read()
        assert record is not None
        patch.setenv("KNOWLM_API_KEY", state.token())
        engine = engines()["remote"]()
        loaded = engine.load(resolve(f"{record.address}/v1"), Options())
        yield Case(engine, loaded, record.pid)
        client.unload()


def last(pieces: list[Piece]) -> Piece:
    return pieces[-1]


def test_greedy_answers_are_repeated_exactly(case: Case) -> None:
    assert case.answer("The capital of France is") == case.answer("The capital of France is")


def test_the_last_piece_counts_and_the_others_do_not_end(case: Case) -> None:
    pieces = case.pieces("The capital of France is", max_tokens=7)
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert last(pieces).tokens == 7
    assert last(pieces).finish == "length"
    assert last(pieces).prompt_tokens > 1


def test_a_seed_repeats_its_answer_and_another_seed_gives_another(case: Case) -> None:
    first, again, other = (case.answer("Once", temperature=1.0, seed=seed, max_tokens=30) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_a_seed_is_chosen_and_told_when_none_is_given(case: Case) -> None:
    pieces = case.pieces("Once", temperature=1.0)
    seed = last(pieces).seed
    assert seed is not None
    assert case.answer("Once", temperature=1.0, seed=seed) == "".join(piece.text for piece in pieces)


def test_an_answer_ends_before_a_stop_string(case: Case) -> None:
    whole = case.answer("The capital of France is", max_tokens=24)
    stop = whole[6:9]
    pieces = case.pieces("The capital of France is", stop=(stop,))
    text = "".join(piece.text for piece in pieces)
    assert text == whole[: whole.index(stop)]
    assert last(pieces).finish == "stop"


@pytest.mark.parametrize("limit", range(1, 16))
def test_no_character_is_ever_split(case: Case, limit: int) -> None:
    pieces = case.pieces("x", grammar=ONLY_RARE, max_tokens=limit)
    text = "".join(piece.text for piece in pieces)
    assert "\ufffd" not in text
    assert (RARE * 9).startswith(text)


def test_random_bytes_yield_only_characters(case: Case) -> None:
    for seed in range(3):
        assert "\ufffd" not in case.answer("The", temperature=5.0, seed=seed, max_tokens=120)


def test_a_grammar_is_kept(case: Case) -> None:
    possible = {'{"who": "Marie"}', '{"who": "Marie Curie"}', '{"who": "居里夫人"}'}
    for seed in range(3):
        assert case.answer("Who?", grammar=SENTENCE, temperature=2.0, seed=seed, max_tokens=60) in possible


@pytest.mark.parametrize(
    "grammar", ["root ::= (", 'other ::= "a"', 'root ::= "unterminated', "", "\0", "root ::= gone"]
)
def test_a_broken_grammar_is_refused_and_the_engine_lives_on(case: Case, grammar: str) -> None:
    with pytest.raises(UserError, match=r"(?i)grammar"):
        case.pieces("x", grammar=grammar)
    assert case.answer("x", grammar='root ::= "fine"') == "fine"


@pytest.mark.alone
@pytest.mark.parametrize("way", ["stop", "close"])
def test_stopping_ends_the_computation(case: Case, way: str) -> None:
    stop = threading.Event()
    limit = min(2000, case.loaded.context - 20)
    request = Generation(Decoding(max_tokens=limit, temperature=1.0, seed=1), "Tell", (), "root ::= [a-z ] root")
    stream = case.engine.generate(request, stop)
    next(piece for piece in stream if piece.text)
    if way == "stop":
        stop.set()
        rest = list(stream)
        assert last(rest).finish == "cancelled"
    else:
        stream.close()
    assert_flat(case.pid)


@pytest.mark.alone
def test_stopping_works_while_the_prompt_is_read(case: Case) -> None:
    stop = threading.Event()
    prompt = "word " * (max(40, case.loaded.context - 200) // (5 if case.loaded.context < 1000 else 1))
    threading.Timer(0.3, stop.set).start()
    pieces = list(case.engine.generate(Generation(Decoding(max_tokens=4000), prompt), stop))
    assert last(pieces).finish in ("cancelled", "length")  # the tiny model may be done before
    assert_flat(case.pid)


def assert_flat(pid: int) -> None:
    """The process computes for 0.3 s at most from now on, and then not at all.

    Counted in processor seconds, which a busy machine does not stretch: two cores for 0.3 s.
    """
    process = psutil.Process(pid)
    stopped = sum(process.cpu_times()[:2])
    time.sleep(1.2)
    settled = sum(process.cpu_times()[:2])
    time.sleep(0.6)
    assert settled - stopped < 0.6
    assert sum(process.cpu_times()[:2]) - settled < 0.15


def test_a_prompt_past_the_context_is_refused_with_the_numbers(case: Case) -> None:
    with pytest.raises(PromptTooLong) as refused:
        case.pieces("word " * (case.loaded.context + 50))
    assert int(refused.value.values["tokens"]) > int(refused.value.values["context"]) == case.loaded.context


def test_a_long_answer_ends_with_the_context(case: Case) -> None:
    if case.loaded.context > 1000:
        pytest.skip("the tiny model shows it in a second; the real one takes minutes")
    pieces = case.pieces("x", max_tokens=5000, grammar="root ::= [a-z] root")
    assert last(pieces).finish == "length"
    assert last(pieces).tokens + last(pieces).prompt_tokens <= case.loaded.context


def test_beams_are_followed_or_refused_by_name(case: Case) -> None:
    if case.engine.can.beams:
        assert case.answer("The capital of France is", beams=3, max_tokens=8)
        return
    with pytest.raises(UserError, match="beams"):
        case.pieces("x", beams=2)


@pytest.mark.parametrize(
    "decoding",
    [
        {"temperature": 5.0, "top_k": 1000, "top_p": 1e-9, "seed": 0},
        {"temperature": 1e-6, "seed": 2**32 - 2},
        {"repetition_penalty": 2.0, "max_tokens": 60},
        {"repetition_penalty": 0.5},
        {"max_tokens": 1},
        {"top_k": 1, "temperature": 5.0},
    ],
)
def test_settings_at_their_bounds_give_an_answer(case: Case, decoding: dict[str, Any]) -> None:
    pieces = case.pieces("Write", **decoding)
    assert last(pieces).finish in ("stop", "length")


@pytest.mark.parametrize("prompt", ["a\0b", " ", "\n", "مرحبا بالعالم", RARE, "\u202e", "<|im_end|></s>", "\ufffd"])
def test_any_text_may_be_a_prompt(case: Case, prompt: str) -> None:
    assert last(case.pieces(prompt, max_tokens=3)).finish in ("stop", "length")


def test_an_empty_prompt_is_refused(case: Case) -> None:
    with pytest.raises(UserError, match="empty"):
        case.pieces("")


def test_messages_go_through_the_chat_template(case: Case) -> None:
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello 你好"})
    pieces = list(case.engine.generate(Generation(Decoding(max_tokens=8), None, messages), threading.Event()))
    assert last(pieces).finish in ("stop", "length")
    assert last(pieces).prompt_tokens > 8


def test_tokens_are_counted(case: Case) -> None:
    assert 2 <= case.engine.count("Hello world") <= 12


def test_an_engine_is_chosen_by_format_and_says_why(starter: Path) -> None:
    name, _made, why = choose(resolve(str(starter)))
    assert (name, bool(why)) == ("llamacpp", True)


def test_an_engine_refuses_a_format_by_name(tmp_path: Path) -> None:
    folder = make_tiny_llama(tmp_path)
    assert choose(resolve(str(folder)))[0] == "transformers"
    with pytest.raises(UserError, match=r"llamacpp.*huggingface"):
        choose(resolve(str(folder)), "llamacpp")
    with pytest.raises(UserError, match="no engine"):
        choose(resolve(str(folder)), "imaginary")


def test_two_answers_at_once_do_not_mix(case: Case) -> None:
    alone = [case.answer(prompt, max_tokens=16) for prompt in ("The sun is", "1 2 3 4")]
    together: list[str] = ["", ""]

    def ask(place: int, prompt: str) -> None:
        together[place] = case.answer(prompt, max_tokens=16)

    threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(("The sun is", "1 2 3 4"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [text[:4] for text in together] == [text[:4] for text in alone]


def test_a_model_of_no_format_we_know_has_no_engine() -> None:
    assert {form for made in engines().values() for form in made.can.formats} >= {"gguf", "huggingface", "remote"}
    assert Model.__dataclass_fields__["format"]
