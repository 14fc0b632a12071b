"""What is trained is what inference asks, token for token, and exactly the answers and their end are learned."""

from __future__ import annotations

import copy
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from core.errors import UserError
from core.extract import calls
from core.extract.calls import Options
from core.extract.schema import from_json
from core.inference import prompting
from core.inference.decoding import Decoding
from core.inference.engine import Generation
from core.models import Card, Model
from tests.train.conftest import rows, written
from train import samples, talks
from train.samples import Sample
from train.talks import Message, Talk

LLAMA2 = (
    "{% for message in messages %}{% if message.role == 'user' %}<s>[INST] {{ message.content | trim }} [/INST]"
    "{% else %} {{ message.content | trim }} <|im_end|>{% endif %}{% endfor %}"
)
PLAIN = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
THOUGHTLESS = (  # as of reasoning models: earlier answers lose a part of what they said
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('##')[-1] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def asked(tokenizer: Any, **what: Any) -> list[int]:
    """The prompt as the engines that tokenize here make it."""
    return prompting.asked_ids(tokenizer, Generation(decoding=Decoding(), **what), 100_000)


def talk(*said: tuple[str, str], **rest: Any) -> Talk:
    return Talk("x:1", tuple(Message(role, text) for role, text in said), **rest)  # type: ignore[arg-type]


def encoded(tokenizer: Any, one: Talk, form: prompting.Form = "chat", **settings: Any) -> list[Sample]:
    return list(samples.encode(tokenizer, one, form, limit=settings.pop("limit", 4096), **settings))


def spans(sample: Sample) -> Iterator[tuple[list[int], list[int]]]:
    """(all before it, the answer) for each run of learned tokens."""
    at = 0
    while at < len(sample.ids):
        start = at
        while at < len(sample.ids) and sample.learned[at] == sample.learned[start]:
            at += 1
        if sample.learned[start]:
            yield sample.ids[:start], sample.ids[start:at]


SAID = (
    ("system", "Be brief."),
    ("user", "Who found radium?"),
    ("assistant", " Marie Curie \n"),
    ("user", "Where?"),
    ("assistant", "\nParis"),
    ("user", "王小明?"),
    ("assistant", "in 北京"),
)


@pytest.mark.parametrize("template", [None, LLAMA2, PLAIN, THOUGHTLESS, "no template"])
def test_every_answer_of_a_conversation_follows_the_prompt_that_inference_makes(tokenizer: Any, template: str) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    if template is not None:
        tokenizer.chat_template = None if template == "no template" else template
    said = SAID if template != LLAMA2 else SAID[1:]
    made = [pair for sample in encoded(tokenizer, talk(*said)) for pair in spans(sample)]
    messages = [{"role": role, "content": text} for role, text in said]
    wanted = [
        (asked(tokenizer, messages=messages[:at]), prompting.answer_ids(tokenizer, text))
        for at, (role, text) in enumerate(said)
        if role == "assistant"
    ]
    assert made == wanted
    assert all(answer[-1] == tokenizer.eos_token_id for _, answer in made)


def test_a_conversation_that_goes_on_is_one_sample(tokenizer: Any) -> None:
    said = tuple((role, text.strip()) for role, text in SAID)
    assert len(encoded(tokenizer, talk(*said))) == 1


@pytest.mark.parametrize("form", ["raw", "alpaca"])
def test_a_bare_prompt_is_asked_as_the_engine_completes_it(tokenizer: Any, form: prompting.Form) -> None:
    one = talk(("user", "Add.\n\n1 1"), ("assistant", "2"), instruction="Add.", input="1 1")
    ((prompt, answer),) = spans(encoded(tokenizer, one, form)[0])
    text = "Add.\n\n1 1" if form == "raw" else prompting.alpaca("Add.", "1 1")
    assert prompt == asked(tokenizer, prompt=text)
    assert tokenizer.decode(answer) == "2<|im_end|>"
    with pytest.raises(UserError, match="several turns"):
        encoded(tokenizer, talk(*SAID), form)


def test_a_model_trained_as_alpaca_is_asked_so_by_the_template_it_is_saved_with(tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    ((prompt, _),) = spans(encoded(tokenizer, talk(("user", "Add {x}."), ("assistant", "2")), "alpaca")[0])
    tokenizer.chat_template = prompting.alpaca_template(tokenizer)
    assert asked(tokenizer, messages=({"role": "user", "content": "Add {x}."},)) == prompt


class Client:
    """Tokenizes like the engines, answers nothing."""

    parallel, context = 1, 0
    can: ClassVar[dict[str, Any]] = {}

    def __init__(self, tokenizer: Any, form: Any) -> None:
        self._tokenizer = tokenizer
        card = Card(prompt_form=form, trained_for_extraction=True)
        self.model = Model("m", "huggingface", card)
        self.prompts: list[list[int]] = []

    def complete(self, prompt: str, *_: Any, **__: Any) -> Any:
        self.prompts.append(asked(self._tokenizer, prompt=prompt))
        raise StopIteration

    def chat(self, messages: Any, *_: Any, **__: Any) -> Any:
        self.prompts.append(asked(self._tokenizer, messages=tuple(messages)))
        raise StopIteration


@pytest.mark.parametrize("form", ["raw", "chat"])
def test_records_are_trained_with_the_prompts_of_extraction(tokenizer: Any, tmp_path: Path, form: Any) -> None:
    schema = from_json({"entities": ["person"], "relations": ["born in"], "events": [{"name": "birth"}]})
    row = {"id": "1", "text": "Ada  was\tborn.", "entities": [], "relations": [], "events": []}
    client = Client(tokenizer, form)
    for part in calls.parts(schema, ("ner", "re", "ee"), Options()):
        for call in calls.calls(row["text"], part, Options()):
            with pytest.raises(StopIteration):
                calls.ask(client, call, Options())
    read = talks.read(written(tmp_path / "records.jsonl", [row]), schema=schema)
    refused: list[Any] = []
    made = list(samples.encoded(tokenizer, read, form, limit=4096, refused=refused))
    assert not refused
    assert [next(spans(one))[0] for one in made] == client.prompts
    assert len(client.prompts) == 3


def test_the_prompt_is_learned_where_asked_for(tokenizer: Any) -> None:
    (sample,) = encoded(tokenizer, talk(("user", "a"), ("assistant", "b")), learn_prompt=True)
    assert all(sample.learned)


def test_turns_that_do_not_fit_are_left_out_and_answers_are_never_cut(tokenizer: Any) -> None:
    said = tuple((role, text.strip()) for role, text in SAID)
    (whole,) = encoded(tokenizer, talk(*said))
    (shorter,) = encoded(tokenizer, talk(*said), limit=len(whole.ids) - 1)
    assert shorter.ids == whole.ids[: len(shorter.ids)] and shorter.learned[-1]
    assert len(list(spans(shorter))) == 2
    with pytest.raises(UserError, match=r"x:1: \d+ tokens are more than the limit of 10"):
        encoded(tokenizer, talk(*said), limit=10)


def test_a_template_that_refuses_costs_the_row_and_not_the_training(tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    refused: list[Any] = []
    good = talk(("user", "a"), ("assistant", "b"))
    assert not list(samples.encoded(tokenizer, [good], "chat", limit=99, refused=refused))
    assert "roles must alternate" in str(refused[0].why)


def test_empty_and_unasked_answers_are_not_learned(tokenizer: Any) -> None:
    (sample,) = encoded(tokenizer, talk(("assistant", "Hi!"), ("user", "a"), ("assistant", "b")))
    assert [tokenizer.decode(answer) for _, answer in spans(sample)] == ["b<|im_end|>"]


def test_a_store_gives_back_its_samples_and_holds_none_in_memory(tmp_path: Path) -> None:
    def made() -> Iterator[Sample]:
        for number in range(30_000):
            length = 1 + number % 90
            yield Sample(f"f:{number}", [number % 1000] * length, [False] * (length - 1) + [True])

    tracemalloc.start()
    store = samples.write(made(), tmp_path / "store")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4 << 20
    assert len(store) == 30_000 and store.where()[-1] == "f:29999"
    assert store.tokens(94).tolist() == [94] * 5 and store.mask(94).tolist() == [False] * 4 + [True]
    assert np.array_equal(store.lengths[:4], [1, 2, 3, 4])


@pytest.mark.model
def test_the_starters_own_tokenizer_trains_what_it_is_asked(starter: Path) -> None:
    from transformers import AutoTokenizer

    real = AutoTokenizer.from_pretrained(starter.parent / "hf")
    said = tuple((role, text.strip()) for role, text in SAID)
    (sample,) = encoded(real, talk(*said))
    messages = [{"role": role, "content": text} for role, text in said]
    assert [prompt for prompt, _ in spans(sample)] == [asked(real, messages=messages[:at]) for at in (2, 4, 6)]
    for row in rows(30):
        one = talk(("user", row["input"]), ("assistant", row["output"]))
        ((prompt, answer),) = spans(encoded(real, one, "raw")[0])
        assert prompt == asked(real, prompt=row["input"])
        assert real.decode(answer) == row["output"] + real.eos_token
