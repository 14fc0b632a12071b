"""The real starter model under the grammar: always readable, always verbatim. Not: right."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from core.extract import calls, schema
from core.extract.calls import Options
from core.inference import client as inference
from core.inference.client import Answer
from core.records import Extraction

pytestmark = pytest.mark.model

ENGLISH = (
    "Marie Curie was born in Warsaw in 1867.",
    'She said: "I am from O\'Fallon (Illinois)."',
    "The price rose by 3,000.50 dollars — 12% — on 24 May.",
    "E-mail a.b@example.org or visit the café Zoe\u0301.",
    "Tabs\tand\r\nline ends | bars || and \\ backslashes.",
    "Emoji 👩‍👩‍👧 and 🇨🇳 stand in Berlin.",
    "Dr. J. K. Rowling met Mr. Smith Jr. of Acme Inc. in the U.S.",
    "NASA's Apollo-11 landed; Armstrong walked on the Moon.",
    "none",
    "Special </s> <|im_end|> tokens and {braces} [brackets].",
)
CHINESE = (
    "屠呦呦出生于浙江宁波，后来在中国中医研究院工作。",
    "他说：“我来自上海（浦东）。”然后走了。",
    "2023年，华为发布了Mate 60 Pro，售价6999元！",
    "《红楼梦》的作者是曹雪芹。",
    "㐂𠮷野家在東京｜大阪 || 名古屋。",
    "王小明\t与李雷\r\n结婚于１９９９年。",
    "没有",
    "北京大学、清华大学；复旦大学。",
    "气温上升了3.5℃，约占总数的1/4。",
    "他👨‍👩‍👧去了🇨🇳成都。",
)


def texts(count: int) -> list[tuple[str, str]]:
    """(language, text), varied: each of the above alone, then two of them together."""
    both = [
        (language, text)
        for pair in zip([("en", text) for text in ENGLISH], [("zh", text) for text in CHINESE], strict=True)
        for language, text in pair
    ]
    pairs = [("en", f"{one} {two}") for one, two in itertools.permutations(ENGLISH, 2)]
    more = [("zh", one + two) for one, two in itertools.permutations(CHINESE, 2)]
    mixed = [made for pair in zip(pairs[::3], more[::3], strict=True) for made in pair]
    return [*both, *mixed][:count]


def check(count: int) -> None:
    client = inference.connect("starter")
    options = Options()
    for number, (language, text) in enumerate(texts(count)):
        known = schema.load(f"people-and-organisations-{language}")
        part = calls.parts(known, [schema.TASKS[number % 3]], options)[0]
        for call in calls.calls(text, part, options):
            verify(text, calls.ask(Brief(client), call, options))


class Brief:
    """The client with short answers: a cut answer is fine here, its last record is left out."""

    def __init__(self, client: inference.Client) -> None:
        self._client = client
        self.model, self.parallel, self.context, self.can = client.model, client.parallel, client.context, client.can

    def complete(self, prompt: str, decoding, **more) -> Answer:
        return self._client.complete(prompt, decoding.model_copy(update={"max_tokens": 48}), **more)

    def chat(self, messages: list[dict[str, str]], decoding, **more) -> Answer:
        return self._client.chat(messages, decoding.model_copy(update={"max_tokens": 48}), **more)


def verify(text: str, made: Extraction) -> None:
    assert made.provenance["unreadable"] == 0
    if not made.provenance["cut"]:
        assert (made.provenance["repaired"], made.provenance["dropped"]) == (0, 0)
    spans = [*made.entities]
    spans += [span for one in made.relations for span in (one.head, one.tail)]
    spans += [span for one in made.events for span in (one.trigger, *one.arguments)]
    for span in spans:
        assert span.start is not None, span
        assert text[span.start : span.end] == span.text


def test_answers_under_the_grammar_are_readable_and_verbatim(starter_workspace: Path) -> None:
    check(15)


@pytest.mark.soak
def test_a_hundred_answers_under_the_grammar_are_readable_and_verbatim(starter_workspace: Path) -> None:
    check(100)
